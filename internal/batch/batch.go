// SPDX-License-Identifier: Apache-2.0

// Package batch runs a pipeline over a finite file: the same graph, the same
// services, but every record waits for all its parts and it ends when all are
// answered.
//
// The one idea: the broker knows how far a batch is. Each record carries its
// number, so what was published is seen in the source topic; how long the output
// was is settled together with the position in the results. A batch that was
// interrupted, even by kill -9, cuts the output back to what was settled and
// goes on, and each record is there once.
package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/pipeline"
)

// Config says what to run over what. All but Key, Format and Progress are required.
type Config struct {
	Pipeline *pipeline.Pipeline
	Broker   *broker.Broker
	App      millrace.Options // its gathers get no deadline

	Input  io.Reader
	Name   string         // of the input, for its format and to know it again
	Format records.Format // empty: by name or content
	Key    string         // field that is the key; empty: "key" or "id", else the record's number
	Topic  string         // to publish to; empty: the pipeline's only source
	Result string         // topic to write out; empty: the only gather's, or the only one that no one reads

	Output   string // file, or "-" for Stdout
	Stdout   io.Writer
	Rejected string // file for lines that are not valid input; made when there are any

	Progress func(Progress) // called about four times a second
}

// Progress is how far a batch is.
type Progress struct {
	Read      int64 // bytes of the input
	Published int64 // records, those of an earlier run too
	Written   int64 // results
	Rejected  int64
	Failed    int64 // results that lack a part
	Ended     bool  // the input was read to its end
}

// inFlight bounds the records that are published but not answered.
const inFlight = 16384

// publishBatch is how many records are published at once.
const publishBatch = 512

// run is a batch under way.
type run struct {
	c       Config
	b       *broker.Broker
	app     *millrace.App
	in      *records.Reader
	counted bool // the results are one a record, by a gather

	read, published, written, rejected, failed atomic.Int64
	ended                                      atomic.Bool

	mu   sync.Mutex
	room *sync.Cond // written has grown, or the run is over
	over bool
}

// Run runs the batch to its end, or until ctx ends.
func Run(ctx context.Context, c Config) (Progress, error) {
	c.App.NoDeadline = true
	r := &run{c: c, b: c.Broker}
	r.room = sync.NewCond(&r.mu)
	if err := r.chooseTopics(); err != nil {
		return Progress{}, err
	}
	a, err := millrace.New(ctx, c.Broker, c.Pipeline, c.App)
	if err != nil {
		return Progress{}, err
	}
	r.app = a
	out, err := r.openOutput(ctx)
	if err != nil {
		return Progress{}, err
	}
	rejects := &rejects{path: c.Rejected}
	err = r.work(ctx, out, rejects)
	return r.progress(), errors.Join(err, rejects.close(), out.close())
}

// work runs the services, the publisher and the writer until all is answered.
func (r *run) work(ctx context.Context, out *output, rejects *rejects) error {
	if err := os.Remove(rejects.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the rejected lines of an earlier run: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, r.end)()
	work.Go(func() error { return r.app.Run(ctx) })
	work.Go(func() error { return r.publish(ctx, rejects) })
	work.Go(func() error {
		if err := out.write(ctx); err != nil {
			return err
		}
		cancel() // all is answered
		return nil
	})
	work.Go(func() error { r.report(ctx); return nil })
	if err := work.Wait(); !errors.Is(err, context.Canceled) || !r.complete() {
		return err
	}
	return nil
}

func (r *run) chooseTopics() error {
	p := r.c.Pipeline
	for _, name := range append(p.Order(), p.Gathers()...) {
		if lineage.GroupOf(p.Name, name) == lineage.BatchOf(p.Name) {
			return fmt.Errorf("%s has the name of the batch's own consumer group: give it another one", name)
		}
	}
	if r.c.Topic == "" {
		sources := p.Sources()
		if len(sources) != 1 {
			return fmt.Errorf("the pipeline has the source topics %v: say with --topic which one the input is for", sources)
		}
		r.c.Topic = sources[0]
	}
	if r.c.Result == "" {
		ends := results(p)
		if len(ends) != 1 {
			return fmt.Errorf("the pipeline has the result topics %v: say with --result which one to write out", ends)
		}
		r.c.Result = ends[0]
	}
	writer, known := p.Writer(r.c.Result)
	if !known {
		return fmt.Errorf("no service writes topic %s", r.c.Result)
	}
	r.counted = writer.Gather
	return nil
}

