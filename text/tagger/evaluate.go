// SPDX-License-Identifier: Apache-2.0

package tagger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/token"
)

// Quality is how well a tagger does on sentences whose words are given.
type Quality struct {
	Sentences int     `json:"sentences"`
	Words     int     `json:"words"`
	Correct   int     `json:"correct"`
	Accuracy  float64 `json:"accuracy"` // Correct / Words, 0 without words
	// Tags are in alphabetical order.
	Tags []TagQuality `json:"tags"`
	// Confusions are the pairs of tags that are taken for one another, the most
	// frequent first.
	Confusions []Confusion `json:"confusions"`
}

// TagQuality is how well one tag is found.
type TagQuality struct {
	Tag       string  `json:"tag"`
	Gold      int     `json:"gold"`
	Answered  int     `json:"answered"`
	Correct   int     `json:"correct"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
}

// Confusion is how often one tag was answered for another.
type Confusion struct {
	Gold     string `json:"gold"`
	Answered string `json:"answered"`
	Count    int    `json:"count"`
}

// Evaluate tags the words of sentences and compares. [Plain] makes sentences as
// they are typed in a chat.
func Evaluate(t *Tagger, sentences []conllu.Sentence) (Quality, error) {
	var matrix [Tags][Tags]int
	q := Quality{Sentences: len(sentences)}
	var tags []Tag
	for i := range sentences {
		e, err := exampleOf(sentences[i].Words)
		if err != nil {
			return Quality{}, fmt.Errorf("sentence %s: %w", sentences[i].ID, err)
		}
		tags = t.Append(tags[:0], e.text, e.tokens)
		for k, gold := range e.tags {
			matrix[gold][tags[k]]++
			q.Words++
		}
	}
	q.count(&matrix)
	return q, nil
}

func (q *Quality) count(matrix *[Tags][Tags]int) {
	for gold := range matrix {
		row := TagQuality{Tag: Tag(gold).String(), Correct: matrix[gold][gold]}
		for other := range matrix {
			n := matrix[gold][other]
			row.Gold += n
			row.Answered += matrix[other][gold]
			if n > 0 && other != gold {
				q.Confusions = append(q.Confusions, Confusion{row.Tag, Tag(other).String(), n})
			}
		}
		row.Precision, row.Recall, row.F1 = measures(row.Correct, row.Answered, row.Gold)
		q.Tags = append(q.Tags, row)
		q.Correct += row.Correct
	}
	q.Accuracy = share(q.Correct, q.Words)
	slices.SortStableFunc(q.Confusions, func(a, b Confusion) int { return cmp.Compare(b.Count, a.Count) })
}

// RawQuality is how well tokens and tags are found in raw text: shares of the
// words whose bytes are found exactly (tokens), and whose tag is right as well
// (tags). A word that the tokenizer splits otherwise counts as wrong in both.
type RawQuality struct {
	Sentences int `json:"sentences"`
	Words     int `json:"words"`  // of the treebank
	Found     int `json:"found"`  // tokens
	Tokens    int `json:"tokens"` // tokens that are words
	Tagged    int `json:"tagged"` // of them, those with the right tag

	TokenPrecision float64 `json:"token_precision"`
	TokenRecall    float64 `json:"token_recall"`
	TokenF1        float64 `json:"token_f1"`
	TagF1          float64 `json:"tag_f1"`
}

// EvaluateRaw splits the texts of sentences, tags the tokens and compares. The
// words of a multiword token that are not simply parts of it count as missed.
func EvaluateRaw(t *Tagger, sentences []conllu.Sentence) RawQuality {
	q := RawQuality{Sentences: len(sentences)}
	var tokens []token.Token
	var tags []Tag
	for i := range sentences {
		s := &sentences[i]
		tokens = token.Append(tokens[:0], s.Text)
		tags = t.Append(tags[:0], s.Text, tokens)
		q.Words += len(s.Words)
		q.Found += len(tokens)
		k := 0
		for _, w := range s.Words {
			for k < len(tokens) && tokens[k].Start < w.Start {
				k++
			}
			if k < len(tokens) && tokens[k] == (token.Token{Start: w.Start, End: w.End}) {
				q.Tokens++
				if tags[k].String() == w.UPOS {
					q.Tagged++
				}
				k++
			}
		}
	}
	q.TokenPrecision, q.TokenRecall, q.TokenF1 = measures(q.Tokens, q.Found, q.Words)
	_, _, q.TagF1 = measures(q.Tagged, q.Found, q.Words)
	return q
}

// measures are precision, recall and their harmonic mean.
func measures(correct, answered, gold int) (precision, recall, f1 float64) {
	return share(correct, answered), share(correct, gold), share(2*correct, answered+gold)
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
