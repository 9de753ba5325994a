// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/deadletter"
)

// defaultDeadList is how many dead letters are listed unless more are asked for.
const defaultDeadList = 100

// DeadLetter is a dead letter in full.
type DeadLetter struct {
	deadletter.Letter
	Stack string `json:"stack,omitempty"` // of the panic, if it was one

	// Original is the record that failed, as it came, with its place and without
	// its time. Cut says that its value was too large for a letter and is no
	// longer kept where it stood.
	Original Record `json:"original"`
	Cut      bool   `json:"cut,omitempty"`
}

// listDead is GET /v1/dead?service=…&letter=…&key=…&state=…&max=…
func (g *Gateway) listDead(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	most := defaultDeadList
	if text := q.Get("max"); text != "" {
		var err error
		if most, err = strconv.Atoi(text); err != nil || most < 1 || most > deadletter.MaxList {
			return refuse(http.StatusBadRequest, "", "max=%s: write a number from 1 to %d", text, deadletter.MaxList)
		}
	}
	var states []deadletter.State
	for _, text := range q["state"] {
		if !slices.Contains([]deadletter.State{deadletter.Open, deadletter.Retried, deadletter.Dropped}, deadletter.State(text)) {
			return refuse(http.StatusBadRequest, "", "state=%s: use open, retried or dropped", text)
		}
		states = append(states, deadletter.State(text))
	}
	release, err := g.admit(r.Context(), streamBytes(g.o.MaxRecordBytes))
	if err != nil {
		return err
	}
	defer release()
	list, err := g.office.List(r.Context(), deadletter.Selection{Services: q["service"], Letters: q["letter"], Key: q.Get("key")}, most, states...)
	if err != nil {
		return unknownDead(err)
	}
	return writeJSON(w, list)
}

// showDead is GET /v1/dead/sentiment.dead/3/17.
func (g *Gateway) showDead(w http.ResponseWriter, r *http.Request) error {
	release, err := g.admit(r.Context(), streamBytes(g.o.MaxRecordBytes))
	if err != nil {
		return err
	}
	defer release()
	letter, inner, err := g.office.Find(r.Context(), r.PathValue("letter"))
	if err != nil {
		return unknownDead(err)
	}
	return writeJSON(w, DeadLetter{Letter: letter, Stack: inner.Stack, Original: NewRecord(&inner.Record), Cut: inner.Cut})
}

// decideDead handles a decision on letters. It ends with the gateway; what was
// not decided then stays open.
func (g *Gateway) decideDead(decide func(context.Context, deadletter.Selection) ([]deadletter.Done, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if g.draining.Load() {
			return errDraining
		}
		var s deadletter.Selection
		if err := order(w, r, &s, `send {"services": ["sentiment"]}, {"letters": ["sentiment.dead/0/0"]}, or {} for all`); err != nil {
			return err
		}
		release, err := g.admit(r.Context(), streamBytes(g.o.MaxRecordBytes))
		if err != nil {
			return err
		}
		defer release()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(g.ended, cancel)()
		done, err := decide(ctx, s)
		if err != nil && g.ended.Err() != nil {
			return errDraining
		}
		if err != nil {
			return unknownDead(err)
		}
		return writeJSON(w, done)
	}
}

func (g *Gateway) retryDead(ctx context.Context, s deadletter.Selection) ([]deadletter.Done, error) {
	if g.o.Retry == nil {
		return nil, refuse(http.StatusConflict, "name the pipeline file with -p", "letters cannot be tried again without their pipeline's models")
	}
	return g.office.Retry(ctx, s, g.o.Retry)
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
