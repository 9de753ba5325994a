// SPDX-License-Identifier: Apache-2.0

package tagger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// tagged writes a text's words with their tags.
func tagged(t *tagger.Tagger, text string) string {
	tokens := token.Append(nil, text)
	var parts []string
	for i, tag := range t.Append(nil, text, tokens) {
		parts = append(parts, tokens[i].Of(text)+"/"+tag.String())
	}
	return strings.Join(parts, " ")
}

func TestCustomersWordsAreTagged(t *testing.T) {
	for text, want := range map[string]string{
		"The robot cleans the kitchen.": "The/DET robot/NOUN cleans/VERB the/DET kitchen/NOUN ./PUNCT",
		"is it slow":                    "is/AUX it/PRON slow/ADJ",
		"I have two cats and a dog 😀":   "I/PRON have/VERB two/NUM cats/NOUN and/CCONJ a/DET dog/NOUN 😀/SYM",
		"WHERE IS MY REFUND":            "WHERE/ADV IS/AUX MY/PRON REFUND/NOUN",
		"i want to send it back":        "i/PRON want/VERB to/PART send/VERB it/PRON back/ADV",
		"":                              "",
	} {
		if got := tagged(tagger.English(), text); got != want {
			t.Errorf("%q\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func TestOneTaggerServesManyGoroutines(t *testing.T) {
	want := make([]string, len(messages))
	for i, m := range messages {
		want[i] = tagged(tagger.English(), m)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i, m := range messages {
				if got := tagged(tagger.English(), m); got != want[i] {
					t.Errorf("got %s, alone %s", got, want[i])
				}
			}
		})
	}
	group.Wait()
}

// treebank is a tiny language: every word has one tag.
func treebank(n int) []conllu.Sentence {
	words := []conllu.Word{
		{Form: "The", UPOS: "DET"}, {Form: "old", UPOS: "ADJ"}, {Form: "robot", UPOS: "NOUN"},
		{Form: "sings", UPOS: "VERB"}, {Form: "loudly", UPOS: "ADV"}, {Form: ".", UPOS: "PUNCT"},
	}
	var out []conllu.Sentence
	for i := range n {
		s := conllu.Sentence{ID: fmt.Sprint(i)}
		for k, w := range words {
			if (i>>k)&1 == 0 {
				s.Words = append(s.Words, w)
			}
		}
		out = append(out, s)
	}
	return out
}

func TestTrainingLearnsAndIsRepeatable(t *testing.T) {
	var files [3]bytes.Buffer
	for i, seed := range []uint64{7, 7, 8} {
		model, err := tagger.Train(context.Background(), treebank(60), tagger.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		q, err := tagger.Evaluate(model, treebank(60))
		if err != nil {
			t.Fatal(err)
		}
		if q.Accuracy != 1 {
			t.Errorf("accuracy %.3f on what was learned: %v", q.Accuracy, q.Confusions)
		}
		if err := model.Save(&files[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0].Bytes(), files[1].Bytes()) {
		t.Error("the same seed made other weights")
	}
	if bytes.Equal(files[0].Bytes(), files[2].Bytes()) {
		t.Error("another seed made the same weights")
	}
}

func TestSavedWeightsAreLoadedAsTheyWere(t *testing.T) {
	model, err := tagger.Train(context.Background(), treebank(60), tagger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := model.Save(&first); err != nil {
		t.Fatal(err)
	}
	loaded, err := tagger.Load(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if got, want := tagged(loaded, m), tagged(model, m); got != want {
			t.Errorf("got %s, before %s", got, want)
		}
	}
	if err := loaded.Save(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("saved again, the file is another")
	}
}

func TestTheWeightsInTheProgramAreSmall(t *testing.T) {
	size := int64(0)
	for _, name := range []string{"english.weights", "english.lexicon"} {
		file, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += file.Size()
	}
	if size > 4e6 {
		t.Errorf("%d bytes, at most 4 MB are wanted", size)
	}
}

func TestDamagedWeightsAreRefused(t *testing.T) {
	model, err := tagger.Train(context.Background(), treebank(20), tagger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := model.Save(&file); err != nil {
		t.Fatal(err)
	}
	good := file.Bytes()
	for n := 0; n < len(good); n += 1 + (len(good)-n)/20 {
		if _, err := tagger.Load(bytes.NewReader(good[:n])); err == nil {
			t.Fatalf("%d of %d bytes were loaded", n, len(good))
		}
	}
	if _, err := tagger.Load(strings.NewReader("something else altogether")); err == nil || !strings.Contains(err.Error(), "not a file of tagger weights") {
		t.Errorf("another file: %v", err)
	}
}

func TestTrainingStopsWhenAskedTo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tagger.Train(ctx, treebank(10), tagger.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestTrainingNamesATagThatItDoesNotKnow(t *testing.T) {
	s := []conllu.Sentence{{ID: "a", Words: []conllu.Word{{Form: "dog", UPOS: "NN"}}}}
	_, err := tagger.Train(context.Background(), s, tagger.Options{})
	if err == nil || !strings.Contains(err.Error(), `"NN", which is not a Universal POS tag`) {
		t.Errorf("error %v", err)
	}
	if _, err := tagger.Train(context.Background(), nil, tagger.Options{}); err == nil {
		t.Error("no sentences, no error")
	}
}

func TestEvaluateCountsWordsOfRawTextByTheirBytes(t *testing.T) {
	s := []conllu.Sentence{{Text: "it don't", Words: []conllu.Word{
		{Form: "it", UPOS: "PRON", Start: 0, End: 2},
		{Form: "don't", UPOS: "VERB", Start: 3, End: 8}, // the tokenizer makes two of it
	}}}
	q := tagger.EvaluateRaw(tagger.English(), s)
	if q.Words != 2 || q.Found != 3 || q.Tokens != 1 || q.Tagged != 1 || q.TokenF1 != 0.4 || q.TagF1 != 0.4 {
		t.Errorf("%+v", q)
	}
}

func FuzzAnyTextIsTagged(f *testing.F) {
	for _, m := range messages {
		f.Add(m)
	}
	f.Add(strings.Repeat("É", 200) + "\xff😀")
	f.Fuzz(func(t *testing.T, text string) {
		tokens := token.Append(nil, text)
		tags := tagger.English().Append(nil, text, tokens)
		if len(tags) != len(tokens) {
			t.Fatalf("%d tags for %d tokens", len(tags), len(tokens))
		}
		for _, tag := range tags {
			if tag >= tagger.Tags {
				t.Fatalf("tag %d", tag)
			}
		}
	})
}
