// SPDX-License-Identifier: Apache-2.0

// Command train-text makes the weights of the text models that come with
// Millrace, and measures them by cross-validation.
//
//	go run ./scripts/train-text -data DIR              measure
//	go run ./scripts/train-text -data DIR -write       measure and write the weights
//
// DIR is the folder of public data sets (its goemotions/train.tsv is read); the
// labelled messages are the project's own.
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
	"strings"

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
	Checklist *string
	group     string
}

func main() {
	log.SetFlags(0)
	data := flag.String("data", "", "folder of the public data sets")
	write := flag.Bool("write", false, "write the weights into text/")
	desk := flag.String("desk", "examples/support-desk", "folder of the labelled messages")
	flag.Parse()
	if err := run(context.Background(), *data, *desk, *write); err != nil {
		log.Fatal("train-text: ", err)
	}
}

func run(ctx context.Context, data, desk string, write bool) error {
	messages, err := readMessages(desk)
	if err != nil {
		return err
	}
	fmt.Printf("%d messages in %d groups of near-duplicates\n", len(messages), group(messages))
	comments, err := readGoEmotions(filepath.Join(data, "goemotions", "train.tsv"))
	if err != nil {
		return err
	}
	fmt.Printf("%d comments\n\n", len(comments))
	if err := trainSentiment(ctx, messages, comments, write); err != nil {
		return err
	}
	return trainClassifier(ctx, messages, write)
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
			messages = append(messages, m)
		}
	}
	return messages, nil
}

func trainSentiment(ctx context.Context, messages []message, comments []sentiment.Example, write bool) error {
	examples := make([]sentiment.Example, 0, len(messages)+len(comments))
	for _, m := range messages {
		examples = append(examples, sentiment.Example{Text: m.Text, Label: m.Sentiment, Group: m.group})
	}
	examples = append(examples, comments...)
	o, t := sentiment.Options()
	labels, held, err := sentiment.CrossValidate(ctx, examples, o, t)
	if err != nil {
		return err
	}
	report("sentiment", labels, held)
	if !write {
		return nil
	}
	m, err := sentiment.Train(ctx, examples, o, t)
	if err != nil {
		return err
	}
	return save("text/sentiment/english.bin", m.Save)
}

func trainClassifier(ctx context.Context, messages []message, write bool) error {
	examples := make([]classifier.Example, len(messages))
	for i, m := range messages {
		examples[i] = classifier.Example{Tagged: classifier.Tag(m.Text), Label: m.Class, Group: m.group}
	}
	o, t := classifier.Options()
	labels, held, err := classifier.CrossValidate(ctx, examples, o, t)
	if err != nil {
		return err
	}
	report("class", labels, held)
	if !write {
		return nil
	}
	m, err := classifier.Train(ctx, examples, o, t)
	if err != nil {
		return err
	}
	return save("text/classifier/english.bin", m.Save)
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

// polarity is what the emotions of GoEmotions, in the order of its labels.txt,
// say about sentiment. A comment counts when all its emotions agree; those that
// may be either, such as surprise, say nothing.
var polarity = strings.Fields(`positive positive negative negative positive positive - - - negative negative negative
	negative positive negative positive negative positive positive negative positive positive - positive negative negative - neutral`)

func readGoEmotions(path string) ([]sentiment.Example, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var examples []sentiment.Example
	for line := range strings.Lines(string(content)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue
		}
		if label := agreed(fields[1]); label != "-" {
			examples = append(examples, sentiment.Example{Text: fields[0], Label: label, Weight: commentWeight, Auxiliary: true})
		}
	}
	return examples, nil
}

// commentWeight is what a comment from elsewhere counts against a message.
const commentWeight = 0.1

func agreed(ids string) string {
	label := ""
	for id := range strings.SplitSeq(ids, ",") {
		var n int
		if _, err := fmt.Sscan(id, &n); err != nil || n < 0 || n >= len(polarity) {
			return "-"
		}
		if label != "" && polarity[n] != label {
			return "-"
		}
		label = polarity[n]
	}
	return label
}
