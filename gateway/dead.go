// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace-ml/millrace/deadletter"
)

// defaultDeadList is how many dead letters are listed unless more are asked for.
const defaultDeadList = 100

// DeadLetter is a dead letter in full.
type DeadLetter struct {
	deadletter.Letter
	Stack string `json:"stack,omitempty" jsonschema:"of the panic, if it was one"`

	// Original is the record that failed, as it came, with its place and without
	// its time. Cut says that its value was too large for a letter and is no
	// longer kept where it stood.
	Original Record `json:"original" jsonschema:"the record that failed, as it came, without its time"`
	Cut      bool   `json:"cut,omitempty" jsonschema:"the record's value was too large for a letter and is no longer kept where it stood"`
}

func deadRoutes() []route {
	id := pathParam("letter", "Where the letter stands (`sentiment.dead/3/17`); its slashes may stay as they are.")
	unknown := map[int]string{
		http.StatusNotFound:       "There is no such service or letter.",
		http.StatusGatewayTimeout: tooLong,
	}
	return []route{{
		method: "GET", path: "/v1/dead", id: "listDeadLetters", title: "List dead letters", right: mayRead,
		about: "Records on which a model failed, newest first. A letter is open until it is retried or dropped.",
		params: []param{
			textParam("service", "Only letters of this service.").many(),
			textParam("letter", "Only the letter with this id.").many(),
			textParam("key", "Only letters of records with this key."),
			choiceParam("state", "Only letters in this state.", string(deadletter.Open), string(deadletter.Retried), string(deadletter.Dropped)),
			numberParam("max", 1, deadletter.MaxList, defaultDeadList, "At most so many letters."),
		},
		answer:  content{typeJSON, of[deadletter.Listing](), "The newest letters, and how many there are."},
		errors:  askingBroker(unknown),
		example: `curl -sf 'http://127.0.0.1:8088/v1/dead?service=sentiment&state=open'`,
		handle:  (*Gateway).listDead,
	}, {
		method: "GET", path: "/v1/dead/{letter...}", id: "showDeadLetter", title: "Show a dead letter", right: mayRead,
		about:   "One dead letter with the record on which the model failed, as it came.",
		params:  []param{id},
		answer:  content{typeJSON, of[DeadLetter](), "The letter."},
		errors:  askingBroker(unknown),
		example: `curl -sf http://127.0.0.1:8088/v1/dead/sentiment.dead/0/0`,
		handle:  (*Gateway).showDead,
	}, decisionRoute("retry", "retryDeadLetters", "Try dead letters again",
		"Predicts again on open letters, with the models that run here. An answer goes where it would have gone at first; a model that fails again gives another letter.",
		map[int]string{http.StatusConflict: "The models are not known here: the process was given no pipeline file."},
		(*Gateway).retryDead,
	), decisionRoute("drop", "dropDeadLetters", "Drop dead letters",
		"Marks open letters as dropped. They stay where they are until their topic's retention deletes them.",
		nil, (*Gateway).dropDead,
	)}
}

// decisionRoute is a decision on dead letters: each is retried or dropped once.
func decisionRoute(verb, id, title, about string, errors map[int]string, decide decision) route {
	all := map[int]string{
		http.StatusBadRequest:            "The body is not one object as described, or a field of it is null or empty.",
		http.StatusNotFound:              "There is no such service or letter.",
		http.StatusRequestTimeout:        bodyStopped,
		http.StatusRequestEntityTooLarge: "The body has more than 1 MiB.",
	}
	maps.Copy(all, errors)
	return route{
		method: "POST", path: "/v1/dead/" + verb, id: id, title: title, right: mayAdmin,
		about:  about + " It ends with the process; what was not decided then stays open, and the request can simply be sent again.",
		body:   []content{{typeJSON, of[deadletter.Selection](), "Which letters: those that are every one of what is said; `{}` means all open ones. No field may be null or empty."}},
		answer: content{typeJSON, listOf[deadletter.Done](), "What was done, by service."},
		errors: askingBroker(all),
		example: `curl -sf -H 'Content-Type: application/json' -d '{"services": ["sentiment"]}' \
  http://127.0.0.1:8088/v1/dead/` + verb,
		handle: func(g *Gateway, w http.ResponseWriter, r *call) error { return g.decideDead(w, r, decide) },
	}
}

