// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/internal/transfer"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/pipeline"
)

func newCopyCommand(c *console) *cobra.Command {
	var from, to string
	var yes bool
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy topics and positions to another broker",
		Long: `Copy copies topics, with the positions of the services that read them, from one
broker to another: embedded, Kafka and Redis, in any direction. A pipeline that
is started there goes on exactly where it was. It first tells what it would do;
with --yes it does it. Stop the pipeline and its publishers before.

Each end is a pipeline file (its broker is meant, and its topics only), the URL
of a broker, or a data directory of the embedded broker. Without a pipeline file
all topics are copied.

Keys, values, headers, partitions and order stay. Offsets differ between brokers;
ids of records are changed with them. A record's time is when it was copied, so
retention counts from then.

The topics to copy to must be empty, or hold the beginning of the same copy: one
that was interrupted goes on when the same command is given again. The source is
not changed.`,
		Example: `  millrace copy --from pipeline.yaml --to kafka://localhost:9092
  millrace copy --from millrace-data/support-desk --to pipeline.yaml --yes`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.copy(cmd.Context(), from, to, yes) },
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "copy from the broker of this pipeline file, URL or data directory")
	f.StringVar(&to, "to", "", "copy to the broker of this pipeline file, URL or data directory")
	f.BoolVar(&yes, "yes", false, "do it, not only tell")
	for _, name := range []string{"from", "to"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // cannot be: the flag was just added
		}
	}
	return cmd
}

// end is what a copy goes from or to.
type end struct {
	pipeline *pipeline.Pipeline // nil: not named by one
	url      string             // of the broker, "embedded" for a data directory
	dataDir  string
}

// endOf makes out what --from and --to name.
func (c *console) endOf(name string) (end, error) {
	if strings.Contains(name, "://") {
		return end{url: name}, nil
	}
	if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" {
		return end{url: "embedded", dataDir: name}, nil
	}
	p, err := c.load(name)
	if err != nil {
		return end{}, err
	}
	return end{pipeline: p, url: p.BrokerURL(), dataDir: p.DataDir()}, nil
}

// isNew reports whether there is no data directory yet.
func (e end) isNew() bool {
	_, err := os.Stat(e.dataDir)
	return brokers.Embedded(e.url) && errors.Is(err, os.ErrNotExist)
}

func (c *console) copy(ctx context.Context, fromName, toName string, yes bool) (err error) {
	from, err := c.endOf(fromName)
	if err != nil {
		return err
	}
	to, err := c.endOf(toName)
	if err != nil {
		return err
	}
	p, err := pipelineOf(from, to)
	if err != nil {
		return err
	}
	if err := mustBeApart(from, to); err != nil {
		return err
	}
	if from.isNew() {
		return usage("name the data directory that the pipeline had with --from DIR", "there is no data directory %s to copy from", from.dataDir)
	}
	config := c.copyConfig(p)
	if config.From, err = c.openEnd(ctx, from, toRead); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, config.From.Close()) }()
	if yes || !to.isNew() {
		purpose := toRead
		if yes {
			purpose = toWrite
		}
		if config.To, err = c.openEnd(ctx, to, purpose); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, config.To.Close()) }()
	}
	show := c.copying()
	config.Progress = show.update
	t, err := transfer.Prepare(ctx, config)
	if err != nil {
		return copyFault(ctx, err)
	}
	if yes {
		err = t.Run(ctx)
		show.end()
		if err != nil {
			return copyFault(ctx, err)
		}
	}
	return c.printCopy(t.Plan(), yes)
}

// mustBeApart refuses ends that are one broker, or directories one inside the other.
func mustBeApart(from, to end) error {
	if !brokers.Embedded(from.url) || !brokers.Embedded(to.url) {
		if brokers.Same(from.url, to.url) {
			return usage("name another broker", "--from and --to are the same broker: there is nothing to copy")
		}
		return nil
	}
	if err := embedded.Apart(from.dataDir, to.dataDir); err != nil {
		return usage("name another data directory", "copy data directory %s to %s: %w", from.dataDir, to.dataDir, err)
	}
	return nil
}

