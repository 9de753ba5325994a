// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
)

// one is a pipeline of one service with a model of Go's.
const one = `
name: one
topics: {tickets: {partitions: 1}}
services:
  mood: {from: tickets, to: moods, model: {builtin: identity}, timeout: 1s, retry: {backoff: 1ms}}
`

type function func(ctx context.Context, items []model.Item) ([]model.Answer, error)

func (function) Name() string { return "function@1" }

func (f function) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	return f(ctx, items)
}

func with(m model.Model) func(string, pipeline.Model) (model.Model, error) {
	return func(string, pipeline.Model) (model.Model, error) { return m, nil }
}

// shows waits until the app's metrics have a line.
func shows(t *testing.T, a *App, line string) {
	t.Helper()
	until(t, line, func() bool {
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))
		body, _ := io.ReadAll(w.Body)
		return strings.Contains(string(body), line)
	})
}

// Who waits for its model is alive, however long, and not ready; everybody can see
// it.
func TestAServiceThatWaitsForItsModelIsHealthyAndNotReady(t *testing.T) {
	b := open(t, vfs.NewMem())
	var there atomic.Bool
	m := function(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		if !there.Load() {
			return nil, model.Unavailable(errors.New("connection refused"))
		}
		return identityModel{}.Predict(ctx, items)
	})
	a, stop := start(t, b, load(t, one), Options{Model: with(m), Stall: time.Millisecond})
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	until(t, "it to wait", func() bool {
		err := a.Ready()
		return err != nil && strings.HasPrefix(err.Error(), "mood waits for its model since 2") && strings.HasSuffix(err.Error(), ": connection refused")
	})
	s := a.Status()[0]
	if s.AwaySince.IsZero() || s.Away != "connection refused" || s.Failed != 0 {
		t.Errorf("the status is %+v", s)
	}
	until(t, "a look at its lag", func() bool { return a.Status()[0].Lag == 1 })
	if err := a.Healthy(); err != nil {
		t.Errorf("it is unhealthy: %v", err)
	}
	until(t, "the metric", func() bool {
		shows(t, a, `millrace_model_away_seconds{service="mood"} `)
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))
		return !strings.Contains(w.Body.String(), `millrace_model_away_seconds{service="mood"} 0`+"\n")
	})
	there.Store(true)
	until(t, "it to be ready", func() bool { return a.Ready() == nil && a.Status()[0].Values == 1 })
	shows(t, a, `millrace_model_away_seconds{service="mood"} 0`+"\n")
	stop()
}

// Who is stuck in a model that hangs may be helped by a new process.
func TestAServiceThatIsStuckIsUnhealthyUntilItsCallsReturn(t *testing.T) {
	b := open(t, vfs.NewMem())
	release := make(chan struct{})
	m := function(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		<-release
		return identityModel{}.Predict(ctx, items)
	})
	p := load(t, strings.Replace(one, "timeout: 1s", "timeout: 10ms", 1))
	a, stop := start(t, b, p, Options{Model: with(m)})
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	until(t, "it to be stuck", func() bool {
		err := a.Healthy()
		return err != nil && err.Error() == "mood: stuck: 2 calls of the model are past their time and do not return"
	})
	shows(t, a, `millrace_abandoned_calls{service="mood"} 2`)
	close(release)
	until(t, "it to be well", func() bool { return a.Healthy() == nil && a.Status()[0].Values == 1 })
	until(t, "the late answers", func() bool { return a.Status()[0].Late >= 2 && a.Status()[0].Abandoned == 0 })
	shows(t, a, fmt.Sprintf(`millrace_late_answers_total{service="mood"} %d`, a.Status()[0].Late))
	stop()
}

// Run returns in time though no call of the model ever does.
func TestAModelThatHangsDoesNotKeepRunFromReturning(t *testing.T) {
	b := open(t, vfs.NewMem())
	begun, release := make(chan struct{}, 9), make(chan struct{})
	defer close(release)
	m := function(func(context.Context, []model.Item) ([]model.Answer, error) {
		begun <- struct{}{}
		<-release
		return nil, errors.New("at last")
	})
	_, stop := start(t, b, load(t, one), Options{Model: with(m), Grace: 10 * time.Millisecond})
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
}
