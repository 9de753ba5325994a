// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
)

func TestATraceLeadsFromTheTicketToItsAnswer(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	b := open(t, vfs.NewMem())
	_, stop := start(t, b, load(t, graph), Options{Tracer: provider.Tracer("test")})
	const trace = "0af7651916cd43dd8448eb211c80319c"
	_, err := b.Publish(t.Context(),
		broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte(`{}`), Headers: []broker.Header{
			{Key: lineage.Traceparent, Value: []byte("00-" + trace + "-b7ad6b7169203331-01")}}},
		broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte(`{"untraced":true}`)})
	if err != nil {
		t.Fatal(err)
	}
	answers(t, b, "desk", 2)
	stop()

	parents, names := map[string]string{}, map[string]string{}
	var all []string
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID().String() != trace {
			t.Errorf("span %s is of trace %s", s.Name, s.SpanContext.TraceID())
		}
		all = append(all, s.Name)
		names[s.SpanContext.SpanID().String()] = s.Name
		parents[s.Name] = s.Parent.SpanID().String()
	}
	slices.Sort(all)
	if got := strings.Join(all, " "); got != "classifier desk sentiment tagger" {
		t.Errorf("spans: %s", got)
	}
	if p := names[parents["classifier"]]; p != "tagger" {
		t.Errorf("the classifier's span is a child of %q, want tagger's", p)
	}
	for r, err := range broker.Records(t.Context(), b, "desk", broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		if parent := string(r.Header(lineage.Traceparent)); parent != "" && !strings.Contains(parent, trace) {
			t.Errorf("the answer's traceparent is %s", parent)
		}
	}
}

func TestMetricsTellWhatEachServiceDid(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := open(t, vfs.NewMem())
	a, stop := start(t, b, load(t, graph), Options{Registry: registry})
	for range 3 {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	answers(t, b, "desk", 3)
	if err := a.Healthy(); err != nil {
		t.Error(err)
	}
	stop()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "," + l.GetValue()
			}
			switch {
			case m.Counter != nil:
				got[name] = m.Counter.GetValue()
			case m.Gauge != nil:
				got[name] = m.Gauge.GetValue()
			case m.Histogram != nil:
				got[name] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	for name, want := range map[string]float64{
		"millrace_records_total,tagger": 3, "millrace_values_total,classifier": 3,
		"millrace_gathered_total,desk,complete": 3, "millrace_dead_letters_total,tagger": 0,
		"millrace_gather_seconds,desk": 3,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (there: %v), want %v", name, value, there, want)
		}
	}
	for _, name := range []string{"millrace_predict_seconds,tagger", "millrace_settle_seconds,tagger", "millrace_batch_records,tagger", "millrace_lag_records,tagger"} {
		if _, there := got[name]; !there {
			t.Errorf("%s is not there", name)
		}
	}
}

// hung is a model that answers when it is let go.
type hung struct{ free chan struct{} }

func (hung) Name() string { return "hung@1" }

func (h hung) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	<-h.free
	return make([]model.Answer, len(items)), nil
}

func TestAServiceThatMakesNoProgressIsUnhealthyAndTheOthersGoOn(t *testing.T) {
	b := open(t, vfs.NewMem())
	h := hung{make(chan struct{})}
	p := load(t, strings.Replace(graph, "deadline: 1m", "deadline: 100ms", 1))
	identity := func(name string, m pipeline.Model) (model.Model, error) {
		if name == "tagger" {
			return h, nil
		}
		return identityModel{}, nil
	}
	a, stop := start(t, b, p, Options{Model: identity, Stall: time.Second})
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	got := answers(t, b, "desk", 1)[0]
	if got.Status != "partial" || got.Parts["sentiment"].Status != "ok" || got.Parts["classifier"].Status != "missing" {
		t.Errorf("answer %+v", got)
	}
	until(t, "the watchdog to bark", func() bool {
		err := a.Healthy()
		return err != nil && strings.HasPrefix(err.Error(), "tagger: ")
	})
	close(h.free)
	until(t, "the service to be well again", func() bool { return a.Healthy() == nil })
	stop()
}

type identityModel struct{}

func (identityModel) Name() string { return "identity@1" }

func (identityModel) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	answers := make([]model.Answer, len(items))
	for i, item := range items {
		answers[i] = model.One(item.Value)
	}
	return answers, nil
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestReadyWhenEveryServiceHasReachedTheBroker(t *testing.T) {
	b := open(t, vfs.NewMem())
	a, err := New(t.Context(), b, load(t, graph), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Ready() == nil {
		t.Error("ready before Run")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	until(t, "all services to be ready", func() bool { return a.Ready() == nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOnlyNamesMustBeKnown(t *testing.T) {
	b := open(t, vfs.NewMem())
	_, err := New(t.Context(), b, load(t, graph), Options{Only: []string{"tager"}})
	if err == nil || !strings.Contains(err.Error(), "tagger, sentiment") && !strings.Contains(err.Error(), "tagger") {
		t.Errorf("got %v", err)
	}
}
