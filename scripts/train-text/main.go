// SPDX-License-Identifier: Apache-2.0

// Command train-text makes the weights of the text models that come with
// Millrace, and measures them by cross-validation and from writer to writer.
//
//	go run ./scripts/train-text              measure
//	go run ./scripts/train-text -write       measure and write the weights
//	go run ./scripts/train-text -compose F   write the composed messages to F
//
// It learns from the project's labelled messages and from those that it composes
// (composed.txt), and measures on the former.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/text/classifier"
	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/metrics"
	"github.com/millrace-ml/millrace/text/sentiment"
)

// message is a line of the project's labelled messages.
type message struct {
	ID        string
	Text      string
	Sentiment string
	Class     string
	writer    string // the file's name: each is by another
	group     string
}

func main() {
	log.SetFlags(0)
	write := flag.Bool("write", false, "write the weights into text/")
	desk := flag.String("desk", "examples/support-desk", "folder of the labelled messages")
	compose := flag.String("compose", "", "only write the composed messages to this file, as JSON lines")
	flag.Parse()
	if *compose != "" {
		if err := writeComposed(*compose); err != nil {
			log.Fatal("train-text: ", err)
		}
		return
	}
	if err := run(context.Background(), *desk, *write); err != nil {
		log.Fatal("train-text: ", err)
	}
}

// Composed messages: so many of each pattern, counting so much against one that
// somebody wrote.
const (
	composedEach   = 3
	composedWeight = 0.3
	composedSeed   = 1
)

func run(ctx context.Context, desk string, write bool) error {
	messages, err := readMessages(desk)
	if err != nil {
		return err
	}
	g, err := readGrammar(patterns)
	if err != nil {
		return err
	}
	composed := g.compose(composedEach, composedSeed)
	fmt.Printf("%d messages in %d groups of near-duplicates, %d composed of %d patterns\n\n",
		len(messages), group(messages), len(composed), len(g.patterns))
	if err := trainSentiment(ctx, messages, composed, write); err != nil {
		return err
	}
	return trainClassifier(ctx, messages, composed, write)
}

// writeComposed writes the composed messages as labelled data, for "millrace eval
// --also" to learn from what the weights in the program were learned from.
func writeComposed(path string) error {
	g, err := readGrammar(patterns)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, m := range g.compose(composedEach, composedSeed) {
		line := map[string]string{"text": m.Text, "sentiment": m.Sentiment, "class": m.Class}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func readMessages(folder string) ([]message, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "training*.jsonl"))
	if err != nil {
		return nil, err
	}
	var messages []message
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for n, line := range bytes.Split(bytes.TrimSpace(content), []byte("\n")) {
			var m message
			if err := json.Unmarshal(line, &m); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", path, n+1, err)
			}
			m.writer = filepath.Base(path)
			messages = append(messages, m)
		}
	}
	return messages, nil
}

func trainSentiment(ctx context.Context, messages, composed []message, write bool) error {
	examples := sentimentExamples(messages, composed)
	o, t := sentiment.Options()
	labels, held, err := sentiment.CrossValidate(ctx, examples, o, t)
	if err != nil {
		return err
	}
	report("sentiment", labels, held)
	bare := t
	bare.Folds = -1
	if err := measureTransfer("sentiment", messages, func(learn, test []message) (metrics.Report, error) {
		m, err := sentiment.Train(ctx, sentimentExamples(learn, composed), o, bare)
		if err != nil {
			return metrics.Report{}, err
		}
		return m.Evaluate(sentimentExamples(test, nil)), nil
	}); err != nil {
		return err
	}
	if !write {
		return nil
	}
	m, err := sentiment.Train(ctx, examples, o, t)
	if err != nil {
		return err
	}
	return save("text/sentiment/english.bin", m.Save)
}

func sentimentExamples(messages, composed []message) (examples []sentiment.Example) {
	for _, m := range messages {
		examples = append(examples, sentiment.Example{Text: m.Text, Label: m.Sentiment, Group: m.group})
	}
	for _, m := range composed {
		examples = append(examples, sentiment.Example{Text: m.Text, Label: m.Sentiment, Weight: composedWeight, Auxiliary: true})
	}
	return examples
}

func trainClassifier(ctx context.Context, messages, composed []message, write bool) error {
	examples := classifierExamples(messages, composed)
	o, t := classifier.Options()
	labels, held, err := classifier.CrossValidate(ctx, examples, o, t)
	if err != nil {
		return err
	}
	report("class", labels, held)
	bare := t
	bare.Folds = -1
	if err := measureTransfer("class", messages, func(learn, test []message) (metrics.Report, error) {
		m, err := classifier.Train(ctx, classifierExamples(learn, composed), o, bare)
		if err != nil {
			return metrics.Report{}, err
		}
		return m.Evaluate(classifierExamples(test, nil)), nil
	}); err != nil {
		return err
	}
	if !write {
		return nil
	}
	m, err := classifier.Train(ctx, examples, o, t)
	if err != nil {
		return err
	}
	return save("text/classifier/english.bin", m.Save)
}

func classifierExamples(messages, composed []message) (examples []classifier.Example) {
	for _, m := range messages {
		examples = append(examples, classifier.Example{Tagged: classifier.Tag(m.Text), Label: m.Class, Group: m.group})
	}
	for _, m := range composed {
		examples = append(examples, classifier.Example{Tagged: classifier.Tag(m.Text), Label: m.Class, Weight: composedWeight, Auxiliary: true})
	}
	return examples
}

// report prints what the held-out predictions measure. The temperature is that
// of all folds together: one number hardly overfits.
func report(name string, labels []string, held []linear.Held) {
	confusion := metrics.NewConfusion(labels)
	var calibration metrics.Calibration
	temperature := linear.Temperature(held)
	for _, h := range held {
		p := h.Probabilities(temperature)
		best := 0
		for i := range p {
			if p[i] > p[best] {
				best = i
			}
		}
		confusion.Add(h.Label, best)
		calibration.Add(p[best], best == h.Label)
	}
	fmt.Printf("%s: %d messages, accuracy %.3f, macro-F1 %.3f, temperature %.2f, calibration error %.3f\n",
		name, confusion.Total(), confusion.Accuracy(), confusion.MacroF1(), temperature, calibration.Error())
	for _, c := range confusion.Classes() {
		fmt.Printf("  %-14s precision %.3f  recall %.3f  F1 %.3f  of %d\n", c.Label, c.Precision, c.Recall, c.F1, c.Support)
	}
	fmt.Println(confusion.Matrix())
}

func save(path string, write func(w io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes\n\n", path, b.Len())
	return os.WriteFile(path, b.Bytes(), 0o644)
}
