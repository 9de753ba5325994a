// SPDX-License-Identifier: Apache-2.0

// Package timeline tells what became of a record: one timeline through every
// topic, model, attempt, dead letter and join.
//
// The one idea: ids are paths (package lineage), so what descends from a record
// is found in the topics themselves. No index is kept for the day on which
// somebody asks.
package timeline

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/lineage"
)

// Event is a record of the timeline.
type Event struct {
	Time      time.Time `json:"time" jsonschema:"when the record was appended"`
	After     int64     `json:"after_ms" jsonschema:"milliseconds since the source was appended"`
	What      string    `json:"what" jsonschema:"published, answered, skipped, failed, dead letter, retried, dropped or gathered"`
	Source    string    `json:"source" jsonschema:"id of the source record"`
	Topic     string    `json:"topic" jsonschema:"of the record"`
	Partition int32     `json:"partition" jsonschema:"of the record"`
	Offset    int64     `json:"offset" jsonschema:"of the record"`
	ID        string    `json:"id" jsonschema:"of the record; of a decision, the letter's"`
	Service   string    `json:"service,omitempty" jsonschema:"the service or gather that wrote it"`
	Model     string    `json:"model,omitempty" jsonschema:"name and version"`
	Attempts  int       `json:"attempts,omitempty" jsonschema:"how often the model was tried"`
	Batch     int       `json:"batch,omitempty" jsonschema:"records of this topic's partition settled with it"`
	Status    string    `json:"status,omitempty" jsonschema:"of a join: complete or partial"`
	Revision  int       `json:"revision,omitempty" jsonschema:"of a join"`
	Error     string    `json:"error,omitempty" jsonschema:"what the model failed with"`
	Bytes     int       `json:"bytes" jsonschema:"size of the record: its key, value and headers"`
}

const deadLetter = "dead letter"

// maxDescent bounds how many gathers a record may have come through: clients of
// the broker can write headers that name each other in a circle.
const maxDescent = 100

// maxSources bounds the sources that a key may have, newest first.
const maxSources = 100

// Of returns what became of the source records whose key, own id ("id" in
// a header or in the JSON value) or place ("tickets/3/1234", or the id of
// anything that descends from it) is what. Events come by source, then by time.
func Of(ctx context.Context, b *broker.Broker, what string, since broker.Position) ([]Event, error) {
	return OfSources(ctx, b, nil, what, since)
}

// OfSources is [Of] where it is known which topics no service or gather writes:
// with each record in them a lineage begins, whatever its headers say. Nil means
// that it is not known, and the headers tell.
func OfSources(ctx context.Context, b *broker.Broker, sources []string, what string, since broker.Position) ([]Event, error) {
	f := finder{b: b, sources: sources}
	return f.of(ctx, what, since)
}

// finder knows which topics are sources; nil if none are known.
type finder struct {
	b       *broker.Broker
	sources []string
}

func (f *finder) of(ctx context.Context, what string, since broker.Position) ([]Event, error) {
	b := f.b
	topics, err := b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := f.find(ctx, topics, what, since)
	if err != nil || len(sources) == 0 {
		return nil, err
	}
	oldest := sources[0].Time
	byID := map[string]*broker.Record{}
	for _, s := range sources {
		byID[f.idOf(s)] = s
		if s.Time.Before(oldest) {
			oldest = s.Time
		}
	}
	var all []Event
	for _, t := range topics {
		if _, decisions := lineage.DecisionsOf(t.Name); decisions {
			continue
		}
		found, err := f.scan(ctx, t.Name, oldest, byID)
		if err != nil {
			return nil, fmt.Errorf("look through %s: %w", t.Name, err)
		}
		all = append(all, found...)
	}
	decided, err := decisions(ctx, b, all)
	if err != nil {
		return nil, err
	}
	all = append(all, decided...)
	slices.SortStableFunc(all, func(a, b Event) int {
		return cmp.Or(byID[a.Source].Time.Compare(byID[b.Source].Time), cmp.Compare(a.Source, b.Source), a.Time.Compare(b.Time))
	})
	return all, nil
}

// decisions tells what was decided on the dead letters among events.
func decisions(ctx context.Context, b *broker.Broker, events []Event) ([]Event, error) {
	store, err := deadletter.New(b, deadletter.Options{})
	if err != nil {
		return nil, err
	}
	var found []Event
	read := map[string]deadletter.Decisions{} // by service
	for _, e := range events {
		if e.What != deadLetter {
			continue
		}
		if _, known := read[e.Service]; !known {
			if read[e.Service], err = store.Decisions(ctx, e.Service); err != nil {
				return nil, fmt.Errorf("look for what was decided on dead letters of %s: %w", e.Service, err)
			}
		}
		d, decided := read[e.Service].About(e.Partition, e.Offset)
		if !decided {
			continue
		}
		letter := lineage.Source{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
		found = append(found, Event{
			Time: d.Time, After: e.After + d.Time.Sub(e.Time).Milliseconds(), What: string(d.State), Source: e.Source,
			Topic: d.Topic, Offset: d.Offset, ID: letter.String(), Service: e.Service,
		})
	}
	return found, nil
}

// find returns the source records that are meant.
func (f *finder) find(ctx context.Context, topics []broker.TopicInfo, what string, since broker.Position) ([]*broker.Record, error) {
	if path, err := lineage.Parse(what); err == nil {
		if r := f.sourceOf(ctx, path.Source); r != nil {
			return []*broker.Record{r}, nil
		}
	}
	var sources []*broker.Record
	for _, t := range topics {
		if _, decisions := lineage.DecisionsOf(t.Name); decisions {
			continue
		}
		for r, err := range broker.Records(ctx, f.b, t.Name, broker.AllPartitions, since, broker.Position{}) {
			if err != nil {
				return nil, fmt.Errorf("look through %s: %w", t.Name, err)
			}
			if !f.isSource(r) {
				if r.Header(lineage.ID) != nil {
					break // a service's topic holds nothing else
				}
				continue
			}
			if matches(r, what) {
				// What it says is not kept: a key may have any number of records.
				sources = append(sources, &broker.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time})
			}
			if len(sources) > 2*maxSources {
				sources = newest(sources)
			}
		}
	}
	return newest(sources), nil
}

