// SPDX-License-Identifier: Apache-2.0

// Package gather joins what descends from one source record.
//
// The one idea: within a partition, sources are answered in the order in which
// they stand. A source is answered when all its parts are there, when those that
// are not cannot come, or at its deadline. So what is still open is one window
// of the source topic, from the low-water mark to the last source read, and the
// low-water mark travels in the last record that the gather wrote. The gather
// therefore needs no store: after a restart or a rebalance it reads that record,
// then the window, then the parts that were appended since the window began. Two
// notes in a topic beside its own, which it makes, say where the window began
// before there was an answer, and that there was one.
//
// Services answer in order too, so answering in order costs no waiting: when the
// parts of a source are complete, those of the sources before it are as well,
// but for ones that are late, and those are answered at their deadline, which
// comes before that of any source after them.
//
// Time is the log's: a part is late when the log shows that everything appended
// before the deadline was read and the part was not among it. A gather that
// catches up after a pause therefore gives the answers it would have given. Where a
// source shows that the broker's clock and this machine's are apart, its deadline
// counts from when it was first seen.
package gather

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/loop"
)

// Config describes a gather. Name, Group, Of, Parts and To are required; the
// zero value of the rest is a good default.
type Config struct {
	Name  string
	Group string
	Of    string // topic of the source records
	Parts []Part // at most 64
	To    string

	// Deadline is how long after a source was appended it is answered with what
	// there is. 0 waits for every part, however long it takes.
	Deadline time.Duration

	Batch broker.Want
	Start broker.Position // where a new group begins; unset means the beginning

	// MaxOpen bounds the sources of a partition that wait for parts. Further
	// ones stay in their topic until there is room, and so do parts that are
	// ahead of them. 0 means 16,384.
	MaxOpen int

	Grace time.Duration // see service.Config

	Observe func(Observation) // called after each settle, by several goroutines; may be nil
	Logger  *slog.Logger      // nil means slog.Default()
	Tracer  trace.Tracer      // nil does not trace
}

// Part is one service's answer to a source.
type Part struct {
	Name  string // the service
	Topic string // where it answers
	// Upstream are the dead-letter topics of the services between the source
	// and this one: a letter in one of them means that this part cannot come.
	Upstream []string
}

// Observation is what a settle brought.
type Observation struct {
	Records   int           // polled
	Complete  int           // sources answered with every part
	Partial   int           // sources answered with a part failed or missing
	Revisions int           // answers amended by a part that came late
	Cut       int           // answers that leave something out, as it was too large or could not be read, and say so
	Stray     int           // records that descend from no source of this gather
	Foreign   int           // records in its own topic that it did not write
	Open      int           // sources that wait for parts, in this member
	Skew      time.Duration // of the broker's clock before this one, where the last source shows one; mostly 0
	Settle    time.Duration
	Latency   []time.Duration // of each answered source, from append to here; not to be kept
}

// Gather is a join. It may be run again when Run has returned.
type Gather struct {
	c      Config
	b      *broker.Broker
	topics []string
	feeds  map[string]feed

	maxIndexed int // see lateIndex
}

// feed is what a topic tells the gather.
type feed struct {
	source bool
	part   int   // index into Parts, or -1
	fails  []int // parts that a dead letter here rules out
}

