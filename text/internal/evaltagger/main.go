// SPDX-License-Identifier: Apache-2.0

// Command evaltagger measures the tagger on a treebank: with the words given,
// as they are and as typed in a chat, and on raw text; and its speed.
//
//	go run ./text/internal/evaltagger -data en_ewt-ud-dev.conllu [-weights FILE]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "evaltagger:", err)
		os.Exit(1)
	}
}

func run() error {
	data := flag.String("data", "", "treebank, CoNLL-U")
	weights := flag.String("weights", "", "weights (default: those in the program)")
	flag.Parse()
	if *data == "" {
		return errors.New("give -data")
	}
	sentences, err := read(*data)
	if err != nil {
		return err
	}
	t, err := load(*weights)
	if err != nil {
		return err
	}
	given, err := tagger.Evaluate(t, sentences)
	if err != nil {
		return err
	}
	plain := slices.Clone(sentences)
	for i := range plain {
		plain[i].Words = tagger.Plain(plain[i].Words)
	}
	chat, err := tagger.Evaluate(t, plain)
	if err != nil {
		return err
	}
	raw := tagger.EvaluateRaw(t, sentences)
	fmt.Printf("words given          %.2f%% of %d\n", 100*given.Accuracy, given.Words)
	fmt.Printf("lower case, no end   %.2f%% of %d\n", 100*chat.Accuracy, chat.Words)
	fmt.Printf("raw text             tokens F1 %.2f%%, tags F1 %.2f%%\n", 100*raw.TokenF1, 100*raw.TagF1)
	tokens, words := speed(t, sentences)
	fmt.Printf("speed                %.0f tokens/s tokenized and tagged, %.0f tagged\n", tokens, words)
	for _, tag := range given.Tags {
		fmt.Printf("%-6s gold %5d  precision %.3f  recall %.3f  F1 %.3f\n", tag.Tag, tag.Gold, tag.Precision, tag.Recall, tag.F1)
	}
	for _, c := range given.Confusions[:min(12, len(given.Confusions))] {
		fmt.Printf("%-6s taken for %-6s %4d\n", c.Gold, c.Answered, c.Count)
	}
	return nil
}

func read(path string) ([]conllu.Sentence, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	sentences, err := conllu.NewReader(f).ReadAll()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return sentences, nil
}

func load(path string) (*tagger.Tagger, error) {
	if path == "" {
		return tagger.English(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := tagger.Load(f)
	return t, errors.Join(err, f.Close())
}

// speed is tokens a second on one core, with and without splitting the text:
// the best of five rounds.
func speed(t *tagger.Tagger, sentences []conllu.Sentence) (whole, tagging float64) {
	var tokens []token.Token
	var tags []tagger.Tag
	for range 5 {
		n := 0
		var split time.Duration
		start := time.Now()
		for i := range sentences {
			begin := time.Now()
			tokens = token.Append(tokens[:0], sentences[i].Text)
			split += time.Since(begin)
			tags = t.Append(tags[:0], sentences[i].Text, tokens)
			n += len(tokens)
		}
		all := time.Since(start)
		whole = max(whole, float64(n)/all.Seconds())
		tagging = max(tagging, float64(n)/(all-split).Seconds())
	}
	return whole, tagging
}
