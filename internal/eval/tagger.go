// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/metrics"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// Names of the tagger's measures on raw text.
const (
	TokenF1 = "token F1"
	TagF1   = "tag F1"
)

func runTagger(ctx context.Context, c *Config) (*Report, error) {
	c.stage("reading")
	sentences, err := readTreebanks(c.Data)
	if err != nil {
		return nil, err
	}
	if c.Every > 0 {
		return nil, wrong("use folds or a held-out share", "neighbouring sentences are about the same things: every n-th cannot be held out")
	}
	if c.trains() {
		return c.trainAndTag(ctx, sentences)
	}
	t, method, err := c.tagger()
	if err != nil {
		return nil, err
	}
	return c.measureTagger(ctx, t, sentences, method)
}

func (c *Config) tagger() (*tagger.Tagger, string, error) {
	if c.Weights == "" {
		return tagger.English(), ownWeights, nil
	}
	data, err := readWeights(c.Weights)
	if err != nil {
		return nil, "", err
	}
	t, err := tagger.Load(bytes.NewReader(data))
	if err != nil {
		return nil, "", wrong("name a file that millrace train tagger made", "%s: %w", c.Weights, err)
	}
	return t, "weights of " + filepath.ToSlash(c.Weights), nil
}

func readTreebanks(files []string) ([]conllu.Sentence, error) {
	var all []conllu.Sentence
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, wrong("name a treebank in the CoNLL-U format", "%w", err)
		}
		sentences, err := conllu.NewReader(f).ReadAll()
		f.Close()
		if err != nil {
			return nil, wrong("the tagger is measured on CoNLL-U; see universaldependencies.org/format.html", "%s: %w", file, err)
		}
		if len(sentences) == 0 {
			return nil, wrong("the tagger is measured on CoNLL-U; see universaldependencies.org/format.html", "%s holds no sentence", file)
		}
		for i := range sentences {
			if err := tagsAreUniversal(file, &sentences[i]); err != nil {
				return nil, err
			}
		}
		all = append(all, sentences...)
	}
	return all, nil
}

func tagsAreUniversal(file string, s *conllu.Sentence) error {
	for i, w := range s.Words {
		if _, ok := tagger.ParseTag(w.UPOS); !ok {
			return wrong("the fourth column is one of the 17 tags of universaldependencies.org/u/pos",
				"%s, sentence %s: word %d, %q, has the tag %q, which is not a Universal POS tag", file, s.ID, i+1, w.Form, w.UPOS)
		}
	}
	return nil
}

// measureTagger tags sentences. They are what the config says: given words or
// raw text, as they are or plain.
func (c *Config) measureTagger(ctx context.Context, t *tagger.Tagger, sentences []conllu.Sentence, method string) (*Report, error) {
	if c.Plain {
		sentences = plain(sentences)
	}
	c.stage("tagging %d sentences", len(sentences))
	var r *Report
	if c.Raw {
		r = rawReport(tagger.EvaluateRaw(t, sentences))
	} else {
		confusion := newTagConfusion()
		if err := countTags(confusion, t, sentences); err != nil {
			return nil, err
		}
		r = tagReport(confusion, len(sentences))
	}
	r.Method = c.taggedAs(method)
	var err error
	r.Speed, err = c.clockTagger(ctx, t, sentences)
	return r, err
}

func (c *Config) taggedAs(method string) string {
	s := "words given"
	if c.Raw {
		s = "raw text"
	}
	if c.Plain {
		s += ", lower case, no final punctuation"
	}
	return s + "; " + method
}

func newTagConfusion() *metrics.Confusion {
	var names []string
	for t := range tagger.Tag(tagger.Tags) {
		names = append(names, t.String())
	}
	return metrics.NewConfusion(names)
}

func countTags(confusion *metrics.Confusion, t *tagger.Tagger, sentences []conllu.Sentence) error {
	q, err := tagger.Evaluate(t, sentences)
	if err != nil {
		return err
	}
	add := func(gold, answered string, n int) {
		g, _ := tagger.ParseTag(gold) // Evaluate gives known tags
		a, _ := tagger.ParseTag(answered)
		for range n {
			confusion.Add(int(g), int(a))
		}
	}
	for _, tag := range q.Tags {
		add(tag.Tag, tag.Tag, tag.Correct)
	}
	for _, other := range q.Confusions {
		add(other.Gold, other.Answered, other.Count)
	}
	return nil
}

