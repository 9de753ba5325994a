// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
)

const triage = `
name: triage
topics: {tickets: {partitions: 2}}
services:
  urgency: {from: tickets, to: urgencies, model: {go: urgency}, concurrency: 3}
  copy:    {from: tickets, to: copies,    model: {builtin: identity}}
gather:
  desk: {of: tickets, from: [urgencies, copies], to: desk, deadline: 1m}
`

type ticket struct{ Text string }

func urgency() model.Model {
	return model.JSON("urgency@1", func(_ context.Context, tickets []ticket) ([]map[string]bool, error) {
		out := make([]map[string]bool, len(tickets))
		failed := model.Errors{}
		for i, t := range tickets {
			if t.Text == "" {
				failed[i] = model.Invalid(errors.New("there is no text"))
			}
			out[i] = map[string]bool{"urgent": strings.HasSuffix(t.Text, "!")}
		}
		return out, failed
	})
}

func TestAPipelineFileRunsModelsOfTheProgram(t *testing.T) {
	b := open(t, vfs.NewMem())
	p, err := pipeline.Parse("triage.yaml", []byte(triage), nil, pipeline.WithModels("urgency"))
	if err != nil {
		t.Fatal(err)
	}
	start(t, b, p, Options{Models: Models{"urgency": urgency()}})
	for _, text := range []string{`{"text":"help!"}`, `{"text":""}`} {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	got := answers(t, b, "desk", 2)
	if part := got[0].Parts["urgency"]; string(part.Value) != `{"urgent":true}` || part.Model != "urgency@1" {
		t.Errorf("%+v", part)
	}
	if part := got[1].Parts["urgency"]; part.Error != "urgency: there is no text" || part.Attempts != 1 {
		t.Errorf("%+v", part)
	}
	if part := got[1].Parts["copy"]; string(part.Value) != `{"text":""}` {
		t.Errorf("%+v", part)
	}
}

func TestAModelThatCannotBeHadIsAnErrorOfNewWithItsPlace(t *testing.T) {
	builtin := strings.Replace(triage, "{builtin: identity}", "{builtin: nearest, items: none.yaml}", 1)
	for name, c := range map[string]struct {
		yaml   string
		models Models
		only   []string
		want   string // empty: no error
	}{
		"brought":            {triage, Models{"urgency": urgency()}, nil, ""},
		"misspelled":         {triage, Models{"urgncy": urgency()}, nil, "triage.yaml:5:55: there is no go model urgency; did you mean urgncy?"},
		"no models":          {triage, nil, nil, "triage.yaml:5:55: service urgency: model {go: urgency}: it comes from Go, and this program brings no models; run the file with the program"},
		"runs elsewhere":     {triage, nil, []string{"copy"}, ""},
		"another is brought": {triage, Models{"mood": urgency()}, []string{"copy"}, ""},
		"is to run here":     {triage, Models{"mood": urgency()}, []string{"urgency"}, "triage.yaml:5:55: service urgency: model {go: urgency}: there is no such model; there are mood"},
		"nil":                {triage, Models{"urgency": nil}, nil, "triage.yaml:5:55: service urgency: model {go: urgency}: the model is nil"},
		"without a name":     {triage, Models{"urgency": model.JSON[int, int]("", nil)}, nil, "service urgency: model {go: urgency}: model.JSON: the model's name is empty; give it one"},
		"a built-in option":  {builtin, Models{"urgency": urgency()}, nil, "triage.yaml:6:76: service copy: option items: open none.yaml: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := pipeline.Parse("triage.yaml", []byte(c.yaml), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = New(t.Context(), open(t, vfs.NewMem()), p, Options{Models: c.models, Only: c.only})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAPipelineBuiltInGoRuns(t *testing.T) {
	models := Models{"urgency": urgency()}
	p, err := pipeline.New(pipeline.Pipeline{
		Name:     "small",
		Topics:   map[string]pipeline.Topic{"tickets": {Partitions: 1}},
		Services: map[string]pipeline.Service{"urgency": {From: pipeline.Names{"tickets"}, To: "urgencies", Model: pipeline.Model{Kind: "go", Argument: "urgency"}}},
		Gather:   map[string]pipeline.Gather{"desk": {Of: "tickets", From: []string{"urgencies"}, To: "desk"}},
	}, pipeline.WithKinds(models.Kinds()...))
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, vfs.NewMem())
	start(t, b, p, Options{Models: models})
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte(`{"text":"help!"}`)}); err != nil {
		t.Fatal(err)
	}
	if got := answers(t, b, "desk", 1); string(got[0].Parts["urgency"].Value) != `{"urgent":true}` {
		t.Errorf("%+v", got)
	}
}

// page is a model with a page of its own.
type page struct{ model.Model }

func (page) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }

func TestModelsMayHaveHandlers(t *testing.T) {
	a, err := New(t.Context(), open(t, vfs.NewMem()), load(t, triage), Options{
		Models: Models{"urgency": page{urgency()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	handlers := a.ModelHandlers()
	if len(handlers) != 1 || handlers["urgency"] == nil {
		t.Fatalf("%v", handlers)
	}
	w := httptest.NewRecorder()
	handlers["urgency"].ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusTeapot {
		t.Errorf("status %d", w.Code)
	}
}
