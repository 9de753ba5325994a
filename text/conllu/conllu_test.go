// SPDX-License-Identifier: Apache-2.0

package conllu_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/conllu"
)

const sample = `# newpar
# sent_id = a-1
# text = I don't  know: "yes".
1	I	I	PRON	PRP	Case=Nom	4	nsubj	_	_
2-3	don't	_	_	_	_	_	_	_	_
2	do	do	AUX	VBP	_	4	aux	_	_
3	n't	not	PART	RB	_	4	advmod	_	_
4	know	know	VERB	VB	_	0	root	_	SpaceAfter=No
4.1	it	it	PRON	PRP	_	_	_	_	_
5	:	:	PUNCT	:	_	4	punct	_	_
6	"	"	PUNCT	''	_	7	punct	_	SpaceAfter=No
7	yes	yes	INTJ	UH	_	4	obj	_	SpaceAfter=No
8	"	"	PUNCT	''	_	7	punct	_	SpaceAfter=No
9	.	.	PUNCT	.	_	4	punct	_	_

# sent_id = a-2
1-2	du	_	_	_	_	_	_	_	SpaceAfter=No
1	de	de	ADP	_	_	0	root	_	_
2	le	le	DET	_	_	1	det	_	_
3	!	!	PUNCT	_	_	1	punct	_	_
`

func TestWordsArePlacedInTheText(t *testing.T) {
	sentences, err := conllu.NewReader(strings.NewReader(sample)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(sentences) != 2 || len(sentences[0].Words) != 9 || sentences[0].ID != "a-1" || !sentences[0].New || sentences[1].New {
		t.Fatalf("read %+v", sentences)
	}
	s := sentences[0]
	for _, w := range s.Words {
		if s.Text[w.Start:w.End] != w.Form {
			t.Errorf("%q is placed at %q", w.Form, s.Text[w.Start:w.End])
		}
	}
}

func TestATextIsMadeOfTheTokensWhereItIsMissing(t *testing.T) {
	sentences, err := conllu.NewReader(strings.NewReader(sample)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	s := sentences[1]
	if s.Text != "du!" {
		t.Errorf("text %q", s.Text)
	}
	if w := s.Words[1]; w.Start != 0 || w.End != 2 {
		t.Errorf("%q shares the token's bytes, but is at %d to %d", w.Form, w.Start, w.End)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"1\ta\tb":                           "line 1: a word has 10 fields separated by tabs, this has 3",
		"# x\n2\ta\t_\t_\t_\t_\t_\t_\t_\t_": `line 2: the word's id is "2", expected 1`,
		"9-8\ta\t_\t_\t_\t_\t_\t_\t_\t_":    "line 1: the range 9-8 is not that of the words which follow, expected 1-…",
		"1\t\xff\t_\t_\t_\t_\t_\t_\t_\t_\n": "line 1: not valid UTF-8",
	} {
		_, err := conllu.NewReader(strings.NewReader(text)).ReadAll()
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzReadKeepsWordsInsideTheText(f *testing.F) {
	f.Add(sample)
	f.Add("# text = b\n1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n")
	f.Add("1-3\tab\t_\t_\t_\t_\t_\t_\t_\t_\n1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := conllu.NewReader(strings.NewReader(text))
		for {
			s, err := r.Read()
			if err != nil {
				if !errors.Is(err, io.EOF) && err.Error() == "" {
					t.Fatal("an error without words")
				}
				return
			}
			for _, w := range s.Words {
				if w.Start < 0 && w.End >= 0 || w.End > len(s.Text) || w.Start > w.End {
					t.Fatalf("%+v in %q", w, s.Text)
				}
			}
		}
	})
}
