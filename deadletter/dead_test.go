// SPDX-License-Identifier: Apache-2.0

package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a broker on which the service mood has failed on some records.
type desk struct {
	*testing.T
	*broker.Broker
	store *deadletter.Store
}

// newDesk publishes the records, each its own key, on which mood fails.
func newDesk(t *testing.T, values ...string) *desk {
	t.Helper()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler), MaxRecordBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, name := range []string{"in", "out", "mood.dead", "other.dead"} {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	d := &desk{t, b, newStore(t, b)}
	d.fail(values...)
	return d
}

func newStore(t *testing.T, b *broker.Broker) *deadletter.Store {
	t.Helper()
	store, err := deadletter.New(b, deadletter.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// fail publishes records and has the service fail on them.
func (d *desk) fail(values ...string) {
	d.Helper()
	if len(values) == 0 {
		return
	}
	var records []broker.Record
	for _, v := range values {
		records = append(records, broker.Record{Topic: "in", Key: []byte(v), Value: []byte("says " + v)})
	}
	if _, err := d.Publish(d.Context(), records...); err != nil {
		d.Fatal(err)
	}
	ctx, stop := context.WithCancel(d.Context())
	done := make(chan error, 1)
	go func() { done <- d.service(model.Fail(model.Invalid(errors.New("cannot")))).Run(ctx) }()
	n := 0
	for _, err := range broker.Records(ctx, d.Broker, "mood.dead", broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			d.Fatal(err)
		}
		if n++; n == len(d.read("in")) {
			break
		}
	}
	stop()
	if err := <-done; err != nil {
		d.Fatal(err)
	}
}

// fixed is a model that gives all items the same answer.
type fixed struct{ model.Answer }

func (fixed) Name() string { return "fixed@2" }

func (f fixed) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	return slices.Repeat([]model.Answer{f.Answer}, len(items)), nil
}

func (d *desk) service(a model.Answer) *service.Service {
	s, err := service.New(d.Broker, service.Config{Name: "mood", Group: "g.mood", From: []string{"in"}, To: "out", Dead: "mood.dead", Model: fixed{a}, Attempts: 1})
	if err != nil {
		d.Fatal(err)
	}
	return s
}

// with retries by a model that gives the answer.
func (d *desk) with(a model.Answer) deadletter.Retry {
	return func(ctx context.Context, _ string, letters []service.Letter, settle func([]broker.Record) error) (service.Observation, error) {
		return d.service(a).Retry(ctx, letters, settle)
	}
}