func tagReport(confusion *metrics.Confusion, sentences int) *Report {
	r := &Report{Items: sentences, Unit: "sentences"}
	r.add(Accuracy, confusion.Accuracy(), confusion.Total())
	r.add(MacroF1, confusion.MacroF1(), 0)
	r.count(confusion)
	return r
}

func rawReport(q tagger.RawQuality) *Report {
	r := &Report{Items: q.Sentences, Unit: "sentences"}
	r.add(TokenF1, q.TokenF1, q.Words)
	r.add("token precision", q.TokenPrecision, q.Found)
	r.add("token recall", q.TokenRecall, q.Words)
	r.add(TagF1, q.TagF1, q.Words)
	return r
}

func (c *Config) clockTagger(ctx context.Context, t *tagger.Tagger, sentences []conllu.Sentence) (*Speed, error) {
	var tokens []token.Token
	var tags []tagger.Tag
	return clock(ctx, c, len(sentences), "tokens", "splitting and tagging", func(from, to int) (total int) {
		for i := from; i < to; i++ {
			tokens = token.Append(tokens[:0], sentences[i].Text)
			tags = t.Append(tags[:0], sentences[i].Text, tokens)
			total += len(tokens)
		}
		return total
	})
}

// plain makes sentences as they are typed in a chat, words and text.
func plain(sentences []conllu.Sentence) []conllu.Sentence {
	out := slices.Clone(sentences)
	for i := range out {
		s := &out[i]
		s.Words = tagger.Plain(s.Words)
		end := 0
		for _, w := range s.Words {
			end = max(end, w.End)
		}
		s.Text = lowerInPlace(s.Text[:end])
	}
	return out
}

// lowerInPlace is the text in lower case, except for the few letters whose lower
// case has another number of bytes: words must stay where they are.
func lowerInPlace(text string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); utf8.RuneLen(l) == utf8.RuneLen(r) {
			return l
		}
		return r
	}, text)
}

// trainAndTag measures taggers on sentences that they have not learned from.
// Neighbouring sentences are about the same things: a part of the data is
// sentences in a row.
func (c *Config) trainAndTag(ctx context.Context, sentences []conllu.Sentence) (*Report, error) {
	if c.Raw {
		return nil, wrong("train first, then measure with --weights", "folds and a held-out share are measured with the words given")
	}
	also, err := readTreebanks(c.Also)
	if err != nil {
		return nil, err
	}
	n := len(sentences)
	var parts [][2]int
	for k := range c.Folds {
		parts = append(parts, [2]int{k * n / c.Folds, (k + 1) * n / c.Folds})
	}
	method := fmt.Sprintf("%d-fold cross-validation, sentences in a row together", c.Folds)
	if c.Folds == 0 {
		from := n - int(c.Holdout*float64(n))
		parts = [][2]int{{from, n}}
		method = fmt.Sprintf("trained on the rest, measured on the last %.3g%%", 100*c.Holdout)
	}
	confusion, measured := newTagConfusion(), 0
	var last *tagger.Tagger
	for k, part := range parts {
		test := sentences[part[0]:part[1]]
		learn := slices.Concat(sentences[:part[0]], sentences[part[1]:], also)
		if len(test) == 0 || len(learn) == 0 {
			return nil, wrong("give more data", "%d sentences are too few to hold some out", n)
		}
		c.stage("training tagger %d of %d on %d sentences", k+1, len(parts), len(learn))
		if last, err = tagger.Train(ctx, learn, tagger.Options{Seed: c.Seed}); err != nil {
			return nil, err
		}
		if c.Plain {
			test = plain(test)
		}
		if err := countTags(confusion, last, test); err != nil {
			return nil, err
		}
		measured += len(test)
	}
	r := tagReport(confusion, measured)
	r.Method = c.taggedAs(method)
	r.Speed, err = c.clockTagger(ctx, last, sentences)
	return r, err
}