// newest sorts sources by their time and leaves out the oldest beyond maxSources.
func newest(sources []*broker.Record) []*broker.Record {
	slices.SortStableFunc(sources, func(a, b *broker.Record) int { return a.Time.Compare(b.Time) })
	return sources[max(0, len(sources)-maxSources):]
}

// sourceOf returns the record at a place, or the one that it descends from. It
// returns nil when there is none: what looked like a place may be a key.
func (f *finder) sourceOf(ctx context.Context, s lineage.Source) *broker.Record {
	for range maxDescent {
		r, err := broker.First(ctx, f.b, s.Topic, s.Partition, broker.Offset(s.Offset))
		if err != nil || r == nil || r.Offset != s.Offset {
			return nil
		}
		if f.isSource(r) {
			return r
		}
		of := r.Header(lineage.JoinOf)
		if of == nil {
			of = r.Header(lineage.ID)
		}
		path, err := lineage.Parse(string(of))
		if err != nil || path.Source == s {
			return r
		}
		s = path.Source
	}
	return nil
}

// isSource reports whether a record descends from no other.
func (f *finder) isSource(r *broker.Record) bool {
	return slices.Contains(f.sources, r.Topic) || r.Header(lineage.ID) == nil && r.Header(lineage.JoinOf) == nil
}

func matches(r *broker.Record, what string) bool {
	if string(r.Key) == what || string(r.Header(lineage.SourceID)) == what {
		return true
	}
	if !bytes.Contains(r.Value, []byte(what)) {
		return false
	}
	id := jsontext.Field(r.Value, "id")
	if text, is := jsontext.String(id); is {
		return text == what
	}
	number, is := jsontext.Number(id)
	return is && number == what
}

// idOf is the record's id.
func (f *finder) idOf(r *broker.Record) string {
	if f.isSource(r) {
		return lineage.PlaceOf(r).String()
	}
	return string(lineage.AppendID(nil, r))
}

// pathOf is the record's id, taken apart.
func (f *finder) pathOf(r *broker.Record) (lineage.Path, error) {
	if f.isSource(r) {
		return lineage.Path{Source: lineage.PlaceOf(r)}, nil
	}
	return lineage.Of(r)
}

// scan finds the records of a topic that descend from the sources. Records that
// were settled together stand side by side and have the same time, which is how
// the size of the batch is known.
func (f *finder) scan(ctx context.Context, topic string, since time.Time, sources map[string]*broker.Record) ([]Event, error) {
	type batch struct {
		time time.Time
		size int
		mine []int // events
	}
	var found []Event
	open := map[int32]*batch{}
	end := func(x *batch) {
		for _, i := range x.mine {
			found[i].Batch = x.size
		}
	}
	for r, err := range broker.Records(ctx, f.b, topic, broker.AllPartitions, broker.At(since), broker.Position{}) {
		if err != nil {
			return nil, err
		}
		x := open[r.Partition]
		if x == nil || !x.time.Equal(r.Time) {
			if x != nil {
				end(x)
			}
			x = &batch{time: r.Time}
			open[r.Partition] = x
		}
		x.size++
		if e, ok := f.event(r, sources); ok {
			x.mine = append(x.mine, len(found))
			found = append(found, e)
		}
	}
	for _, x := range open {
		end(x)
	}
	return found, nil
}

// event tells what a record says about one of the sources.
func (f *finder) event(r *broker.Record, sources map[string]*broker.Record) (Event, bool) {
	if r.Header(lineage.Window) != nil && !f.isSource(r) {
		return Event{}, false // a gather's note, which is about no record
	}
	e := Event{
		Time: r.Time, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Model: string(r.Header(lineage.Model)), Error: string(r.Header(lineage.Error)), Bytes: r.Size(),
	}
	e.Attempts, _ = strconv.Atoi(string(r.Header(lineage.Attempts)))
	var path lineage.Path
	var err error
	switch of := r.Header(lineage.JoinOf); {
	case of != nil && !f.isSource(r):
		path, err = lineage.Parse(string(of))
		e.What, e.ID = "gathered", lineage.PlaceOf(r).String()
		e.Status = string(r.Header(lineage.JoinStatus))
		e.Revision, _ = strconv.Atoi(string(r.Header(lineage.JoinRevision)))
	default:
		path, err = f.pathOf(r)
		e.What, e.ID = "answered", f.idOf(r)
		e.Service, _, _ = path.Service()
	}
	if err != nil {
		return Event{}, false
	}
	e.Source = path.Source.String()
	source, mine := sources[e.Source]
	if !mine {
		return Event{}, false
	}
	e.After = r.Time.Sub(source.Time).Milliseconds()
	switch {
	case f.isSource(r):
		e.What, e.Service, e.Model, e.Error, e.Attempts = "published", "", "", "", 0
	case r.Header(lineage.DeadService) != nil:
		e.What, e.Service, e.Model = deadLetter, string(r.Header(lineage.DeadService)), string(r.Header(lineage.DeadModel))
	case e.What == "gathered":
	case r.Header(lineage.Status) != nil:
		e.What = string(r.Header(lineage.Status))
	}
	if e.Attempts == 0 && e.What == "answered" {
		e.Attempts = 1
	}
	return e, true
}
