// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	supportdesk "github.com/millrace-ml/millrace/examples/support-desk"
	"github.com/millrace-ml/millrace/internal/bench"
	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/pipeline"
)

// benchmark is one of the measurements.
type benchmark struct {
	name, about string
	run         func(context.Context, *benchRun) ([]finding, error)
}

// finding is a measured figure, beside what it is measured against.
type finding struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Aim   float64 `json:"aim,omitempty"`
	Note  string  `json:"note,omitempty"`
	Hot   []hot   `json:"hot,omitempty"`
}

type hot struct {
	Function string  `json:"function"`
	Share    float64 `json:"share"`
}

type benchOptions struct {
	long     time.Duration
	dir      string
	pipeline string
	input    string
	profile  bool
	call     time.Duration // of the slow model
	broker   string        // URL of a server whose settle loop is measured
}

// benchRun is what a measurement works with.
type benchRun struct {
	benchOptions
	pipe    *pipeline.Pipeline
	tickets [][]byte
}

func benchmarks() []benchmark {
	return []benchmark{
		{"settle", "one consumer's settle loop against Pebble alone", benchSettle},
		{"graph", "the pipeline with models that cost nothing", benchGraph},
		{"models", "the pipeline with its real models on real messages", benchModels},
		{"latency", "what a hop adds at 1,000 tickets a second", benchLatency},
		{"late", "parts that come after their deadline against those in time", benchLate},
		{"calls", "256 slow calls of a model in flight against the ideal", benchCalls},
	}
}

