// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func watchRoutes() []route {
	well := content{typeJSON, &jsonschema.Schema{
		Type:       "object",
		Properties: map[string]*jsonschema.Schema{"status": {Type: "string", Enum: []any{"ok"}}},
		Required:   []string{"status"},
	}, "All is well."}
	return []route{{
		method: "GET", path: "/healthz", id: "health", title: "Is it healthy?",
		about:  "Whether all that runs makes progress. A process that is not healthy for long should be started anew.",
		answer: well, errors: map[int]string{http.StatusServiceUnavailable: "It is not; the error says what stands still."},
		example: `curl -sf http://127.0.0.1:8088/healthz`,
		handle:  (*Gateway).healthy,
	}, {
		method: "GET", path: "/readyz", id: "ready", title: "Is it ready?",
		about:  "Whether it answers what is published: the broker was reached, every service runs, none waits for its model, and the process is not about to stop.",
		answer: well, errors: map[int]string{http.StatusServiceUnavailable: "It is not; the error says what is missing."},
		example: `curl -sf http://127.0.0.1:8088/readyz`,
		handle:  (*Gateway).ready,
	}, {
		method: "GET", path: "/metrics", id: "metrics", title: "Metrics for Prometheus", right: mayRead, everything: true,
		about:  "Counters and latencies of the services, the gathers, the HTTP interface and the process. Prometheus chooses the format by the header Accept.",
		params: []param{textParam("name[]", "Only the metrics of this name.").many()},
		answer: content{"text/plain", &jsonschema.Schema{Type: "string"}, "The text format of Prometheus."},
		errors: map[int]string{
			http.StatusInternalServerError: "A metric cannot be collected.",
			http.StatusServiceUnavailable:  "Four requests collect metrics already.",
		},
		example: `curl -sf http://127.0.0.1:8088/metrics`,
		handle:  (*Gateway).showMetrics,
	}}
}

// Starting answers for a process that has no gateway yet, as it waits for its broker
// or loads its models: it is healthy, and everything else is refused with status 503.
func Starting() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			_ = check(w, nil) // which does not fail
			return
		}
		writeError(w, refuse(http.StatusServiceUnavailable, "try again later", "the process has just started and is not ready"))
	})
}

// Probes are health, readiness and metrics alone, for those who have no token: what
// starts and stops the process, and what measures it. They are answered whatever
// the Host header says.
func (g *Gateway) Probes() http.Handler {
	probes := watchRoutes()
	for i := range probes {
		probes[i].right, probes[i].everything, probes[i].open = "", false, true
	}
	return g.guard(g.mux(probes), false)
}

func (g *Gateway) healthy(w http.ResponseWriter, _ *call) error { return check(w, g.o.Healthy) }

func (g *Gateway) ready(w http.ResponseWriter, _ *call) error {
	if g.draining.Load() {
		return errDraining
	}
	return check(w, g.o.Ready)
}

func check(w http.ResponseWriter, f func() error) error {
	if f != nil {
		if err := f(); err != nil {
			return &Error{Status: http.StatusServiceUnavailable, Message: err.Error()}
		}
	}
	return writeJSON(w, map[string]string{"status": "ok"})
}

// maxScrapes bounds the requests that collect metrics at once.
const maxScrapes = 4

func (g *Gateway) showMetrics(w http.ResponseWriter, r *call) error {
	if !g.scrapes.TryAcquire(1) {
		return refuse(http.StatusServiceUnavailable, "try again later", "%d requests collect metrics already", maxScrapes)
	}
	defer g.scrapes.Release(1)
	all, err := g.o.Registry.Gather()
	if err != nil {
		return err
	}
	promhttp.HandlerFor(prometheus.GathererFunc(already(all)), promhttp.HandlerOpts{}).ServeHTTP(w, r.Request)
	return nil
}

// already returns what was made before, so that an error of making it could be
// answered in the shape of all errors.
func already[T any](made T) func() (T, error) { return func() (T, error) { return made, nil } }
