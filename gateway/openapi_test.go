// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/broker"
)

// trial is a request and what it meets.
type trial struct {
	path, contentType, body string
	host, token, key        string
	options                 Options
	broken                  error // of every call of the broker
	before                  func(*testing.T, *Gateway, *broker.Broker)
	send                    io.Reader // in place of body
}

// trials are, by operation and status, the requests that are answered so. What
// every operation refuses is made of those that it grants (status 200).
func trials() map[string]map[int]trial {
	refused := func() error { return errors.New("no") }
	large := `{"key":"` + strings.Repeat("x", maxOrderBytes) + `"}`
	stalled, _ := io.Pipe()
	impatient := Options{Idle: 20 * time.Millisecond}
	slow := Options{Scan: time.Nanosecond}
	unreadable := prometheus.NewRegistry()
	unreadable.MustRegister(failingCollector{})
	return map[string]map[int]trial{
		"publish": {
			200: {path: path + "?key=id&envelope=false&line=1", contentType: typeNDJSON, body: `{"id":1}`},
			403: {path: "/v1/topics/moods/records", contentType: typeJSON, body: "1"},
			404: {path: "/v1/topics/ticket/records", contentType: typeJSON, body: "1"},
			408: {path: path, contentType: typeNDJSON, send: stalled, options: impatient},
			413: {path: path, contentType: typeJSON, body: "[1,2]", options: Options{MaxBodyBytes: 4}},
			501: {path: path, contentType: typeJSON, body: "1", key: "k-1"},
			507: {path: path, contentType: typeJSON, body: "1", broken: broker.ErrFull},
		},
		"read": {
			200: {path: path + "?from=start&to=end&partition=0&follow=false&max=2"},
			404: {path: "/v1/topics/ticket/records"},
		},
		"topics": {200: {path: "/v1/topics"}},
		"groups": {200: {path: "/v1/groups"}},
		"group":  {200: {path: "/v1/groups/desk.mood"}, 404: {path: "/v1/groups/desk.moo"}},
		"seek": {
			200: {path: "/v1/groups/desk.mood/seek", contentType: typeJSON, body: `{"to":"start","topic":"tickets"}`},
			408: {path: "/v1/groups/desk.mood/seek", contentType: typeJSON, send: stalled, options: impatient},
			404: {path: "/v1/groups/desk.moo/seek", contentType: typeJSON, body: `{"to":"start"}`},
			409: {path: "/v1/groups/desk.mood/seek", contentType: typeJSON, body: `{"to":"start"}`, before: activate},
			413: {path: "/v1/groups/desk.mood/seek", contentType: typeJSON, body: large},
		},
		"timeline": {
			200: {path: "/v1/timeline/tickets/0/0?since=start"},
			504: {path: "/v1/timeline/T-1", options: slow},
		},
		"listDeadLetters": {
			200: {path: "/v1/dead?service=mood&letter=mood.dead/0/0&key=one&state=open&state=dropped&max=3"},
			404: {path: "/v1/dead?service=moo"},
			504: {path: "/v1/dead", options: slow},
		},
		"showDeadLetter": {
			200: {path: "/v1/dead/mood.dead/0/0"},
			404: {path: "/v1/dead/mood.dead/0/7"},
			504: {path: "/v1/dead/mood.dead/0/0", options: slow},
		},
		"retryDeadLetters": {
			200: {path: "/v1/dead/retry", contentType: typeJSON, body: `{"services":["mood"]}`, options: Options{Retry: echo}},
			404: {path: "/v1/dead/retry", contentType: typeJSON, body: `{"services":["moo"]}`, options: Options{Retry: echo}},
			409: {path: "/v1/dead/retry", contentType: typeJSON, body: `{}`},
			408: {path: "/v1/dead/retry", contentType: typeJSON, send: stalled, options: impatient},
			413: {path: "/v1/dead/retry", contentType: typeJSON, body: large},
		},
		"dropDeadLetters": {
			200: {path: "/v1/dead/drop", contentType: typeJSON, body: `{"letters":["mood.dead/0/0"],"key":"one"}`},
			404: {path: "/v1/dead/drop", contentType: typeJSON, body: `{"letters":["mood.dead/0/7"]}`},
			408: {path: "/v1/dead/drop", contentType: typeJSON, send: stalled, options: impatient},
			413: {path: "/v1/dead/drop", contentType: typeJSON, body: large},
		},
		"health": {200: {path: "/healthz"}, 503: {path: "/healthz", options: Options{Healthy: refused}}},
		"ready":  {200: {path: "/readyz"}, 503: {path: "/readyz", options: Options{Ready: refused}}},
		"metrics": {
			200: {path: "/metrics?name[]=millrace_http_requests_total"},
			500: {path: "/metrics", options: Options{Registry: unreadable}},
			503: {path: "/metrics", before: func(_ *testing.T, g *Gateway, _ *broker.Broker) { g.scrapes.TryAcquire(maxScrapes) }},
		},
		"describe": {200: {path: "/openapi.json"}},
	}
}