func (d *desk) read(topic string) (all []*broker.Record) {
	d.Helper()
	for r, err := range broker.Records(d.Context(), d.Broker, topic, broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			d.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// answers counts the values in the result topic by the record they answer.
func (d *desk) answers() map[string]int {
	d.Helper()
	n := map[string]int{}
	for _, r := range d.read("out") {
		if r.Header(lineage.Status) == nil {
			n[string(r.Key)]++
		}
	}
	return n
}

// states tells the state of each letter as "key: state", sorted.
func (d *desk) states(s deadletter.Selection) string {
	d.Helper()
	list, err := d.store.List(d.Context(), s, deadletter.MaxList)
	if err != nil {
		d.Fatal(err)
	}
	var all []string
	for _, l := range list.Letters {
		all = append(all, fmt.Sprintf("%s %s", l.Key, l.State))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (d *desk) want(what string, got, want any) {
	d.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		d.Errorf("%s: %s, want %s", what, g, w)
	}
}

var ok = model.One([]byte(`"fine"`))

func TestALetterIsTriedAgainOnceAndItsAnswerHasTheLineage(t *testing.T) {
	d := newDesk(t, "a", "b", "c")
	d.want("states", d.states(deadletter.Selection{}), "a open, b open, c open")
	for n, want := range []string{"[{mood 3 3 0 0}]", "[]"} {
		done, err := d.store.Retry(t.Context(), deadletter.Selection{}, d.with(ok))
		if err != nil {
			t.Fatal(err)
		}
		d.want(fmt.Sprint("done the time ", n), done, want)
	}
	d.want("states", d.states(deadletter.Selection{}), "a retried, b retried, c retried")
	d.want("answers", d.answers(), map[string]int{"a": 1, "b": 1, "c": 1})
	for _, r := range d.read("out") {
		source, _, is := strings.Cut(string(r.Header(lineage.ID)), "/mood")
		if !is || !strings.HasPrefix(source, fmt.Sprintf("in/%d/", r.Partition)) {
			t.Errorf("the id of an answer is %s", r.Header(lineage.ID))
		}
	}
}

func TestALetterWhoseModelStillFailsBecomesAnotherOne(t *testing.T) {
	d := newDesk(t, "a")
	done, err := d.store.Retry(t.Context(), deadletter.Selection{}, d.with(model.Fail(model.Invalid(errors.New("still not")))))
	if err != nil {
		t.Fatal(err)
	}
	d.want("done", done, "[{mood 1 0 1 0}]")
	list, err := d.store.List(t.Context(), deadletter.Selection{}, 10)
	if err != nil || len(list.Letters) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	again, first := list.Letters[0], list.Letters[1]
	d.want("states", first.State+" "+again.State, "retried open")
	d.want("attempts", fmt.Sprint(first.Attempts, again.Attempts), "1 2")
	d.want("the newest error", again.Error, "still not")
	d.want("the record", again.Record, first.Record)
	if n := len(d.read("out")); n != 1 {
		t.Errorf("the topic has %d records, want the marker of the first failure only", n)
	}
	// The new one is tried again like any other.
	if _, err := d.store.Retry(t.Context(), deadletter.Selection{}, d.with(ok)); err != nil {
		t.Fatal(err)
	}
	d.want("answers", d.answers(), map[string]int{"a": 1})
	d.want("states", d.states(deadletter.Selection{}), "a retried, a retried")
}

func TestOnlyTheLettersThatAreMeantAreDecidedOn(t *testing.T) {
	d := newDesk(t, "a", "b", "c", "d", "e", "f")
	list, err := d.store.List(t.Context(), deadletter.Selection{Key: "c"}, 10)
	if err != nil || len(list.Letters) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	id := list.Letters[0].ID
	// Named twice, in two ways, it is one letter all the same.
	other := strings.Replace(id, "dead/", "dead/0", 1)
	done, err := d.store.Retry(t.Context(), deadletter.Selection{Letters: []string{id, other, id}}, d.with(ok))
	if err != nil {
		t.Fatal(err)
	}
	d.want("done", done, "[{mood 1 1 0 0}]")
	if _, err := d.store.Drop(t.Context(), deadletter.Selection{Services: []string{"mood"}, Key: "e"}); err != nil {
		t.Fatal(err)
	}
	before := len(d.read("mood.dead"))
	d.want("states", d.states(deadletter.Selection{}), "a open, b open, c retried, d open, e dropped, f open")
	if _, err := d.store.Drop(t.Context(), deadletter.Selection{}); err != nil {
		t.Fatal(err)
	}
	d.want("states", d.states(deadletter.Selection{}), "a dropped, b dropped, c retried, d dropped, e dropped, f dropped")
	d.want("answers", d.answers(), map[string]int{"c": 1})
	d.want("letters", len(d.read("mood.dead")), before)

	for _, s := range []deadletter.Selection{{Services: []string{"nobody"}}, {Letters: []string{"mood.dead/0/99"}}, {Letters: []string{"mood"}}, {Letters: []string{"in/0/0"}}} {
		var unknown *deadletter.UnknownError
		if _, err := d.store.Retry(t.Context(), s, d.with(ok)); !errors.As(err, &unknown) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// A list that a program filled with nothing is not one that it left out.
func TestAnEmptyListSelectsNothing(t *testing.T) {
	d := newDesk(t, "a")
	for _, s := range []deadletter.Selection{{Letters: []string{}}, {Services: []string{}}, {Services: []string{"mood"}, Letters: []string{}}} {
		_, retryErr := d.store.Retry(t.Context(), s, d.with(ok))
		_, dropErr := d.store.Drop(t.Context(), s)
		_, listErr := d.store.List(t.Context(), s, 10)
		for _, err := range []error{retryErr, dropErr, listErr, s.Check()} {
			if !errors.Is(err, deadletter.ErrNothingSelected) {
				t.Errorf("%#v: %v", s, err)
			}
		}
	}
	d.want("states", d.states(deadletter.Selection{}), "a open")
}

func TestARetryNeedsAFunction(t *testing.T) {
	d := newDesk(t, "a")
	if _, err := d.store.Retry(t.Context(), deadletter.Selection{}, nil); err == nil || !strings.Contains(err.Error(), "millrace.App.Retry") {
		t.Errorf("Retry with nil: %v", err)
	}
	d.want("states", d.states(deadletter.Selection{}), "a open")
}

// Letters of other pipelines on the same broker are none of this one's business.
func TestOtherServicesLettersAreLeftAlone(t *testing.T) {
	d := newDesk(t, "a")
	other, err := deadletter.New(d.Broker, deadletter.Options{Services: []string{"other"}})
	if err != nil {
		t.Fatal(err)
	}
	done, err := other.Drop(t.Context(), deadletter.Selection{})
	d.want("dropped", fmt.Sprint(done, err), "[] <nil>")
	if _, err := other.Drop(t.Context(), deadletter.Selection{Services: []string{"mood"}}); err == nil {
		t.Error("another's letters were dropped")
	}
	d.want("states", d.states(deadletter.Selection{}), "a open")
}

func TestAStoreNeedsABroker(t *testing.T) {
	b := newDesk(t).Broker
	for want, make := range map[string]func() (*deadletter.Store, error){
		"the broker is nil": func() (*deadletter.Store, error) { return deadletter.New(nil, deadletter.Options{}) },
		"a service without a name": func() (*deadletter.Store, error) {
			return deadletter.New(b, deadletter.Options{Services: []string{""}})
		},
	} {
		if s, err := make(); s != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("made %v, %v, want %s", s, err, want)
		}
	}
}

// lossy loses some settles, and the replies of others.
type lossy struct{ broker.Driver }

type lossyMember struct{ broker.Member }

var errLost = errors.New("the connection is lost")

func (l lossy) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	m, err := l.Driver.Join(ctx, group, start, topics)
	return lossyMember{m}, err
}

func (m lossyMember) Settle(ctx context.Context, s *broker.Settlement) error {
	switch rand.N(4) {
	case 0:
		return errLost
	case 1:
		if err := m.Member.Settle(ctx, s); err != nil {
			return err
		}
		return errLost
	}
	return m.Member.Settle(ctx, s)
}

// Whatever ends the command at whatever moment, and however many give it at once,
// each letter is answered once.
func TestCommandsThatAreCutOffAndRepeatedAnswerEachLetterOnce(t *testing.T) {
	var values []string
	for i := range 700 {
		values = append(values, fmt.Sprint("k", i))
	}
	d := newDesk(t, values...)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			store := newStore(t, broker.New(lossy{d.Driver()}, d.Options()))
			for {
				_, err := store.Retry(t.Context(), deadletter.Selection{}, d.with(ok))
				if err == nil {
					return
				}
				if !errors.Is(err, errLost) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	answers := d.answers()
	for _, v := range values {
		if answers[v] != 1 {
			t.Fatalf("%s has %d answers", v, answers[v])
		}
	}
}

// paused stands still before it settles the first time, and is a member no more
// when it goes on.
type paused struct {
	broker.Driver
	meanwhile func()
}

type pausedMember struct {
	broker.Member
	rejoin    func() (broker.Member, error)
	meanwhile func()
	stood     bool
}

func (p paused) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	rejoin := func() (broker.Member, error) { return p.Driver.Join(ctx, group, start, topics) }
	m, err := rejoin()
	return &pausedMember{Member: m, rejoin: rejoin, meanwhile: p.meanwhile}, err
}

func (m *pausedMember) Settle(ctx context.Context, s *broker.Settlement) (err error) {
	if m.stood {
		return m.Member.Settle(ctx, s)
	}
	m.stood = true
	if err := m.Close(ctx); err != nil {
		return err
	}
	m.meanwhile()
	if m.Member, err = m.rejoin(); err != nil {
		return err
	}
	return broker.ErrFenced
}

func stopping(d *desk, meanwhile func()) *broker.Broker {
	return broker.New(paused{d.Driver(), meanwhile}, d.Options())
}

// A command that stood still is taken for dead. What another one did meanwhile is
// done, and only the rest is left to it.
func TestACommandThatStoodStillSeesWhatWasDecidedMeanwhile(t *testing.T) {
	d := newDesk(t, "a", "b", "c")
	store := newStore(t, stopping(d, func() {
		if _, err := d.store.Retry(t.Context(), deadletter.Selection{Key: "a"}, d.with(ok)); err != nil {
			t.Error(err)
		}
		if _, err := d.store.Drop(t.Context(), deadletter.Selection{Key: "b"}); err != nil {
			t.Error(err)
		}
	}))
	done, err := store.Retry(t.Context(), deadletter.Selection{}, d.with(ok))
	if err != nil {
		t.Fatal(err)
	}
	d.want("left to the first", done, "[{mood 1 1 0 0}]")
	d.want("answers", d.answers(), map[string]int{"a": 1, "c": 1})
	d.want("states", d.states(deadletter.Selection{}), "a retried, b dropped, c retried")
}

// What does not fit into a letter is fetched from where it stands, or stays open
// when that is no longer kept.
func TestALetterThatWasCutIsTriedAgainWithTheWholeRecord(t *testing.T) {
	d := newDesk(t)
	big := strings.Repeat("x", 1<<20-40)
	if _, err := d.Publish(t.Context(), broker.Record{Topic: "in", Key: []byte("big"), Value: []byte(big)}); err != nil {
		t.Fatal(err)
	}
	d.fail("small")
	gone := broker.Record{Topic: "mood.dead", Key: []byte("gone"), Headers: []broker.Header{
		{Key: lineage.DeadService, Value: []byte("mood")}, {Key: lineage.DeadRecord, Value: []byte("in/0/999")}, {Key: lineage.DeadCut, Value: []byte("7")}}}
	if _, err := d.Publish(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	d.want("states", d.states(deadletter.Selection{}), "big open, gone open, small open")
	seen := map[string]int{}
	retry := func(ctx context.Context, _ string, letters []service.Letter, settle func([]broker.Record) error) (service.Observation, error) {
		for _, l := range letters {
			seen[string(l.Record.Key)] = len(l.Record.Value)
		}
		return d.service(ok).Retry(ctx, letters, settle)
	}
	done, err := d.store.Retry(t.Context(), deadletter.Selection{}, retry)
	if err != nil {
		t.Fatal(err)
	}
	d.want("done", done, "[{mood 2 2 0 1}]")
	d.want("sizes", seen, map[string]int{"big": len(big), "small": len("says small")})
	d.want("states", d.states(deadletter.Selection{}), "big retried, gone open, small retried")
}

// A key may be as large as a record; a listing of thousands may not.
// The record's own headers may be what there was no room for.
func TestALetterWithoutHeadersIsTriedAgainWithThem(t *testing.T) {
	d := newDesk(t)
	came := broker.Record{Topic: "in", Key: []byte("k"), Value: []byte("v"), Headers: []broker.Header{{Key: "h", Value: make([]byte, 1<<20-20)}}}
	if _, err := d.Publish(t.Context(), came); err != nil {
		t.Fatal(err)
	}
	d.fail("small")
	var saw []broker.Record
	retry := func(ctx context.Context, _ string, letters []service.Letter, settle func([]broker.Record) error) (service.Observation, error) {
		for _, l := range letters {
			saw = append(saw, l.Record)
		}
		return d.service(ok).Retry(ctx, letters, settle)
	}
	if _, err := d.store.Retry(t.Context(), deadletter.Selection{}, retry); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(saw, func(r broker.Record) bool { return string(r.Key) == "k" })
	if i < 0 || len(saw[i].Header("h")) != 1<<20-20 || string(saw[i].Value) != "v" {
		t.Errorf("the model was given %.300v", saw)
	}
}

// unreadable is a broker whose records cannot be read.
type unreadable struct{ broker.Driver }

func (unreadable) Read(context.Context, string, []int32, broker.Position, broker.Position) (broker.Cursor, error) {
	return nil, errors.New("a head crash")
}

func TestAnErrorNamesTheLettersOnce(t *testing.T) {
	d := newDesk(t, "a")
	store := newStore(t, broker.New(unreadable{d.Driver()}, d.Options()))
	_, listed := store.List(t.Context(), deadletter.Selection{}, 1)
	_, dropped := store.Drop(t.Context(), deadletter.Selection{})
	for _, err := range []error{listed, dropped} {
		if err == nil || strings.Count(err.Error(), "dead letters of mood") != 1 || !strings.HasSuffix(err.Error(), ": a head crash") {
			t.Errorf("it says %v", err)
		}
	}
}

func TestALongKeyIsCutInListings(t *testing.T) {
	long := strings.Repeat("k", 100_000)
	d := newDesk(t, long)
	list, err := d.store.List(t.Context(), deadletter.Selection{Key: long}, 10)
	if err != nil || len(list.Letters) != 1 {
		t.Fatalf("%d letters have the key (%v), want 1", len(list.Letters), err)
	}
	if n := len(list.Letters[0].Key); n > 2000 {
		t.Errorf("its key is listed with %d bytes", n)
	}
	if _, letter, err := d.store.Find(t.Context(), list.Letters[0].ID); err != nil || string(letter.Record.Key) != long {
		t.Errorf("the letter itself has a key of %d bytes (%v), want all of it", len(letter.Record.Key), err)
	}
}

// A client of the broker can write anything into a topic of decisions. That must
// not keep letters from being listed and decided on, nor a copy from going on.
func TestForeignRecordsAmongDecisionsAreLeftOut(t *testing.T) {
	d := newDesk(t, "a", "b")
	if _, err := d.store.Drop(t.Context(), deadletter.Selection{Key: "a"}); err != nil {
		t.Fatal(err)
	}
	decision := broker.Header{Key: lineage.Decision, Value: []byte(lineage.DecisionDropped)}
	foreign := broker.Record{Topic: "mood.dead.decisions", Value: []byte(strings.Repeat("[", 100_000)), Headers: []broker.Header{decision}}
	if _, err := d.Publish(t.Context(), broker.Record{Topic: foreign.Topic, Value: []byte(`{}`)}, foreign); err != nil {
		t.Fatal(err)
	}
	done, err := d.store.Drop(t.Context(), deadletter.Selection{})
	if err != nil || len(done) != 1 || done[0].Letters != 1 {
		t.Errorf("dropped %+v, %v, want the other letter", done, err)
	}
	made, err := deadletter.Relocate(&foreign, nil)
	if err != nil || string(made.Value) != string(foreign.Value) {
		t.Errorf("copied as %.20q, %v", made.Value, err)
	}
}