// results are the topics that a batch may be after.
func results(p *pipeline.Pipeline) []string {
	var ends []string
	for _, g := range p.Gathers() {
		ends = append(ends, p.Gather[g].To)
	}
	if len(ends) > 0 {
		return ends
	}
	for _, s := range p.Order() {
		if to := p.Services[s].To; len(p.Readers(to)) == 0 {
			ends = append(ends, to)
		}
	}
	return ends
}

// publish reads the input and publishes what was not published before.
func (r *run) publish(ctx context.Context, rejects *rejects) error {
	done, err := r.lastPublished(ctx)
	if err != nil {
		return fmt.Errorf("find out what was published: %w", err)
	}
	var next []broker.Record
	for ctx.Err() == nil {
		e, err := r.in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		r.read.Store(r.in.Read())
		if e.Reason != "" {
			r.rejected.Add(1)
			if err := rejects.add(e); err != nil {
				return err
			}
			continue
		}
		if e.Key == nil {
			e.Key = ownKey(e.Number)
		}
		if e.Number <= done[broker.PartitionOf(e.Key, len(done))] {
			r.published.Add(1)
			continue
		}
		next = append(next, broker.Record{
			Topic: r.c.Topic, Key: e.Key, Value: e.Value,
			Headers: []broker.Header{{Key: lineage.Number, Value: strconv.AppendInt(nil, int64(e.Number), 10)}},
		})
		if len(next) == publishBatch {
			if err := r.flush(ctx, next); err != nil {
				return err
			}
			next = next[:0]
		}
	}
	if err := r.flush(ctx, next); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := rejects.close(); err != nil {
		return err
	}
	r.ended.Store(true)
	return nil
}

// flush publishes records once there is room for them.
func (r *run) flush(ctx context.Context, next []broker.Record) error {
	if len(next) == 0 {
		return nil
	}
	if !r.waitForRoom() {
		return ctx.Err()
	}
	if _, err := r.b.Publish(ctx, next...); err != nil {
		return fmt.Errorf("publish to %s: %w", r.c.Topic, err)
	}
	r.published.Add(int64(len(next)))
	return nil
}

// ownKey is the key of a record that has none of its own. Every record of a
// batch has a key, so that its partition is known and a batch that goes on after
// an interruption knows what was published.
func ownKey(number int) []byte { return strconv.AppendInt([]byte("record-"), int64(number), 10) }

// lastPublished returns the number of the last record published to each
// partition. They are published in order, so all before it that belong there are
// there too.
func (r *run) lastPublished(ctx context.Context) ([]int, error) {
	infos, err := r.b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		if info.Name != r.c.Topic {
			continue
		}
		numbers := make([]int, len(info.Ends))
		for p := range numbers {
			last, err := broker.Last(ctx, r.b, r.c.Topic, int32(p))
			if err != nil {
				return nil, err
			}
			if last == nil {
				continue
			}
			if numbers[p], err = strconv.Atoi(string(last.Header(lineage.Number))); err != nil {
				return nil, fmt.Errorf("topic %s holds records of another origin: use another --data-dir for a batch", r.c.Topic)
			}
		}
		return numbers, nil
	}
	return nil, fmt.Errorf("%w: %s", broker.ErrUnknownTopic, r.c.Topic)
}

// waitForRoom waits until few enough records are under way. It reports false
// when the run is over.
func (r *run) waitForRoom() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.over && r.counted && r.published.Load()-r.written.Load() >= inFlight {
		r.room.Wait()
	}
	return !r.over
}

func (r *run) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.room.Broadcast()
}

// complete reports whether every record is answered, as far as counting tells.
func (r *run) complete() bool {
	return r.ended.Load() && (!r.counted || r.written.Load() >= r.published.Load())
}

// quiet reports whether no service has anything left to take, each looked at
// after those that it reads from.
func (r *run) quiet(ctx context.Context) (bool, error) {
	p := r.c.Pipeline
	for _, name := range append(p.Order(), p.Gathers()...) {
		lags, err := r.b.Lag(ctx, lineage.GroupOf(p.Name, name))
		if err != nil {
			return false, err
		}
		for _, l := range lags {
			if l.Lag > 0 {
				return false, nil
			}
		}
		if len(lags) == 0 && r.published.Load() > 0 {
			return false, nil
		}
	}
	return true, nil
}

func (r *run) progress() Progress {
	return Progress{
		Read: r.read.Load(), Published: r.published.Load(), Written: r.written.Load(),
		Rejected: r.rejected.Load(), Failed: r.failed.Load(), Ended: r.ended.Load(),
	}
}

func (r *run) report(ctx context.Context) {
	if r.c.Progress == nil {
		return
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.c.Progress(r.progress())
			return
		case <-tick.C:
			r.c.Progress(r.progress())
		}
	}
}