// failingCollector is a metric that cannot be collected.
type failingCollector struct{}

func (failingCollector) Describe(chan<- *prometheus.Desc) {}
func (failingCollector) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.NewInvalidMetric(prometheus.NewDesc("temperature", "Of the disk.", nil, nil), errors.New("disk on fire"))
}

// activate lets the group have a member until the test ends.
func activate(t *testing.T, _ *Gateway, b *broker.Broker) {
	c, err := b.Join(t.Context(), "desk.mood", broker.Start(), "tickets")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
}

// trialOf is the request that an operation should answer with a status.
func trialOf(id string, status int) (trial, bool) {
	if own, is := trials()[id][status]; is {
		return own, true
	}
	c := trials()[id][http.StatusOK]
	switch status {
	case http.StatusBadRequest:
		before, _, _ := strings.Cut(c.path, "?")
		c.path = before + "?nonsense=1"
	case http.StatusUnauthorized:
		c.options.Access = access()
	case http.StatusForbidden:
		c.options.Access, c.token = access(), "the-token-of-nobody"
	case http.StatusUnsupportedMediaType:
		c.contentType = "text/plain"
	case http.StatusMisdirectedRequest:
		c.host = "evil.example"
	case http.StatusInternalServerError:
		c.broken = errors.New("disk on fire")
	case http.StatusServiceUnavailable:
		c.broken = broker.ErrClosed
	default:
		return trial{}, false
	}
	return c, true
}

// faulty is a broker of which every call that a gateway makes fails.
type faulty struct {
	broker.Driver
	err error
}

func (f faulty) Append(context.Context, []broker.Record, []int32) ([]int64, error) {
	return nil, f.err
}
func (f faulty) Topics(context.Context) ([]broker.TopicInfo, error) { return nil, f.err }
func (f faulty) Groups(context.Context) ([]string, error)           { return nil, f.err }
func (f faulty) Lag(context.Context, string) ([]broker.Lag, error)  { return nil, f.err }

