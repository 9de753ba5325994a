// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/internal/spelling"
	"github.com/millrace-ml/millrace/pipeline"
)

type runOptions struct {
	dataDir string
	only    []string
	grace   time.Duration
	wait    patience
	doors   []door
}

func newRunCommand(c *console) *cobra.Command {
	o := runOptions{doors: doors(), wait: forever}
	cmd := &cobra.Command{
		Use:   "run PIPELINE",
		Short: "Serve a pipeline until it is stopped",
		Long: `Run serves a pipeline: its services take records from their topics, its gathers
join the answers, until it is stopped. Records come over HTTP or from millrace
publish while it runs.

A broker that is out of reach is waited for, as run begins and later.

SIGINT (Ctrl-C) and SIGTERM drain: running batches are settled, then it ends. A
second signal ends at once; nothing is lost then either.`,
		Example: `  millrace run examples/support-desk/pipeline.yaml
  millrace run pipeline.yaml --only tagger,classifier
  curl -H 'Content-Type: application/json' -d '{"text":"my mini is dead"}' \
      http://127.0.0.1:8088/v1/topics/tickets/records`,
		Args:              arguments(1, 1),
		ValidArgsFunction: completePipeline,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.dataDir, "data-dir", "", "keep topics in this directory (default millrace-data/NAME of the pipeline)")
	f.StringSliceVar(&o.only, "only", nil, "run only these services and gathers")
	for _, d := range o.doors {
		d.flags(cmd)
	}
	f.DurationVar(&o.grace, "grace", 10*time.Second, "how long running batches may take to end")
	f.Var(&o.wait, "wait", "how long to wait for a broker that is out of reach at the start; 0 ends run then, with an error")
	complete(cmd, "only", completeServices)
	return cmd
}

func (c *console) run(ctx context.Context, file string, o runOptions) (err error) {
	log := c.logger(slog.LevelInfo)
	running := false
	defer func() {
		if err != nil && !running && ctx.Err() != nil {
			log.Info("stopped before it ran", "by", err.Error())
			err = nil // what was asked for
		}
	}()
	p, err := c.loadToRun(file, o.only)
	if err != nil {
		return err
	}
	if o.dataDir == "" {
		o.dataDir = p.DataDir()
	}
	// What is wrong with an address is known before topics or a directory are made.
	options := millrace.Options{Models: c.models, Only: o.only, Grace: o.grace, Logger: log}
	open, err := openDoors(ctx, o.doors, &options, o.grace)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.close()) }()
	tracer, stopTracing, err := Tracing(ctx, p.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish(ctx, stopTracing)) }()
	b, err := brokers.Open(ctx, p.BrokerURL(), brokers.Options{DataDir: o.dataDir, Logger: log, Wait: time.Duration(o.wait)})
	if err != nil {
		return inUse(err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	options.Registry, options.Tracer = registry, tracer
	a, err := millrace.New(ctx, b, p, options)
	if err != nil {
		return err
	}
	if err := open.lead(inside{app: a, broker: b}); err != nil {
		return err
	}
	running = true
	log.Info("running", append([]any{"pipeline", p.Name, "data_dir", o.dataDir, "services", len(a.Status())}, open.addresses...)...)
	begun := time.Now()
	err = open.serve(ctx, a.Run)
	c.sumUp(a, time.Since(begun))
	return err
}

// patience is a flag: a time, or for ever.
type patience time.Duration

const forever patience = -1

func (p *patience) String() string {
	if *p == forever {
		return "forever"
	}
	return time.Duration(*p).String()
}

func (p *patience) Type() string { return "duration" }

func (p *patience) Set(text string) error {
	if text == "forever" {
		*p = forever
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("write a time such as 30s, 0, or forever")
	}
	*p = patience(d)
	return nil
}

// knownServices finds the names of --only that the pipeline does not have.
func knownServices(p *pipeline.Pipeline, only []string) error {
	known := append(p.Order(), p.Gathers()...)
	for _, name := range only {
		if slices.Contains(known, name) {
			continue
		}
		hint := "the pipeline has " + strings.Join(known, ", ")
		if best, ok := spelling.Nearest(name, known); ok {
			hint = "did you mean " + best + "?"
		}
		return usage(hint, "--only: no service or gather is called %q", name)
	}
	return nil
}

// inUse tells what to do when another process has the data directory.
func inUse(err error) error {
	if errors.Is(err, broker.ErrInUse) {
		return hinted(err, "use millrace publish, tail, topics and groups beside a running process, or another --data-dir")
	}
	return err
}

// finish sends what is left of the traces.
func finish(ctx context.Context, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// sumUp prints what was done.
func (c *console) sumUp(a *millrace.App, took time.Duration) {
	services := newTable("SERVICE", ">RECORDS", ">ANSWERED", ">SKIPPED", ">DEAD LETTERS", ">RETRIES")
	gathers := newTable("GATHER", ">COMPLETE", ">PARTIAL", ">REVISIONS")
	for _, s := range a.Status() {
		if s.Gather {
			gathers.add(s.Name, fmt.Sprint(s.Values), fmt.Sprint(s.Failed), fmt.Sprint(s.Revisions))
			continue
		}
		services.add(s.Name, fmt.Sprint(s.Records), fmt.Sprint(s.Values), fmt.Sprint(s.Skipped), fmt.Sprint(s.Failed), fmt.Sprint(s.Retries))
	}
	fmt.Fprintf(c.err, "\nStopped after %s.\n", took.Round(time.Second/10))
	for _, t := range []*table{services, gathers} {
		if len(t.rows) > 0 {
			fmt.Fprintln(c.err)
			_ = t.print(c.err) // nowhere to report that
		}
	}
}
