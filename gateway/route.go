// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is one operation of the interface. The mux is made from the routes, and
// so is their description ([OpenAPI]); each stands beside its handler.
type route struct {
	method, path string // the pattern of [http.ServeMux]
	id           string // what generated clients call it
	title        string // one line, without a full stop
	about        string // Markdown
	right        right  // what a token has to allow, where tokens are asked for
	everything   bool   // it shows all topics and services: not for tokens that are limited to some
	open         bool   // nobody is asked for a token
	params       []param
	body         []content // by media type, the first one preferred; none: no body is read
	answer       content
	errors       map[int]string // status: when it is refused with it, beside what every route refuses
	example      string         // commands of a shell, which the documentation's test runs
	handle       func(*Gateway, http.ResponseWriter, *call) error
}

// content is what a body holds.
type content struct {
	media string
	shape shape
	about string
}

func (r *route) pattern() string { return r.method + " " + r.path }

// routes are all there are, in the order in which a reader wants to see them.
func routes() []route {
	return slices.Concat(
		[]route{publishRoute(), readRoute()},
		describeRoutes(),
		[]route{seekRoute(), timelineRoute()},
		deadRoutes(),
		watchRoutes(),
		[]route{openapiRoute()},
	)
}

// askingBroker adds what a route refuses that asks the broker.
func askingBroker(errors map[int]string) map[int]string {
	all := map[int]string{
		http.StatusInternalServerError: "The broker failed, or there is a fault in Millrace; the log has the details.",
		http.StatusServiceUnavailable:  "The broker is closed or out of reach, or too many requests run at once.",
	}
	for status, when := range errors {
		all[status] = when
	}
	return all
}

// refusals are the statuses a route may refuse a request with, and when.
func (r *route) refusals() map[int]string {
	all := map[int]string{
		http.StatusBadRequest:         "A query parameter is unknown, repeated or cannot be read.",
		http.StatusUnauthorized:       "Where tokens are asked for: there is none, or an unknown one.",
		http.StatusMisdirectedRequest: "No tokens are asked for, and the Host header is not a name of this machine's loopback.",
	}
	if r.right != "" {
		all[http.StatusForbidden] = "Where tokens are asked for: the token lacks the right, or is limited to other topics or services."
	}
	if len(r.body) > 0 {
		all[http.StatusUnsupportedMediaType] = "The Content-Type is not one of those listed."
	}
	for status, when := range r.errors {
		all[status] = strings.TrimSpace(all[status] + " " + when)
	}
	return all
}

// call is a request with what was checked by its route's description.
type call struct {
	*http.Request
	who    *grant         // whose token it has
	client string         // who shares memory with nobody: the token's name, or the address
	args   map[string]any // of the query, by name: every parameter that the route has
	media  string         // of the body
}

// admit finds out who sends a request and whether they may.
func (g *Gateway) admit(q *http.Request, r *route) (*grant, error) {
	if r.open {
		return anyone, nil
	}
	who, err := g.o.Access.who(q)
	if err != nil {
		return nil, err
	}
	return who, who.checkRight(r)
}

// check reads what a route's description speaks of, and refuses what it does not.
func (r *route) check(q *http.Request, who *grant) (*call, error) {
	query, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "escape the values of parameters", "the query cannot be read: %v", err)
	}
	args, err := readArgs(r.params, query)
	if err != nil {
		return nil, err
	}
	media, err := r.mediaType(q)
	if err != nil {
		return nil, err
	}
	client := clientOf(q)
	if who.name != "" {
		client = who.name
	}
	return &call{Request: q, who: who, client: client, args: args, media: media}, nil
}

// mediaType is that of the body. Types that are not listed are refused: a page of
// another origin can send text or a form without asking, but not JSON (Fetch
// standard, "CORS-safelisted request-header").
func (r *route) mediaType(q *http.Request) (string, error) {
	if len(r.body) == 0 {
		return "", nil
	}
	header := q.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(header)
	var names []string
	for _, c := range r.body {
		if err == nil && media == c.media {
			return media, nil
		}
		names = append(names, c.media)
	}
	return "", refuse(http.StatusUnsupportedMediaType, "send the header Content-Type: "+strings.Join(names, " or "), "content type %q is not JSON", header)
}

// mux serves the routes. What is none of them gets an error like any other.
func (g *Gateway) mux(routes []route) http.Handler {
	mux := http.NewServeMux()
	for i := range routes {
		route := &routes[i]
		mux.HandleFunc(route.pattern(), func(w http.ResponseWriter, q *http.Request) { g.serve(w, q, route) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, pattern := mux.Handler(q); pattern != "" {
			mux.ServeHTTP(w, q)
			return
		}
		refusal := &statusOnly{header: w.Header()} // the mux knows whether it is the path or the method, and names the methods
		mux.ServeHTTP(refusal, q)
		writeError(w, &Error{
			Status:  cmp.Or(refusal.status, http.StatusNotFound),
			Message: fmt.Sprintf("there is no %s %s", q.Method, q.URL.Path),
			Hint:    "GET /openapi.json describes what there is",
		})
	})
}

// statusOnly keeps the status of an answer and drops its body.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

// serve runs a route's handler and answers with its error.
func (g *Gateway) serve(w http.ResponseWriter, q *http.Request, route *route) {
	status := http.StatusOK
	who, err := g.admit(q, route)
	var checked *call
	if err == nil {
		checked, err = route.check(q, who)
	}
	if err == nil {
		err = route.handle(g, w, checked)
	}
	if err != nil {
		e := explain(err)
		if ended := q.Context().Err(); ended != nil && (e.Status >= 500 || errors.Is(err, ended)) {
			return // the client has gone, and what failed is a consequence
		}
		status = e.Status
		// A probe asks again and again, and what it asks about logs itself.
		if status >= 500 && !route.open || status == http.StatusForbidden && len(who.logged()) > 0 {
			g.o.Logger.Warn("request refused", append([]any{"route", route.pattern(), "status", status, "error", e.Message}, who.logged()...)...)
		}
		if status == http.StatusUnauthorized {
			g.strangers.refused(q, route, e)
		}
		writeError(w, e)
	}
	if err == nil && route.right == mayAdmin {
		g.o.Logger.Info("order carried out", append([]any{"route", route.pattern(), "path", q.URL.Path}, who.logged()...)...)
	}
	g.metrics.request(route.pattern(), status)
}

// logged is the name of who asked, for the log; nothing where nobody is asked.
func (g *grant) logged() []any {
	if g == nil || g.name == "" {
		return nil
	}
	return []any{"client", g.name}
}
