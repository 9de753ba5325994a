// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/internal/eval"
	"github.com/millrace-ml/millrace/internal/records"
)

// everyModel is the argument of eval that stands for all models.
const everyModel = "all"

type evalOptions struct {
	eval.Config
	format    choice
	confusion bool
	desk      string
}

func newEvalCommand(c *console) *cobra.Command {
	var o evalOptions
	names := eval.Models()
	cmd := &cobra.Command{
		Use:   "eval MODEL --data FILE…",
		Short: "Measure a built-in model on labelled data",
		Long: `Eval measures a built-in model on data whose answers are known:

  tagger      CoNLL-U; --raw splits the text instead of taking the words
  sentiment   a text and its sentiment
  classifier  a text and its label, of any set of labels with --weights
  keywords    a text, its keywords and its products
  embedder    a text and a label: is a text nearest to others of its label?
  nearest     a text and the id of the item to find, or none

Data is CSV, TSV or JSON lines. Columns are found by their usual names (text;
label, category, class, …) or named with flags.

A model must not be measured on what it has learned from. With --folds,
--holdout or --every, models are trained on one part of the data and measured on the rest.

With "all" every model is measured on the repository's labelled messages and on
the public data sets in the folder that --data names.`,
		Example: `  millrace eval tagger --data en_ewt-ud-dev.conllu --plain
  millrace eval classifier --data train.csv --label category --folds 5
  millrace eval sentiment --data messages.jsonl --weights mine.bin --output json
  millrace eval all --data ../shared/data`,
		Args:              positional(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(append(names, everyModel), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			o.Format = records.Format(o.format.value)
			if o.Model == everyModel {
				return c.evalAll(cmd.Context(), o)
			}
			return c.eval(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	addDataFlags(cmd, &o.Config, &o.format)
	f.StringVarP(&o.Weights, "weights", "w", "", "measure these weights (default: those in the program)")
	f.IntVar(&o.Folds, "folds", 0, "train so many models, each without one part of the data, and measure each on that part")
	f.Float64Var(&o.Holdout, "holdout", 0, "train one model without this share of each label, and measure it on that")
	f.IntVar(&o.Every, "every", 0, "the same without records N, 2N, 3N, …")
	f.BoolVar(&o.Raw, "raw", false, "tagger: split the text instead of taking the treebank's words")
	f.BoolVar(&o.Plain, "plain", false, "tagger: in lower case and without final punctuation")
	f.StringVar(&o.Keywords, "keywords", "", "column of the keywords (default: by the usual names)")
	f.StringVar(&o.Products, "products", "", "column of the products (default: by the usual names)")
	f.StringVar(&o.Catalogue, "catalogue", "", "keywords: YAML file of the products (default: the support desk's)")
	f.IntVar(&o.Max, "max", 0, "keywords: phrases a text at most (default 6)")
	f.StringVar(&o.Items, "items", "", "nearest: YAML file of the items (default: the support desk's checklists)")
	f.BoolVar(&o.confusion, "confusion", false, "show what is taken for what, however many labels there are")
	f.DurationVar(&o.Speed, "speed", time.Second, "measure the speed for about this long; 0: not at all")
	f.StringVar(&o.desk, "desk", "examples/support-desk", "all: folder of the labelled messages")
	return cmd
}

// addDataFlags adds the flags that eval and train share.
func addDataFlags(cmd *cobra.Command, o *eval.Config, format *choice) {
	f := cmd.Flags()
	f.StringArrayVarP(&o.Data, "data", "d", nil, "labelled data; may be given several times")
	choose(cmd, format, false, "format", "the data's format (default: by its name or first bytes)", "jsonl", "json", "csv", "tsv")
	f.StringVar(&o.Text, "text", "", "column of the text (default: by the usual names)")
	f.StringVar(&o.Label, "label", "", "column of the label (default: by the usual names)")
	f.StringArrayVar(&o.Also, "also", nil, "more data to learn from, never measured on; may be given several times")
	f.Float64Var(&o.AlsoWeight, "also-weight", 1, "how much a text of --also counts against one of --data")
	f.BoolVar(&o.Mixed, "mixed", false, "let near-duplicates be learned from and measured on")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of all that is random; the same seed gives the same result")
}

func (c *console) eval(ctx context.Context, o evalOptions) error {
	var end func()
	o.Progress, end = c.stages()
	report, err := eval.Run(ctx, o.Config)
	end()
	if err != nil {
		return evalError(ctx, err)
	}
	return c.printReport(report, o.confusion)
}

// evalError gives errors of package eval their exit code and hint.
func evalError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if input, ok := errors.AsType[*eval.InputError](err); ok {
		return usage(input.Hint, "%w", err)
	}
	return err
}

// stages shows on a terminal what is being done. The function that it returns
// second takes that away.
func (c *console) stages() (show func(string), end func()) {
	if !isTerminal(c.err) {
		return nil, func() {}
	}
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(c.err), progressbar.OptionSetWidth(10),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSpinnerType(14),
		progressbar.OptionEnableColorCodes(false))
	return func(stage string) { bar.Describe(stage + " …") }, func() { _ = bar.Finish() } // standard error
}
