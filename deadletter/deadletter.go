// SPDX-License-Identifier: Apache-2.0

// Package deadletter looks after dead letters: it lists them, tries them again,
// drops them.
//
// The one idea: a letter is never changed or moved. What was decided about it is
// a record in a topic beside its own, and that record is settled together with
// the answer that the decision gave. Who decides is the member of a consumer
// group with one partition, so there is one at a time, and whoever was taken for
// dead is fenced. So each letter is tried again or dropped once, whatever is
// killed and however often the command is repeated (see docs/adr/0013).
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/service"
)

// State is what was decided about a letter.
type State string

// The states of a letter.
const (
	Open    State = "open"                  // nothing was decided yet
	Retried State = lineage.DecisionRetried // it was tried again: there is an answer now, or another letter
	Dropped State = lineage.DecisionDropped // it is to be left as it is
)

// Letter is a dead letter with its state.
type Letter struct {
	ID        string     `json:"id" jsonschema:"where the letter stands, such as sentiment.dead/3/17"`
	Service   string     `json:"service" jsonschema:"whose model failed"`
	State     State      `json:"state" jsonschema:"what was decided about it"`
	Decided   *time.Time `json:"decided,omitempty" jsonschema:"when it was retried or dropped; left out while it is open"`
	Time      time.Time  `json:"time" jsonschema:"of the failure"`
	Key       string     `json:"key,omitempty" jsonschema:"of what failed, cut after 1 KiB; bytes that are not UTF-8 are replaced"`
	Record    string     `json:"record" jsonschema:"where what failed stands, such as tickets/3/1234"`
	Topic     string     `json:"topic" jsonschema:"of the letter"`
	Partition int32      `json:"partition" jsonschema:"of the letter"`
	Offset    int64      `json:"offset" jsonschema:"of the letter"`
	Model     string     `json:"model,omitempty" jsonschema:"name and version"`
	Attempts  int        `json:"attempts" jsonschema:"how often the model was tried"`
	Error     string     `json:"error" jsonschema:"the last one"`
}

// Retry predicts again on letters of a service, as [service.Service.Retry] does.
type Retry func(ctx context.Context, service string, letters []service.Letter, settle func(results []broker.Record) error) (service.Observation, error)

// Options of a Store. The zero value is a good default.
type Options struct {
	// Services whose letters are meant; nil: of all that have a topic for them.
	Services []string

	Logger *slog.Logger // nil means slog.Default()
}

// Store looks after the dead letters on a broker. It may be used by several
// goroutines at once.
type Store struct {
	b *broker.Broker
	o Options
}

// New makes a store of the broker's dead letters. The broker stays the caller's.
func New(b *broker.Broker, o Options) (*Store, error) {
	if b == nil {
		return nil, errors.New("deadletter: the broker is nil: open one first")
	}
	if slices.Contains(o.Services, "") {
		return nil, errors.New("deadletter: Options.Services has a service without a name")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Store{b, o}, nil
}

// services names those that are meant and have a topic, sorted. Asked for none
// it names all. An unknown one is an [UnknownError].
func (st *Store) services(ctx context.Context, asked []string) ([]string, error) {
	topics, err := st.b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, t := range topics {
		service, is := lineage.DeadOf(t.Name)
		if is && (st.o.Services == nil || slices.Contains(st.o.Services, service)) {
			known = append(known, service)
		}
	}
	if len(asked) == 0 {
		return known, nil
	}
	for _, name := range asked {
		if !slices.Contains(known, name) {
			return nil, &UnknownError{What: "service", Name: name, Known: known}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(asked))), nil
}

// UnknownError means that a service or a letter does not exist.
type UnknownError struct {
	What, Name string
	Known      []string // names that exist; nil for letters
}

func (e *UnknownError) Error() string { return fmt.Sprintf("there is no %s %q", e.What, e.Name) }

// place is where a letter stands.
type place struct {
	service string
	lineage.Source
}

// parseID reads a letter's id.
func parseID(id string) (place, error) {
	p, err := lineage.Parse(id)
	service, is := lineage.DeadOf(p.Source.Topic)
	if err != nil || p.Steps != "" || !is {
		return place{}, &UnknownError{What: "dead letter", Name: id}
	}
	return place{service, p.Source}, nil
}

// read takes a record of a dead-letter topic for a letter.
func read(r *broker.Record, decided Decisions) (Letter, service.Letter, error) {
	l, err := service.ReadLetter(r)
	if err != nil {
		return Letter{}, service.Letter{}, err
	}
	out := Letter{
		ID:      lineage.PlaceOf(r).String(),
		Service: l.Service, State: Open, Time: r.Time.UTC(), Key: sanitize.Cut(string(l.Record.Key), maxKey),
		Record: lineage.PlaceOf(&l.Record).String(),
		Topic:  r.Topic, Partition: r.Partition, Offset: r.Offset,
		Model: l.Model, Attempts: l.Attempts, Error: l.Error,
	}
	if d, is := decided.About(r.Partition, r.Offset); is {
		out.State, out.Decided = d.State, &d.Time
	}
	return out, l, nil
}

// maxKey bounds the key of a listed letter, in bytes: listings are of many.
const maxKey = 1024
