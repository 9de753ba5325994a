// SPDX-License-Identifier: Apache-2.0

// Package crash kills the whole program again and again while messages flow,
// and then counts what is lost, doubled or out of order.
//
// The one idea: the log is the witness. Every message has a number, counted for
// each key. What the program acknowledged must be in the source topic; and what
// is in the source topic, acknowledged or not, must be answered exactly once
// and in order in every other topic. So the audit reads nothing but the topics,
// after the last kill. By the times of the records it also tells what each kill
// interrupted, without which the rest would prove nothing.
//
// Nothing here knows a broker: the program is the command line's run, messages
// go in by its HTTP intake, and the topics are opened as the pipeline file says.
package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace-ml/millrace/brokers"
)

// Config says what to kill and how often. Dir, Command, Kills and Messages are
// required.
type Config struct {
	Dir     string   // an empty directory for the data, the pipeline file and the logs
	Broker  string   // as in a pipeline file; empty means embedded
	Command []string // the program with the arguments that come before those of run
	Env     []string // of the program; nil means this process's

	// Workers is how many processes serve the pipeline at once; 0 means 1, which
	// is all that the embedded broker allows.
	Workers int
	// Servers are those of the broker. They run already. A worker that ends
	// because it does not reach them is started again, as a supervisor would.
	Servers []Victim

	SpareWorkers, SpareServers bool // are not killed

	// Life is how long messages flow after a start until they are used up; 0
	// means half a second. It is best a little longer than what the others take
	// to go on without a killed process.
	Life time.Duration

	Kills    int           // while messages flow; there are more of them in all
	Messages int           // acknowledged ones
	Deadline time.Duration // of the gather
	Slow     time.Duration // how long a call of the first service takes; 0 for no time
	Seed     uint64

	Log func(format string, args ...any) // nil discards
}

// Victim is a process that is killed and started again.
type Victim interface {
	Name() string
	// Start starts the process and returns without waiting until it is ready.
	Start() error
	// Ready returns when the process can do its work, or that it cannot.
	Ready(ctx context.Context) error
	// Kill ends the process with SIGKILL and returns when it is gone.
	Kill() error
}

// Run lets messages flow, kills, lets the rest flow, stops the workers with
// SIGTERM, and audits the topics. The error is nil when all that could be done;
// what was found is in the report.
func Run(ctx context.Context, c Config) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	file := filepath.Join(c.Dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(desk(c.Broker, c.Deadline, c.Slow)), 0o600); err != nil {
		return nil, err
	}
	var workers []*worker
	var victims []Victim
	for i := range max(1, c.Workers) {
		w := newWorker(c, file, i)
		defer w.Kill()
		if err := w.Start(); err != nil {
			return nil, err
		}
		workers = append(workers, w)
		if !c.SpareWorkers {
			victims = append(victims, w)
		}
	}
	if !c.SpareServers {
		victims = append(victims, c.Servers...)
	}

	flow := startFlow(ctx, cancel, c, workers)
	defer flow.stop()
	kills, err := killAll(ctx, c, victims, flow)
	if err != nil {
		return nil, err
	}
	if err := flow.wait(ctx); err != nil {
		return nil, err
	}
	if err := finish(ctx, c.Servers, workers); err != nil {
		return nil, err
	}
	b, err := brokers.Open(ctx, c.Broker, brokers.Options{DataDir: dataDir(c.Dir), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	report, err := inspect(ctx, b, &flow.ledger, kills, c.Deadline)
	if err = errors.Join(err, b.Close()); err != nil {
		return nil, err
	}
	report.Unanswered = int(flow.unknown.Load())
	return report, nil
}

// Kill is one of the kills, and what it interrupted.
type Kill struct {
	Victim string
	At     time.Time
	Idle   bool // a worker that had settled nothing yet

	Open  int // messages that were not answered at that moment
	Wrote int // records that were written to all topics since the kill before
}

// killAll kills the victims at random moments, one at a time: while messages
// flow, and now and then while the victim starts. At the end all of them run.
func killAll(ctx context.Context, c Config, victims []Victim, f *flow) ([]Kill, error) {
	random := rand.New(rand.NewPCG(c.Seed, 0))
	var kills []Kill
	// More than asked for: on a quiet machine a message may be answered between
	// its acknowledgement and the kill, which only the topics tell afterwards.
	goal := 2*c.Kills + 1
	for hits := 0; hits < goal; {
		if !f.nextLife(goal - hits) {
			return nil, fmt.Errorf("the messages are used up after %d of %d kills: let more of them flow", hits, goal)
		}
		v := victims[random.IntN(len(victims))]
		idle := true
		if random.IntN(4) > 0 {
			works, err := atWork(ctx, v, f)
			if err != nil {
				return nil, err
			}
			pause(ctx, 20*time.Millisecond+upTo(random, 380*time.Millisecond))
			if f.acknowledges(ctx, 200*time.Millisecond) && works {
				hits++
			}
			idle = !works
			pause(ctx, upTo(random, time.Millisecond))
		} else {
			pause(ctx, upTo(random, 150*time.Millisecond))
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		kills = append(kills, Kill{Victim: v.Name(), At: time.Now(), Idle: idle})
		if err := v.Kill(); err != nil {
			return nil, fmt.Errorf("kill %d: %w", len(kills), err)
		}
		if len(kills)%50 == 0 {
			c.Log("%d kills, %d of %d messages acknowledged", len(kills), f.ledger.Acknowledged(), c.Messages)
		}
		pause(ctx, upTo(random, 50*time.Millisecond))
		if err := v.Start(); err != nil {
			return nil, err
		}
	}
	f.nextLife(0)
	return kills, nil
}

// patience is how long a victim may take, once it can, until it is at work:
// members of groups wait for the partitions of those that were killed.
const patience = 10 * time.Second

// atWork waits until messages flow and the victim takes part. It reports whether
// it does.
func atWork(ctx context.Context, v Victim, f *flow) (bool, error) {
	if err := v.Ready(ctx); err != nil {
		return false, err
	}
	if w, ok := v.(*worker); ok {
		return w.settles(ctx, patience), nil
	}
	return f.acknowledges(ctx, patience), nil
}

// pause lets time pass in which the flow goes on.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// upTo is a random duration below d.
func upTo(random *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(d)))
}
