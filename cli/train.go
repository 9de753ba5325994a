// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/internal/eval"
	"github.com/millrace-ml/millrace/internal/records"
)

type trainOptions struct {
	eval.Config
	format    choice
	out       string
	test      []string
	force     bool
	confusion bool
}

func newTrainCommand(c *console) *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:   "train MODEL --data FILE… --output FILE",
		Short: "Train a built-in model on your own data",
		Long: `Train makes weights for a built-in model: for the tagger from a treebank in the
CoNLL-U format, for sentiment and classifier from texts with their labels, of any
set of labels, in CSV, TSV or JSON lines.

A pipeline uses them with the option weights:

  classifier: {from: tags, to: classes, model: {builtin: classifier, weights: mine.bin}}

The same data and seed make the same file. With --test the new model is measured
on data that it has not seen; with --folds, models like it are, each without a
part of the data.

The embedder's weights are distilled from a larger model by scripts/distill-embedder;
keywords learns nothing; nearest learns when it starts, from its option examples.`,
		Example: `  millrace train classifier --data train.csv --label category --output banking.bin --folds 5
  millrace train sentiment --data mine.jsonl --output mine.bin --test held-out.jsonl
  millrace train tagger --data en_ewt-ud-train.conllu --output tagger.bin`,
		Args:              positional(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(eval.Learners(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			o.Format = records.Format(o.format.value)
			return c.train(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	addDataFlags(cmd, &o.Config, &o.format)
	f.StringVarP(&o.out, "output", "o", "", "write the weights to this file")
	f.BoolVar(&o.force, "force", false, "replace the file if it is there")
	f.StringArrayVar(&o.test, "test", nil, "measure the new model on this data; may be given several times")
	f.IntVar(&o.Folds, "folds", 0, "before that, train so many models, each without one part of the data, and measure each on that part")
	f.BoolVar(&o.confusion, "confusion", false, "show what is taken for what, however many labels there are")
	return cmd
}

func (c *console) train(ctx context.Context, o trainOptions) error {
	if o.out == "" {
		return usage("name the file for the weights with --output", "train: there is nowhere to write the weights to")
	}
	if err := eval.Trainable(o.Model); err != nil {
		return evalError(ctx, err)
	}
	if err := c.checkApart(o.out, slices.Concat(o.Data, o.Also, o.test)...); err != nil {
		return err
	}
	out, err := eval.NewOutput(o.out, o.force)
	if err != nil {
		return evalError(ctx, err)
	}
	defer out.Discard()
	reports, trained, err := c.trainAndMeasure(ctx, &o)
	if err != nil {
		return evalError(ctx, err)
	}
	size, err := out.Commit(trained.Save)
	if err != nil {
		return evalError(ctx, err)
	}
	for _, r := range reports {
		if err := c.printReport(r, o.confusion); err != nil {
			return err
		}
		fmt.Fprintln(c.out)
	}
	fmt.Fprintf(c.err, "%s: %s that tells %s, learned from %s in %s, %s\n", o.out, trained.Model, plural(len(trained.Labels), "label"),
		counted(trained.Items, trained.Unit), trained.Took.Round(time.Second/10), bytesOf(size))
	return nil
}

func (c *console) trainAndMeasure(ctx context.Context, o *trainOptions) ([]*eval.Report, *eval.Trained, error) {
	var end func()
	o.Progress, end = c.stages()
	defer end()
	var reports []*eval.Report
	if o.Folds != 0 {
		r, err := eval.Run(ctx, o.Config)
		if err != nil {
			return nil, nil, err
		}
		reports = append(reports, r)
	}
	trained, err := eval.Train(ctx, o.Config)
	if err != nil || len(o.test) == 0 {
		return reports, trained, err
	}
	test := o.Config
	test.Data, test.Folds = o.test, 0
	r, err := trained.Measure(ctx, test)
	return append(reports, r), trained, err
}

// bytesOf is a size for people.
func bytesOf(n int64) string {
	switch {
	case n >= 1e6:
		return figure(float64(n)/1e6) + " MB"
	case n >= 1e3:
		return figure(float64(n)/1e3) + " kB"
	}
	return plural(int(n), "byte")
}