// desk is a broker with something of everything.
func desk(t *testing.T) *broker.Broker {
	t.Helper()
	b := deadDesk(t, "one")
	fill(t, b, 0, 3)
	c, err := b.Join(t.Context(), "desk.mood", broker.Start(), "tickets")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (c trial) answer(t *testing.T, method string) answer {
	t.Helper()
	b := desk(t)
	onto := b
	if c.broken != nil {
		onto = broker.New(faulty{b.Driver(), c.broken}, b.Options())
	}
	g, client := start(t, onto, c.options)
	if c.before != nil {
		c.before(t, g, b)
	}
	if c.send == nil {
		c.send = strings.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, client.Base+c.path, c.send)
	if err != nil {
		t.Fatal(err)
	}
	if c.key != "" {
		req.Header.Set("Idempotency-Key", c.key)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if req.Host = c.host; c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	resp, err := client.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if stalled, is := c.send.(io.Closer); is {
		defer stalled.Close()
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// served is the description that a gateway answers with, whose references lead
// to $defs, where JSON Schema has what it shares.
func served(t *testing.T) (d document) {
	t.Helper()
	_, client := start(t, openBroker(t, "tickets"), Options{})
	got := request(t, client, "GET", "/openapi.json", "", "")
	if err := json.Unmarshal([]byte(strings.ReplaceAll(got.body, components, "#/$defs/")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEveryOperationAnswersAsItIsDescribed(t *testing.T) {
	d := served(t)
	left := trials()
	for _, methods := range d.Paths {
		for method, o := range methods {
			for code, described := range o.Responses {
				var status int
				fmt.Sscan(code, &status)
				delete(left[o.ID], status)
				t.Run(o.ID+"/"+code, func(t *testing.T) {
					c, is := trialOf(o.ID, status)
					if !is {
						t.Fatal("no request is known that is answered so")
					}
					got := c.answer(t, strings.ToUpper(method))
					if got.status != status {
						t.Fatalf("%d %s", got.status, got.body)
					}
					validate(t, d.Components.Schemas, described, got)
					for name := range described.Headers {
						if got.header.Get(name) == "" {
							t.Errorf("no header %s", name)
						}
					}
				})
			}
		}
	}
	for id, more := range left {
		for status := range more {
			t.Errorf("%s answers %d, which is not described", id, status)
		}
	}
}

// validate holds a body, or each line of it, against its schema.
func validate(t *testing.T, shared map[string]shape, described response, got answer) {
	t.Helper()
	media, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
	content, is := described.Content[media]
	if !is {
		t.Fatalf("media type %q is not described", media)
	}
	bodies := []string{got.body}
	switch media {
	case typeNDJSON:
		bodies = strings.Split(strings.TrimSpace(got.body), "\n")
	case "text/plain":
		return
	}
	schema := content.Schema.CloneSchemas()
	schema.Defs = shared
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if err := resolved.Validate(v); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Fields that are not described could not be seen otherwise.
func TestABodyHasNoFieldsBesideThoseDescribed(t *testing.T) {
	d := served(t)
	for name, s := range d.Components.Schemas {
		if s.Type == "object" && s.AdditionalProperties == nil {
			s.AdditionalProperties = nothing()
		}
		for field, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s is not described", name, field)
			}
		}
	}
	for _, methods := range d.Paths {
		for method, o := range methods {
			if o.ID == "read" {
				continue // a line is one of two shapes
			}
			c, _ := trialOf(o.ID, http.StatusOK)
			validate(t, d.Components.Schemas, o.Responses["200"], c.answer(t, strings.ToUpper(method)))
		}
	}
}

var wildcard = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

func TestEveryRouteIsDescribed(t *testing.T) {
	d := served(t)
	seen := map[string]bool{}
	for _, r := range routes() {
		o := d.Paths[strings.ReplaceAll(r.path, "...", "")][strings.ToLower(r.method)]
		switch {
		case o == nil:
			t.Errorf("%s is not described", r.pattern())
			continue
		case o.ID == "" || seen[o.ID]:
			t.Errorf("%s has no name of its own: %q", r.pattern(), o.ID)
		case o.Summary == "" || o.Description == "" || r.answer.about == "" || r.example == "":
			t.Errorf("%s lacks a title, a description or an example", r.pattern())
		}
		seen[o.ID] = true
		var inPath, described []string
		for _, m := range wildcard.FindAllStringSubmatch(r.path, -1) {
			inPath = append(inPath, m[1])
		}
		for _, p := range o.Parameters {
			if p.Description == "" || p.Schema == nil {
				t.Errorf("%s: parameter %s is not described", r.pattern(), p.Name)
			}
			if p.In == "path" {
				described = append(described, p.Name)
			}
		}
		if !slices.Equal(inPath, described) {
			t.Errorf("%s: the path has %v, described are %v", r.pattern(), inPath, described)
		}
		for status, when := range r.refusals() {
			if when == "" {
				t.Errorf("%s: why %d?", r.pattern(), status)
			}
		}
	}
}

func TestWhatIsNoRouteIsRefusedInTheShapeOfAllErrors(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets"), Options{})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "/v1/topic", 404, ""},
		{"POST", "/v2/dead/drop", 404, ""},
		{"DELETE", path, 405, "GET, HEAD, POST"},
		{"POST", "/healthz", 405, "GET, HEAD"},
	} {
		got := request(t, client, c.method, c.path, "", "")
		if got.status != c.status || got.header.Get("Allow") != c.allow || message(t, got) != "there is no "+c.method+" "+c.path {
			t.Errorf("%s %s: %d (Allow: %s) %s", c.method, c.path, got.status, got.header.Get("Allow"), got.body)
		}
		if got.header.Get("Content-Type") != typeJSON {
			t.Errorf("%s %s: %v", c.method, c.path, got.header)
		}
	}
}

func TestParametersThatDoNotExistAreRefusedNamingThoseThatDo(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets"), Options{})
	for target, want := range map[string]string{
		path + "?form=end":            `{"error":"there is no query parameter \"form\": there are from, to, partition, follow, max","hint":"did you mean from?"}`,
		"/v1/topics?all=true":         `{"error":"there is no query parameter \"all\": this request takes none"}`,
		path + "?max=1&max=2":         `{"error":"max is given 2 times"}`,
		path + "?max=&from=":          "",
		"/v1/dead?max=5&state=%zz":    `{"error":"the query cannot be read: invalid URL escape \"%zz\"","hint":"escape the values of parameters"}`,
		"/v1/dead?max=99999999999":    `{"error":"max=99999999999: write a number from 1 to 10000"}`,
		"/v1/timeline/T-1?since=soon": `{"error":"since: position \"soon\": write start, end, an offset (1234), a time (2026-01-31T12:00:00Z) or an age (24h, 7d)"}`,
	} {
		got := request(t, client, "GET", target, "", "")
		if got.body != want || (got.status == 400) != (want != "") {
			t.Errorf("%s: %d %s", target, got.status, got.body)
		}
	}
}

func TestAGatewayIsNotMadeOfWhatCannotBeMeant(t *testing.T) {
	b := openBroker(t, "tickets")
	if _, err := New(nil, Options{}); err == nil || !strings.Contains(err.Error(), "broker is nil") {
		t.Errorf("without a broker: %v", err)
	}
	if _, err := New(b, Options{MaxReaders: -1}); err == nil || !strings.Contains(err.Error(), "Options.MaxReaders is negative (-1)") {
		t.Errorf("less than no readers: %v", err)
	}
	registry := prometheus.NewRegistry()
	if _, err := New(b, Options{Registry: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(b, Options{Registry: registry}); err == nil || !strings.Contains(err.Error(), "register the gateway's metrics") {
		t.Errorf("a second one on a registry: %v", err)
	}
}