func newBenchCommand(c *console) *cobra.Command {
	var o benchOptions
	var names []string
	about := "Bench measures, each against its limit in the same run:\n\n"
	for _, b := range benchmarks() {
		names = append(names, b.name)
		about += fmt.Sprintf("  %-9s %s\n", b.name, b.about)
	}
	cmd := &cobra.Command{
		Use:   "bench [MEASUREMENT…]",
		Short: "Measure Millrace on this machine against its limits",
		Long: about + `
Every record is fsynced before it counts. Compare the ratios: absolute figures
belong to the machine and what else it does.

With --broker settle and graph are measured on a Kafka or Redis server, the settle
loop against one written directly with its client. They keep to topics of their
own, whose names begin with "bench" and which stay.`,
		Example: `  millrace bench
  millrace bench models --input train.csv --for 20s
  millrace bench --broker redis://127.0.0.1:6379`,
		Args:      positional(cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.bench(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.long, "for", 10*time.Second, "measure for about this long each")
	f.StringVar(&o.dir, "data-dir", "", "write to this directory, whose disk is measured (default: a temporary one)")
	f.StringVarP(&o.pipeline, "pipeline", "p", "", "measure this pipeline (default: the support desk that comes with millrace)")
	f.StringVarP(&o.input, "input", "i", "", "use the messages of this file of JSON lines or CSV (default: the support desk's)")
	f.StringVar(&o.broker, "broker", "", "measure settle and graph on this server: kafka://host:port or redis://host:port")
	f.DurationVar(&o.call, "call", 200*time.Millisecond, "how long a call of the slow model takes (calls)")
	f.BoolVar(&o.profile, "profile", false, "show where the CPU time goes")
	return cmd
}

func (c *console) bench(ctx context.Context, names []string, o benchOptions) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "millrace-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	r := &benchRun{benchOptions: o}
	chosen := benchmarks()
	if o.broker != "" {
		if chosen, err = onServer(o.broker); err != nil {
			return err
		}
	}
	if err := c.prepare(r); err != nil {
		return err
	}
	var all []finding
	for _, b := range chosen {
		if len(names) > 0 && !slices.Contains(names, b.name) {
			continue
		}
		if isTerminal(c.err) {
			fmt.Fprintf(c.err, "measuring %s: %s …\n", b.name, b.about)
		}
		found, err := b.run(ctx, r)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return usage("leave the measurement's name or --broker out", "only settle and graph are measured on a server")
	}
	if c.json() {
		return c.printJSON(map[string]any{"cpus": runtime.NumCPU(), "go": runtime.Version(), "findings": all})
	}
	return c.printFindings(all, o.profile)
}

// prepare loads the pipeline and the messages.
func (c *console) prepare(r *benchRun) (err error) {
	file := r.benchOptions.pipeline
	if file == "" {
		example := filepath.Join(r.dir, "example")
		if err := os.MkdirAll(example, 0o700); err != nil {
			return err
		}
		if file, err = supportdesk.Write(example); err != nil {
			return err
		}
	}
	if r.pipe, err = c.load(file); err != nil {
		return err
	}
	if len(r.pipe.Sources()) != 1 || len(r.pipe.Gathers()) != 1 {
		return usage("the support desk is measured without --pipeline", "bench wants a pipeline with one source topic and one gather")
	}
	in := io.Reader(bytes.NewReader(supportdesk.Tickets))
	if r.input != "" {
		f, err := os.Open(r.input)
		if err != nil {
			return usage("name a file of JSON lines or CSV", "%w", err)
		}
		defer f.Close()
		in = f
	}
	r.tickets, err = records.Values(in, records.Options{Name: r.input})
	return err
}

func benchSettle(ctx context.Context, r *benchRun) ([]finding, error) {
	result, err := bench.Settle(ctx, filepath.Join(r.dir, "settle"), r.long)
	return []finding{
		{Name: "Pebble alone", Value: result.Bare, Unit: "records/s"},
		{Name: "settle loop", Value: result.Loop, Unit: "records/s", Note: "200 random bytes, batches of 256, fsync"},
		{Name: "settle loop / Pebble alone", Value: result.Ratio(), Unit: "ratio", Aim: 0.6},
	}, err
}

// onServer is what is measured on a Kafka or Redis server.
func onServer(server string) ([]benchmark, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, usage("write kafka://host:port or redis://host:port", "--broker is not the address of a server without a password, database or parameters, which is all that the loop beside it can use")
	}
	limit, settle := "", (func(context.Context, *benchRun) (bench.SettleResult, error))(nil)
	switch u.Scheme {
	case "kafka":
		limit = "franz-go's GroupTransactSession"
		settle = func(ctx context.Context, r *benchRun) (bench.SettleResult, error) {
			return bench.KafkaSettle(ctx, server, r.long)
		}
	case "redis":
		limit = "go-redis and the same script"
		settle = func(ctx context.Context, r *benchRun) (bench.SettleResult, error) {
			return bench.RedisSettle(ctx, u.Host, r.long)
		}
	default:
		return nil, usage("write kafka://host:port or redis://host:port", "--broker %s is neither Kafka nor Redis", u.Scheme)
	}
	run := func(ctx context.Context, r *benchRun) ([]finding, error) {
		result, err := settle(ctx, r)
		return []finding{
			{Name: limit, Value: result.Bare, Unit: "records/s"},
			{Name: "settle loop", Value: result.Loop, Unit: "records/s", Note: "200 bytes, batches of 256"},
			{Name: "settle loop / " + limit, Value: result.Ratio(), Unit: "ratio", Aim: 0.85},
		}, err
	}
	return []benchmark{
		{"settle", "one consumer's settle loop against " + limit, run},
		{"graph", "the pipeline with models that cost nothing", benchGraph},
	}, nil
}

func benchGraph(ctx context.Context, r *benchRun) ([]finding, error) {
	result, err := bench.Graph(ctx, bench.GraphOptions{
		Dir: filepath.Join(r.dir, "identity"), Broker: r.broker, Pipeline: r.pipe, Tickets: r.tickets, Identity: true, Batch: 2048, For: r.long,
	})
	return []finding{{
		Name: "graph, identity models", Value: result.PerSecond, Unit: "tickets/s", Aim: 60000,
		Note: graphNote(result), Hot: hotOf(result),
	}}, err
}