// New makes a gather. Its topics must exist when it runs; it makes only the one of
// its notes, [lineage.WindowTopic], itself.
func New(b *broker.Broker, c Config) (*Gather, error) {
	if err := c.check(b); err != nil {
		return nil, fmt.Errorf("gather %q: %w", c.Name, err)
	}
	c.Batch.Records = cmp.Or(c.Batch.Records, 16384)
	c.MaxOpen = cmp.Or(c.MaxOpen, 16384)
	c.Grace = cmp.Or(c.Grace, 10*time.Second)
	if c.Start.IsZero() {
		c.Start = broker.Start()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("gather", c.Name)

	g := &Gather{c: c, b: b, maxIndexed: maxIndexed, feeds: map[string]feed{c.Of: {source: true, part: -1}}}
	for i, p := range c.Parts {
		g.feeds[p.Topic] = feed{part: i}
	}
	for i, p := range c.Parts {
		for _, dead := range p.Upstream {
			f, known := g.feeds[dead]
			if !known {
				f.part = -1
			}
			f.fails = append(f.fails, i)
			g.feeds[dead] = f
		}
	}
	for topic := range g.feeds {
		g.topics = append(g.topics, topic)
	}
	slices.Sort(g.topics)
	return g, nil
}

// maxParts is how many bits the set of a source's parts has.
const maxParts = 64

// check finds what is missing in a configuration or cannot be.
func (c *Config) check(b *broker.Broker) error {
	if b == nil {
		return errors.New("it has no broker")
	}
	for _, field := range []struct{ name, value string }{{"Name", c.Name}, {"Group", c.Group}, {"Of", c.Of}, {"To", c.To}} {
		if field.value == "" {
			return fmt.Errorf("Config.%s is empty", field.name)
		}
	}
	if len(c.Parts) == 0 || len(c.Parts) > maxParts {
		return fmt.Errorf("it has %d parts, give it 1 to %d", len(c.Parts), maxParts)
	}
	for name, n := range map[string]int64{
		"Deadline": int64(c.Deadline), "Grace": int64(c.Grace), "MaxOpen": int64(c.MaxOpen),
		"Batch.Records": int64(c.Batch.Records), "Batch.Bytes": int64(c.Batch.Bytes), "Batch.Wait": int64(c.Batch.Wait),
	} {
		if n < 0 {
			return fmt.Errorf("Config.%s is negative", name)
		}
	}
	return c.checkTopics()
}

// checkTopics finds topics and parts that are named twice.
func (c *Config) checkTopics() error {
	topics, names := map[string]bool{c.Of: true, c.To: true}, map[string]bool{}
	if c.Of == c.To {
		return fmt.Errorf("it reads and writes topic %s", c.Of)
	}
	for _, p := range c.Parts {
		if slices.Contains(p.Upstream, c.To) {
			return fmt.Errorf("it reads and writes topic %s", c.To)
		}
		switch {
		case p.Name == "" || p.Topic == "":
			return errors.New("a part has no name or no topic")
		case names[p.Name]:
			return fmt.Errorf("two parts are called %s", p.Name)
		case topics[p.Topic]:
			return fmt.Errorf("topic %s is joined twice", p.Topic)
		}
		names[p.Name], topics[p.Topic] = true, true
	}
	return nil
}

// Run serves until ctx ends, then settles what it has at hand and leaves the
// group. It returns nil after a clean drain.
func (g *Gather) Run(ctx context.Context) error {
	member := loop.Member{
		Broker: g.b, Group: g.c.Group, Start: g.c.Start, Topics: g.topics, Grace: g.c.Grace,
		Logger: g.c.Logger, Fits: g.fits,
	}
	err := member.Run(ctx, func(ctx, work context.Context, c *broker.Consumer) error {
		return newMember(g, c).run(ctx, work)
	})
	if err != nil {
		return fmt.Errorf("gather %s: %w", g.c.Name, err)
	}
	return nil
}

// fits checks that an answer can stand in the partition of its source.
func (g *Gather) fits(ctx context.Context) error {
	in, err := g.b.Partitions(ctx, g.c.Of)
	if err != nil {
		return err
	}
	out, err := g.b.Partitions(ctx, g.c.To)
	if err != nil {
		return err
	}
	if out < in {
		return fmt.Errorf("%w: topic %s has %d partitions and %s has %d: answers stay in the partition of their source, give %s as many",
			broker.ErrTopicConflict, g.c.To, out, g.c.Of, in, g.c.To)
	}
	return nil
}
