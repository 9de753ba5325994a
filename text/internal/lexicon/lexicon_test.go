// SPDX-License-Identifier: Apache-2.0

package lexicon_test

import (
	"bytes"
	"testing"

	"github.com/millrace-ml/millrace/text/internal/lexicon"
)

func TestWordsAreFoundAfterALexiconWasSavedAndLoaded(t *testing.T) {
	entries := []lexicon.Entry{
		{Hash: lexicon.Hash("robot"), Classes: lexicon.Classes{1, 2, 3}},
		{Hash: lexicon.Hash("dock"), Classes: lexicon.Classes{65535, 1, 9}},
		{Hash: lexicon.Hash("robot"), Classes: lexicon.Classes{7, 7, 7}}, // comes too late
	}
	var file bytes.Buffer
	if err := lexicon.New(entries).Save(&file); err != nil {
		t.Fatal(err)
	}
	l, err := lexicon.Load(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]lexicon.Classes{"robot": {1, 2, 3}, "dock": {65535, 1, 9}, "unheard": {}} {
		if got := l.Find(lexicon.Hash(word)); got != want {
			t.Errorf("%s: %v, want %v", word, got, want)
		}
	}
	if l.Len() != 2 {
		t.Errorf("%d words", l.Len())
	}
	for n := range file.Len() - 6 { // the last bytes only end the compression
		if _, err := lexicon.Load(bytes.NewReader(file.Bytes()[:n])); err == nil {
			t.Fatalf("%d of %d bytes were loaded", n, file.Len())
		}
	}
}

func TestDigitsAreOneAnothersEqual(t *testing.T) {
	if lexicon.Hash("x30") != lexicon.Hash([]byte("x99")) {
		t.Error("x30 and x99 differ")
	}
	if lexicon.Hash("x30") == lexicon.Hash("y30") {
		t.Error("x30 and y30 do not differ")
	}
}