func benchModels(ctx context.Context, r *benchRun) ([]finding, error) {
	result, err := bench.Graph(ctx, bench.GraphOptions{
		Dir: filepath.Join(r.dir, "models"), Pipeline: r.pipe, Tickets: r.tickets, For: r.long,
	})
	return []finding{
		{Name: "graph, real models", Value: result.PerSecond, Unit: "tickets/s", Note: graphNote(result), Hot: hotOf(result)},
		{Name: "CPU time inside the models", Value: 100 * result.InModels, Unit: "%", Aim: 60},
	}, err
}

func graphNote(r bench.GraphResult) string {
	return fmt.Sprintf("%d tickets, %d without a part", r.Tickets, r.Incomplete)
}

func hotOf(r bench.GraphResult) []hot {
	var all []hot
	for _, h := range r.Hot {
		all = append(all, hot(h))
	}
	return all
}

func benchLatency(ctx context.Context, r *benchRun) ([]finding, error) {
	result, err := bench.Latency(ctx, filepath.Join(r.dir, "latency"), r.pipe, 1000, r.long)
	found := []finding{
		{Name: "one publish, p50", Value: ms(result.Append.P50), Unit: "ms", Note: fmt.Sprintf("fsynced, at %.0f/s", result.Rate)},
		{Name: "one publish, p99", Value: ms(result.Append.P99), Unit: "ms"},
	}
	for _, h := range result.Hops {
		found = append(found,
			finding{Name: h.From + " → " + h.To + ", p50", Value: ms(h.P50), Unit: "ms"},
			finding{Name: h.From + " → " + h.To + ", p99", Value: ms(h.P99), Unit: "ms"})
	}
	return found, err
}

func benchCalls(ctx context.Context, r *benchRun) ([]finding, error) {
	result, err := bench.Calls(ctx, bench.CallsOptions{
		Dir: r.dir, Median: r.call, Sigma: 0.5, Concurrency: 256, Partitions: 8, For: r.long,
	})
	return []finding{
		{Name: "slow calls", Value: result.PerSecond, Unit: "records/s", Note: fmt.Sprintf("median %v, log-normal (σ 0.5), concurrency 256, 8 partitions", r.call)},
		{Name: "slow calls / ideal", Value: result.Ratio(), Unit: "ratio", Aim: 0.9, Note: fmt.Sprintf("up to %d records waited for earlier ones", result.Waiting)},
		{Name: "records out of their key's order", Value: float64(result.Disordered), Unit: "records"},
	}, err
}

func benchLate(ctx context.Context, r *benchRun) ([]finding, error) {
	result, err := bench.Late(ctx, r.dir, r.long)
	return []finding{
		{Name: "last parts in time", Value: result.InTime, Unit: "answers/s", Note: "one partition, 200 bytes"},
		{Name: "last parts late", Value: result.Late, Unit: "revisions/s"},
		{Name: "late / in time", Value: result.Ratio(), Unit: "ratio", Aim: 0.77},
	}, err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (c *console) printFindings(all []finding, profiles bool) error {
	t := newTable("measured", ">value", "unit", ">aim", "note")
	for _, f := range all {
		aim := ""
		if f.Aim > 0 {
			aim = "≥ " + figure(f.Aim)
		}
		t.add(f.Name, figure(f.Value), f.Unit, aim, f.Note)
	}
	if err := t.print(c.out); err != nil || !profiles {
		return err
	}
	for _, f := range all {
		if len(f.Hot) == 0 {
			continue
		}
		fmt.Fprintf(c.out, "\nwhere the CPU time of %q goes\n", f.Name)
		for _, h := range f.Hot {
			fmt.Fprintf(c.out, "%6.1f %%  %s\n", 100*h.Share, h.Function)
		}
	}
	return nil
}

// figure is a number with as many digits as are worth reading.
func figure(v float64) string {
	switch {
	case v >= 1000:
		s := fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case v >= 10:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	return fmt.Sprintf("%.2f", v)
}
