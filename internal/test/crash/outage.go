// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/internal/test/ledger"
	"github.com/millrace-ml/millrace/lineage"
)

// Outage is a broker that goes away under load and comes back. All but Log are
// required.
type Outage struct {
	Dir     string   // an empty directory for the pipeline file and the log
	Broker  string   // as in a pipeline file
	Command []string // the program with the arguments that come before those of run
	Env     []string // of the program

	Steady time.Duration // how long memory is watched before the outage, and after it
	For    time.Duration // how long the broker is away

	Begin func()
	// End brings the broker back and returns when it can do its work.
	End func(context.Context) error

	Log func(format string, args ...any)
}

// outageDeadline is the gather's: the pipeline file's default. What was asked
// just before the outage is answered late.
const outageDeadline = 5 * time.Second

// OutageReport is what became of the program and the messages.
type OutageReport struct {
	Acknowledged int // messages
	Refused      int // requests that were answered 503
	Unanswered   int // requests whose callers lost patience

	Before, During, After Memory

	// From the broker's return to the append of the first answer, and of the
	// first answer to a message that was published after the return.
	Resumed, Fresh time.Duration

	*Report
}

// Memory is the peak of what the program had from the system (resident set), and
// of its heap.
type Memory struct{ Resident, Heap float64 }

func (m Memory) String() string {
	return fmt.Sprintf("%.1f MiB (heap %.1f)", m.Resident/(1<<20), m.Heap/(1<<20))
}

// Growth is the peak in the outage as a ratio to the one before.
func (r *OutageReport) Growth() float64 { return r.During.Resident / r.Before.Resident }

func (r *OutageReport) String() string {
	return fmt.Sprintf("%d messages acknowledged, %d requests refused with 503, %d given up by their callers\n"+
		"memory: steady %v, in the outage %v: ratio %.2f; after it %v\n"+
		"first answer %v after the broker's return, first answer to a new message %v\n%v",
		r.Acknowledged, r.Refused, r.Unanswered, r.Before, r.During, r.Growth(), r.After,
		r.Resumed.Round(time.Millisecond), r.Fresh.Round(time.Millisecond), r.Report)
}

// Run starts the program and its callers, takes the broker away and back, lets
// the rest be answered, and audits the topics.
func (o Outage) Run(ctx context.Context) (*OutageReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	file := filepath.Join(o.Dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(desk(o.Broker, outageDeadline, 0)), 0o600); err != nil {
		return nil, err
	}
	w := newWorker(Config{Dir: o.Dir, Command: o.Command, Env: o.Env}, file, 0)
	defer w.Kill()
	if err := w.Start(); err != nil {
		return nil, err
	}
	if err := w.Ready(ctx); err != nil {
		return nil, err
	}
	callers := startCallers(ctx, w.address())
	defer callers.stop()
	r := &OutageReport{}
	back, err := o.away(ctx, w, r)
	if err != nil {
		return nil, err
	}
	callers.stop()
	if err := finish(ctx, nil, []*worker{w}); err != nil {
		return nil, err
	}
	r.Acknowledged, r.Refused, r.Unanswered = callers.ledger.Acknowledged(), int(callers.refused.Load()), int(callers.unanswered.Load())
	return r, o.audit(ctx, &callers.ledger, back, r)
}

// away watches memory before, in and after the outage. It returns when the
// broker was back.
func (o Outage) away(ctx context.Context, w *worker, r *OutageReport) (back time.Time, err error) {
	if r.Before, err = watch(ctx, w, time.After(o.Steady)); err != nil {
		return back, err
	}
	o.Log("the broker goes away; memory %v", r.Before)
	o.Begin()
	if r.During, err = watch(ctx, w, time.After(o.For)); err != nil {
		return back, err
	}
	o.Log("the broker comes back; memory %v", r.During)
	if err := o.End(ctx); err != nil {
		return back, err
	}
	back = time.Now()
	r.After, err = watch(ctx, w, time.After(o.Steady))
	return back, err
}

// watch measures a worker's memory until the time is over.
func watch(ctx context.Context, w *worker, over <-chan time.Time) (peak Memory, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := metrics(ctx, w.address())
		if err != nil {
			if ended := w.alive(); ended != nil {
				err = ended
			}
			return peak, err
		}
		peak.Resident = max(peak.Resident, m["process_resident_memory_bytes"])
		peak.Heap = max(peak.Heap, m["go_memstats_heap_inuse_bytes"])
		select {
		case <-tick.C:
		case <-over:
			return peak, nil
		}
	}
}

func (o Outage) audit(ctx context.Context, ledger *ledger.Ledger, back time.Time, r *OutageReport) error {
	b, err := brokers.Open(ctx, o.Broker, brokers.Options{DataDir: dataDir(o.Dir), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer b.Close()
	if r.Resumed, r.Fresh, err = firstAnswers(ctx, b, back); err != nil {
		return err
	}
	r.Report, err = inspect(ctx, b, ledger, nil, outageDeadline)
	return err
}

// firstAnswers finds the first answer after a time, and the first one to a
// message of after that time.
func firstAnswers(ctx context.Context, b *broker.Broker, back time.Time) (any, fresh time.Duration, err error) {
	later := map[broker.Place]bool{} // messages that were published after it
	for r, err := range broker.Records(ctx, b, source, broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			return 0, 0, err
		}
		if !r.Time.Before(back) {
			later[r.Place()] = true
		}
	}
	const never = time.Duration(1<<63 - 1)
	any, fresh = never, never
	for r, err := range broker.Records(ctx, b, joined, broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			return 0, 0, err
		}
		after := r.Time.Sub(back)
		if after < 0 {
			continue
		}
		any = min(any, after)
		partition, offset, ok := lineage.SourceIn(r.Header(lineage.JoinOf), source)
		if ok && later[broker.Place{Topic: source, Partition: partition, Offset: offset}] {
			fresh = min(fresh, after)
		}
	}
	return any, fresh, nil
}
