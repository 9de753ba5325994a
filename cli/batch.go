// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/internal/batch"
	"github.com/millrace-ml/millrace/internal/records"
)

type batchOptions struct {
	input, output string
	format        choice
	key           string
	topic, result string
	dataDir       string
	only          []string
}

func newBatchCommand(c *console) *cobra.Command {
	var o batchOptions
	cmd := &cobra.Command{
		Use:   "batch PIPELINE",
		Short: "Run a pipeline over a file",
		Long: `Batch runs a pipeline over a finite file of JSON, CSV or TSV and ends when every
record is answered: one JSON line for each, in the order in which they are done.
There is no deadline: every record waits for all its parts.

A line that is not valid input goes, with its number and the reason, to a file
beside the output (desk.jsonl: desk.rejected.jsonl); the rest is answered, and
the exit code is 1.

With --data-dir a batch that was interrupted goes on where it stopped when the
same command is given again.`,
		Example: `  millrace batch examples/support-desk/pipeline.yaml --input tickets.csv --output desk.jsonl
  zcat tickets.jsonl.gz | millrace batch pipeline.yaml --input - --output - > desk.jsonl`,
		Args:              positional(cobra.ExactArgs(1)),
		ValidArgsFunction: completePipeline,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.batch(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.input, "input", "i", "-", "read this file; - reads standard input")
	f.StringVarP(&o.output, "output", "o", "-", "write this file; - writes to standard output")
	choose(cmd, &o.format, false, "format", "the input's format (default: by its name or first bytes)", "jsonl", "json", "csv", "tsv")
	f.StringVar(&o.key, "key", "", "records with the same value of this field, text or a number, are answered in order (default: key, or else id)")
	f.StringVar(&o.topic, "topic", "", "publish to this topic (default: the pipeline's only source)")
	f.StringVar(&o.result, "result", "", "write out this topic (default: that of the only gather)")
	f.StringVar(&o.dataDir, "data-dir", "", "keep topics in this directory, so that an interrupted batch can go on (default: a temporary one)")
	f.StringSliceVar(&o.only, "only", nil, "run only these services and gathers here; others run elsewhere")
	complete(cmd, "only", completeServices)
	return cmd
}

func (c *console) batch(ctx context.Context, file string, o batchOptions) (err error) {
	p, err := c.loadToRun(file, o.only)
	if err != nil {
		return err
	}
	in, size, err := c.openInput(o.input)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, written := range []string{o.output, batch.RejectedPath(o.output)} {
		if err := c.checkApart(written, o.input, file); err != nil {
			return err
		}
	}
	dir, forget, err := dataDirFor(o.dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	log := c.logger(slog.LevelWarn)
	tracer, stopTracing, err := Tracing(ctx, p.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish(ctx, stopTracing)) }()
	b, err := brokers.Open(ctx, p.BrokerURL(), brokers.Options{DataDir: dir, Logger: log})
	if err != nil {
		return inUse(err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	show := c.batchProgress(size)
	begun := time.Now()
	done, err := batch.Run(ctx, batch.Config{
		Pipeline: p, Broker: b,
		App:   millrace.Options{Models: c.models, Only: o.only, Tracer: tracer, Logger: log},
		Input: in, Name: o.input, Format: records.Format(o.format.value), Key: o.key,
		Topic: o.topic, Result: o.result,
		Output: o.output, Stdout: c.out, Rejected: batch.RejectedPath(o.output),
		Progress: show.update,
	})
	show.end()
	if err != nil {
		if ctx.Err() != nil {
			return interrupted(done, o.dataDir)
		}
		return err
	}
	return c.batchSummary(done, time.Since(begun), o)
}

// openInput opens the input and tells its size, or 0 when that is not known.
func (c *console) openInput(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(c.in), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, usage("name a file of JSON lines or CSV, or - for standard input", "%w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if info.IsDir() {
		return nil, 0, errors.Join(usage("name a file of JSON lines or CSV", "%s is a directory", name), f.Close())
	}
	return f, info.Size(), nil
}

// dataDirFor returns the data directory of a batch, and what to do with it at the end.
func dataDirFor(dir string) (string, func() error, error) {
	if dir != "" {
		return dir, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "millrace-batch-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

func interrupted(p batch.Progress, dataDir string) error {
	hint := "with --data-dir DIR an interrupted batch can go on where it stopped"
	if dataDir != "" {
		hint = "give the same command again to go on"
	}
	return hinted(fmt.Errorf("interrupted: %d records were published and %d answered", p.Published, p.Written), hint)
}

func (c *console) batchSummary(p batch.Progress, took time.Duration, o batchOptions) error {
	fmt.Fprintf(c.err, "%s answered in %s", plural(int(p.Written), "record"), took.Round(time.Second/100))
	if p.Failed > 0 {
		fmt.Fprintf(c.err, ", %d of them partial: a part failed or is missing", p.Failed)
	}
	fmt.Fprintln(c.err)
	if p.Rejected > 0 {
		return hinted(fmt.Errorf("not valid input: %s", plural(int(p.Rejected), "line")), "see "+batch.RejectedPath(o.output))
	}
	return nil
}

// batchProgress is a progress bar on a terminal, or nothing.
type batchProgress struct {
	bar   *progressbar.ProgressBar
	size  int64
	begun time.Time
	first int64 // records written before this run
}

// steps of a progress bar.
const steps = 1000

func (c *console) batchProgress(size int64) *batchProgress {
	p := &batchProgress{size: size, begun: time.Now(), first: -1}
	if !isTerminal(c.err) {
		return p
	}
	total := int64(steps)
	if size == 0 {
		total = -1 // a spinner
	}
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(c.err), progressbar.OptionSetWidth(30), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionEnableColorCodes(false))
	return p
}

func (p *batchProgress) update(now batch.Progress) {
	if p.bar == nil {
		return
	}
	if p.first < 0 {
		p.first = now.Written
	}
	rate := float64(now.Written-p.first) / time.Since(p.begun).Seconds()
	p.bar.Describe(fmt.Sprintf("%d answered, %.0f/s", now.Written, rate))
	done := 0.0
	if now.Published > 0 && p.size > 0 {
		done = float64(now.Read) / float64(p.size) * float64(now.Written) / float64(now.Published)
	}
	_ = p.bar.Set(min(int(done*steps), steps-1)) // standard error
}

func (p *batchProgress) end() {
	if p.bar != nil {
		_ = p.bar.Clear() // standard error
	}
}
