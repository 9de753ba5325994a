// SPDX-License-Identifier: Apache-2.0

package wordpiece_test

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/wordpiece"
)

// The vocabulary of BERT comes with the embedder.
func bert() *wordpiece.Tokenizer { return embed.Default().Tokenizer() }

// reference is a text with the token ids that the reference implementation
// gives it.
type reference struct {
	Text string
	IDs  []int32
}

func readReference(t *testing.T, path string) []reference {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []reference
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r reference
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func checkReference(t *testing.T, path string) {
	t.Helper()
	all := readReference(t, path)
	if len(all) == 0 {
		t.Fatal("there are no reference texts")
	}
	wrong := 0
	for _, r := range all {
		if got := bert().AppendIDs(nil, r.Text); !slices.Equal(got, r.IDs) {
			if wrong++; wrong <= 10 {
				t.Errorf("%q\nis  %v\nnot %v", r.Text, spell(got), spell(r.IDs))
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d texts differ from the reference", wrong, len(all))
	}
}

func spell(ids []int32) []string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = bert().Token(id)
	}
	return words
}

func TestTokensEqualTheReferences(t *testing.T) {
	checkReference(t, "testdata/golden.jsonl")
}

// Whole data sets are compared when their reference ids are named, as
// scripts/distill-embedder/tokens.py writes them.
func TestTokensEqualTheReferencesOnDataSets(t *testing.T) {
	path := os.Getenv("MILLRACE_WORDPIECE_REFERENCE")
	if path == "" {
		t.Skip("MILLRACE_WORDPIECE_REFERENCE names no file of reference ids")
	}
	checkReference(t, path)
}

func TestInvalidUTF8IsDropped(t *testing.T) {
	if got, want := bert().AppendIDs(nil, "ro\xffbot \xc3 vac"), bert().AppendIDs(nil, "robot vac"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", spell(got), spell(want))
	}
}

func TestNamesOfSpecialTokensAreText(t *testing.T) {
	got := spell(bert().AppendIDs(nil, "[SEP]"))
	if !slices.Equal(got, []string{"[", "sep", "]"}) {
		t.Errorf("got %v", got)
	}
}

func TestVocabulariesThatAreWrongAreRefused(t *testing.T) {
	if _, err := wordpiece.New([]string{"a"}); err == nil || !strings.Contains(err.Error(), "[UNK]") {
		t.Errorf("without an unknown token: %v", err)
	}
	if _, err := wordpiece.New([]string{"[UNK]", "a", "##a", "a"}); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("with a token twice: %v", err)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	ids := make([]int32, 0, 64)
	text := "My café's RoboVac won't charge — 掃除 antidisestablishmentarianism"
	if n := testing.AllocsPerRun(100, func() { ids = bert().AppendIDs(ids[:0], text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAppendIDs checks what holds of every text: ids are in range, and words are
// split alike wherever they stand.
func FuzzAppendIDs(f *testing.F) {
	for _, text := range []string{"", "hello world", "é\u0301\u200d掃", "\xff\xfe", "한국어", strings.Repeat("x", 120)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids := bert().AppendIDs(nil, text)
		for _, id := range ids {
			if id < 0 || int(id) >= bert().Len() {
				t.Fatalf("id %d of %d", id, bert().Len())
			}
		}
		if len(ids) > 4*utf8.RuneCountInString(text) {
			t.Fatalf("%d tokens from %d characters", len(ids), utf8.RuneCountInString(text))
		}
		twice := bert().AppendIDs(nil, text+" "+text)
		if !slices.Equal(twice, slices.Concat(ids, ids)) {
			t.Fatalf("%q twice is %v, not %v twice", text, spell(twice), spell(ids))
		}
	})
}

func BenchmarkAppendIDs(b *testing.B) {
	t := bert()
	ids := make([]int32, 0, 64)
	text := "I am still waiting on my card, what can I do if it has not arrived after two weeks?"
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		ids = t.AppendIDs(ids[:0], text)
	}
}
