// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/spelling"
)

// Error is what a request is refused with, and what [Client] returns then.
type Error struct {
	Status  int    `json:"-"` // of HTTP
	Message string `json:"error" jsonschema:"what is wrong, and where"`
	Hint    string `json:"hint,omitempty" jsonschema:"what to do"`

	Published int `json:"published,omitempty" jsonschema:"how many of the request's records are durable all the same"`
	Line      int `json:"line,omitempty" jsonschema:"the line of NDJSON that is at fault, from 1"`
}

func (e *Error) Error() string { return e.Message }

func refuse(status int, hint, format string, args ...any) *Error {
	return &Error{Status: status, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

var errDraining = &Error{
	Status:  http.StatusServiceUnavailable,
	Message: "the process is about to stop and takes no records",
	Hint:    "publish again when it runs again",
}

// explain makes an answer of what a handler returned.
func explain(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Message: err.Error(), Status: http.StatusInternalServerError}
	switch {
	case errors.Is(err, broker.ErrTooLarge):
		e.Status = http.StatusRequestEntityTooLarge
	case errors.Is(err, broker.ErrUnknownTopic):
		e.Status = http.StatusNotFound
	case errors.Is(err, broker.ErrFull):
		e.Status = http.StatusInsufficientStorage
		e.Hint = "make room on the disk or shorten the topics' retention; it goes on by itself"
	case errors.Is(err, broker.ErrClosed):
		e.Status = http.StatusServiceUnavailable
		e.Hint = errDraining.Hint
	case errors.Is(err, context.DeadlineExceeded):
		e.Status = http.StatusServiceUnavailable
	}
	return e
}

// unknownTopic tells which topics there are.
func (g *Gateway) unknownTopic(ctx context.Context, name string) error {
	topics, err := g.b.Topics(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	return refuse(http.StatusNotFound, among(name, names, "topic"), "there is no topic %q", name)
}

// among is a hint for a name that does not exist.
func among(name string, names []string, what string) string {
	if best, ok := spelling.Nearest(name, names); ok {
		return fmt.Sprintf("did you mean %s?", best)
	}
	if len(names) == 0 {
		return fmt.Sprintf("there is no %s yet", what)
	}
	const most = 20
	if len(names) > most {
		return fmt.Sprintf("the %ss are %s and %d more", what, strings.Join(names[:most], ", "), len(names)-most)
	}
	return fmt.Sprintf("the %ss are %s", what, strings.Join(names, ", "))
}
