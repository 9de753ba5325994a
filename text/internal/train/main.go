// SPDX-License-Identifier: Apache-2.0

// Command train makes the weights of the tagger that are part of the project:
//
//	go run ./text/internal/train -data en_ewt-ud-train.conllu -output text/tagger/english.weights
//
// The same data and seed make the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/tagger"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	data := flag.String("data", "", "treebank to learn from, CoNLL-U")
	output := flag.String("output", "", "file for the weights")
	seed := flag.Uint64("seed", 1, "seed of the order in which sentences are learned")
	flag.Parse()
	if *data == "" || *output == "" {
		return errors.New("give -data and -output")
	}
	sentences, err := read(*data)
	if err != nil {
		return err
	}
	t, err := tagger.Train(ctx, sentences, tagger.Options{Seed: *seed})
	if err != nil {
		return err
	}
	return save(*output, t)
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

func save(path string, t *tagger.Tagger) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(t.Save(f), f.Close())
}
