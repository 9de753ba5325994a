// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/tagger"
)

// Learners lists the models that can be trained.
func Learners() []string { return []string{modelTagger, modelSentiment, modelClassifier} }

// embedderScript is what makes the embedder's weights.
const embedderScript = "scripts/distill-embedder"

// whyNot says why a model is not trained.
func whyNot(model string) string {
	switch model {
	case modelEmbedder:
		return "its weights are distilled from a larger model by " + embedderScript
	case modelKeywords:
		return "it learns nothing; products come from its option catalogue"
	}
	return "it has no weights; it learns when it starts, from the files of its option examples"
}

// Trained is a model fresh from training.
type Trained struct {
	Model  string
	Items  int      // texts or sentences learned from
	Unit   string   // what they are
	Labels []string // that the model tells
	Took   time.Duration

	save    func(w io.Writer) error
	measure func(ctx context.Context, c *Config) (*Report, error)
}

// Save writes the weights.
func (t *Trained) Save(w io.Writer) error { return t.save(w) }

// Measure measures the model on other data; c's Model and Weights are ignored.
func (t *Trained) Measure(ctx context.Context, c Config) (*Report, error) {
	c.Model, c.Weights = t.Model, ""
	r, err := t.measure(ctx, &c)
	if err != nil {
		return nil, err
	}
	r.Model, r.Data = t.Model, slices.Clone(c.Data)
	return r, nil
}

// justTrained is the method of measuring a model that has just been trained.
const justTrained = "weights just trained"

// Train trains a model on all of the data. What is wrong with what was given is
// an [*InputError].
func Train(ctx context.Context, c Config) (*Trained, error) {
	if err := Trainable(c.Model); err != nil {
		return nil, err
	}
	if len(c.Data) == 0 {
		return nil, wrong("name a file of labelled data with --data", "there is no data to learn from")
	}
	train := trainLabels
	if c.Model == modelTagger {
		train = trainTagger
	}
	begun := time.Now()
	t, err := train(ctx, &c)
	if err != nil {
		return nil, err
	}
	t.Took = time.Since(begun)
	return t, nil
}

// Trainable is nil for a model that can be trained, or else says why not.
func Trainable(model string) error {
	if model == aliasNearest {
		model = modelNearest
	}
	if err := checkModel(model, Models()); err != nil {
		return err
	}
	if !slices.Contains(Learners(), model) {
		return wrong("tagger, sentiment and classifier are trained here", "%s is not trained: %s", model, whyNot(model))
	}
	return nil
}

func trainTagger(ctx context.Context, c *Config) (*Trained, error) {
	c.stage("reading")
	sentences, err := readTreebanks(slices.Concat(c.Data, c.Also))
	if err != nil {
		return nil, err
	}
	c.stage("training on %d sentences", len(sentences))
	t, err := tagger.Train(ctx, sentences, tagger.Options{Seed: c.Seed})
	if err != nil {
		return nil, err
	}
	return &Trained{
		Model: c.Model, Items: len(sentences), Unit: "sentences", Labels: newTagConfusion().Labels(), save: t.Save,
		measure: func(ctx context.Context, c *Config) (*Report, error) {
			var test []conllu.Sentence
			if test, err = readTreebanks(c.Data); err != nil {
				return nil, err
			}
			return c.measureTagger(ctx, t, test, justTrained)
		},
	}, nil
}

func trainLabels(ctx context.Context, c *Config) (*Trained, error) {
	l := learnerOf(c.Model)
	c.stage("reading")
	rows, err := readLabelled(c.Data, c, l.columns()...)
	if err != nil {
		return nil, err
	}
	if err := allLabelled(rows); err != nil {
		return nil, err
	}
	// The calibration looks at texts that were held out: near-duplicates would
	// make it too sure.
	apart := *c
	apart.Folds = max(2, c.Folds)
	examples, err := apart.examples(l, rows)
	if err != nil {
		return nil, err
	}
	c.stage("training on %d texts", len(examples))
	m, err := l.train(ctx, examples, c.fit())
	if err != nil {
		return nil, err
	}
	return &Trained{
		Model: c.Model, Items: len(examples), Unit: "texts", Labels: m.Labels(), save: m.Save,
		measure: func(ctx context.Context, c *Config) (*Report, error) {
			test, err := readLabelled(c.Data, c, l.columns()...)
			if err != nil {
				return nil, err
			}
			if err := allLabelled(test); err != nil {
				return nil, err
			}
			return c.measureLabels(ctx, m, test, justTrained)
		},
	}, nil
}

// Output is a file that is there as a whole or not at all.
type Output struct {
	path  string
	force bool
	file  *os.File
}

// NewOutput makes ready to write a file, so that one that cannot be written is
// found before the work is done. Without force a file that is there is an error.
// End it with Commit or Discard.
func NewOutput(path string, force bool) (*Output, error) {
	if info, err := os.Lstat(path); err == nil && (info.IsDir() || !force) {
		if info.IsDir() {
			return nil, wrong("name a file in it", "%s is a directory", path)
		}
		return nil, exists(path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".millrace-*")
	if err != nil {
		return nil, wrong("name a file in a folder that can be written", "write %s: %w", path, err)
	}
	return &Output{path, force, f}, nil
}

func exists(path string) error {
	return wrong("add --force to replace it", "%s exists already", path)
}

// Discard forgets what was written, unless it was committed.
func (o *Output) Discard() {
	if o.file != nil {
		o.file.Close()
		_ = os.Remove(o.file.Name()) // a hidden file of ours that is in no one's way
	}
}

// Commit writes the file and gives it its name. It returns the file's size.
func (o *Output) Commit(write func(w io.Writer) error) (int64, error) {
	defer o.Discard()
	if err := write(o.file); err != nil {
		return 0, fmt.Errorf("write %s: %w", o.path, err)
	}
	info, err := o.file.Stat()
	if err := errors.Join(err, o.file.Chmod(0o644), o.file.Sync(), o.file.Close()); err != nil {
		return 0, fmt.Errorf("write %s: %w", o.path, err)
	}
	if err := o.rename(); err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// rename gives the file its name. Linking fails when there is such a file, even
// one that came while the work was done; where there are no links, looking must do.
func (o *Output) rename() error {
	if !o.force {
		err := os.Link(o.file.Name(), o.path)
		if err == nil {
			return nil
		}
		if _, there := os.Lstat(o.path); errors.Is(err, fs.ErrExist) || there == nil {
			return exists(o.path)
		}
	}
	if err := os.Rename(o.file.Name(), o.path); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	o.file = nil
	return nil
}