func (g *Gateway) listDead(w http.ResponseWriter, r *call) error {
	var states []deadletter.State
	for _, s := range arg[[]string](r, "state") {
		states = append(states, deadletter.State(s))
	}
	selection := deadletter.Selection{
		Services: arg[[]string](r, "service"), Letters: arg[[]string](r, "letter"), Key: arg[string](r, "key"),
	}
	if err := r.narrow(&selection); err != nil {
		return err
	}
	most := arg[int](r, "max")
	var list deadletter.Listing
	held, err := g.look(r, most, func(ctx context.Context) (err error) {
		list, err = g.letters.List(ctx, selection, most, states...)
		return err
	})
	if err != nil {
		return unknownDead(err)
	}
	defer held.close()
	return g.writeLarge(w, r, held, list)
}

func (g *Gateway) showDead(w http.ResponseWriter, r *call) error {
	id := r.PathValue("letter")
	if err := r.checkLetter(id); err != nil {
		return err
	}
	var letter DeadLetter
	held, err := g.look(r, 1, func(ctx context.Context) error {
		found, inner, err := g.letters.Find(ctx, id)
		letter = DeadLetter{Letter: found, Stack: inner.Stack, Original: NewRecord(&inner.Record), Cut: inner.Cut}
		return err
	})
	if err != nil {
		return unknownDead(err)
	}
	defer held.close()
	return g.writeLarge(w, r, held, letter)
}

// decision is what can be done with dead letters.
type decision func(*Gateway, context.Context, deadletter.Selection) ([]deadletter.Done, error)

// decideDead handles a decision on letters. It ends with the gateway; what was
// not decided then stays open.
func (g *Gateway) decideDead(w http.ResponseWriter, r *call, decide decision) error {
	if g.draining.Load() {
		return errDraining
	}
	var s deadletter.Selection
	const hint = `send {"services": ["sentiment"]}, {"letters": ["sentiment.dead/0/0"]}, or {} for all`
	if err := g.order(w, r, &s, hint); err != nil {
		return err
	}
	if err := s.Check(); err != nil { // before the token's services are put in its place
		return refuse(http.StatusBadRequest, hint, "%v", err)
	}
	if err := r.narrow(&s); err != nil {
		return err
	}
	held, err := g.orders.admit(r.Context(), r.client, lookBytes(&g.o, 0))
	if err != nil {
		return err
	}
	defer held.close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.ended, cancel)()
	done, err := decide(g, ctx, s)
	if err != nil && g.ended.Err() != nil {
		return errDraining
	}
	if err != nil {
		return unknownDead(err)
	}
	return writeJSON(w, done)
}

func (g *Gateway) retryDead(ctx context.Context, s deadletter.Selection) ([]deadletter.Done, error) {
	if g.o.Retry == nil {
		return nil, refuse(http.StatusConflict, "name the pipeline file with -p", "letters cannot be tried again without their pipeline's models")
	}
	return g.letters.Retry(ctx, s, g.o.Retry)
}

func (g *Gateway) dropDead(ctx context.Context, s deadletter.Selection) ([]deadletter.Done, error) {
	return g.letters.Drop(ctx, s)
}

func unknownDead(err error) error {
	var unknown *deadletter.UnknownError
	switch {
	case !errors.As(err, &unknown):
		return err
	case unknown.What == "service":
		return refuse(http.StatusNotFound, among(unknown.Name, unknown.Known, "service"), "%v", err)
	}
	return refuse(http.StatusNotFound, "millrace dead list tells the letters' ids, such as sentiment.dead/3/17", "%v", err)
}

// DeadLetters lists the newest dead letters of a selection, at most that many (0:
// 100), in the states given (none: any).
func (c *Client) DeadLetters(ctx context.Context, s deadletter.Selection, most int, states ...deadletter.State) (list deadletter.Listing, err error) {
	if err := s.Check(); err != nil { // a query cannot say that a list is empty
		return deadletter.Listing{}, err
	}
	q := url.Values{"service": s.Services, "letter": s.Letters}
	if s.Key != "" {
		q.Set("key", s.Key)
	}
	if most > 0 {
		q.Set("max", strconv.Itoa(most))
	}
	for _, state := range states {
		q.Add("state", string(state))
	}
	return list, c.ask(ctx, q, &list, "dead")
}

// DeadLetter returns one dead letter in full.
func (c *Client) DeadLetter(ctx context.Context, id string) (letter DeadLetter, err error) {
	return letter, c.get(ctx, &letter, "dead", id)
}

// RetryDead tries the open letters of a selection again.
func (c *Client) RetryDead(ctx context.Context, s deadletter.Selection) (done []deadletter.Done, err error) {
	return done, c.post(ctx, s, &done, "dead", "retry")
}

// DropDead marks the open letters of a selection as dropped.
func (c *Client) DropDead(ctx context.Context, s deadletter.Selection) (done []deadletter.Done, err error) {
	return done, c.post(ctx, s, &done, "dead", "drop")
}