// pipelineOf is the pipeline whose topics are meant; nil means all topics.
func pipelineOf(from, to end) (*pipeline.Pipeline, error) {
	switch {
	case from.pipeline == nil:
		return to.pipeline, nil
	case to.pipeline != nil && to.pipeline.Name != from.pipeline.Name:
		return nil, usage("give the pipeline the same name in both files", "pipeline %s is copied to pipeline %s, whose services are others' groups", from.pipeline.Name, to.pipeline.Name)
	case to.pipeline != nil:
		return to.pipeline, nil
	}
	return from.pipeline, nil
}

// copyConfig names what belongs to a pipeline.
func (c *console) copyConfig(p *pipeline.Pipeline) transfer.Config {
	var config transfer.Config
	if p == nil {
		return config
	}
	// A batch keeps its own place in a topic and a group of this name.
	batch := lineage.BatchOf(p.Name)
	config.Topics = append(p.AllTopics(), broker.Topic{Name: batch})
	config.Groups = []string{batch}
	for _, service := range p.Order() {
		config.Topics = append(config.Topics, broker.Topic{Name: lineage.DecisionsTopic(service)})
	}
	for _, name := range append(p.Order(), p.Gathers()...) {
		config.Groups = append(config.Groups, lineage.GroupOf(p.Name, name))
	}
	for _, g := range p.Gather {
		config.Topics = append(config.Topics, broker.Topic{Name: lineage.WindowTopic(g.To)})
		config.Joins = append(config.Joins, transfer.Join{Of: g.Of, To: g.To})
	}
	return config
}

func (c *console) openEnd(ctx context.Context, e end, to purpose) (*broker.Broker, error) {
	b, err := brokers.Open(ctx, e.url, brokers.Options{DataDir: e.dataDir, Logger: c.logger(slog.LevelWarn), ReadOnly: to == toRead})
	if errors.Is(err, broker.ErrInUse) {
		return nil, hinted(err, "stop the process first: Ctrl-C lets its services finish what they have begun, and nothing is lost")
	}
	return b, err
}

func copyFault(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return hinted(errors.New("interrupted before every position was set"), "give the same command again to go on")
	case errors.Is(err, transfer.ErrNothing):
		return usage("millrace topics lists what a broker has", "%w: the source has none of the topics", err)
	case errors.Is(err, transfer.ErrOccupied):
		return hinted(err, "delete these topics there or, on Redis, choose another ?namespace=; the source is as it was")
	case errors.Is(err, transfer.ErrMoving):
		return hinted(err, "stop the pipeline and its publishers, then give the same command again; no positions were set")
	}
	return err
}

func (c *console) printCopy(plan transfer.Plan, done bool) error {
	if c.json() {
		return c.printJSON(struct {
			transfer.Plan
			Done bool `json:"done"`
		}{plan, done})
	}
	topics := newTable("TOPIC", ">PARTITIONS", ">RECORDS", ">THERE BEFORE", ">COPIED")
	for _, t := range plan.Topics {
		topics.add(t.Topic, fmt.Sprint(t.Partitions), fmt.Sprint(t.Records), fmt.Sprint(t.There), fmt.Sprint(t.Copied))
	}
	groups := newTable("GROUP", ">LAG", "TOPICS")
	for _, g := range plan.Groups {
		groups.add(g.Group, fmt.Sprint(g.Lag), strings.Join(g.Topics, ", "))
	}
	if err := topics.print(c.out); err != nil {
		return err
	}
	fmt.Fprintln(c.out)
	if err := groups.print(c.out); err != nil {
		return err
	}
	if !done {
		fmt.Fprintln(c.err, "nothing was copied: give --yes to do it")
	}
	return nil
}

// copying shows on a terminal how much is copied.
type copying struct {
	c            *console
	begun, shown time.Time
}

func (c *console) copying() *copying { return &copying{c, time.Now(), time.Now()} }

func (p *copying) update(now transfer.Progress) {
	if !isTerminal(p.c.err) || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = time.Now()
	rate := float64(now.Copied) / time.Since(p.begun).Seconds()
	fmt.Fprintf(p.c.err, "\r%d of about %d records copied, %.0f/s\x1b[K", now.There+now.Copied, now.Total, rate)
}

func (p *copying) end() {
	if isTerminal(p.c.err) {
		fmt.Fprint(p.c.err, "\r\x1b[K")
	}
}
