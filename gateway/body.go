// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/internal/jsontext"
)

const (
	// firstBytes is what is made ready for a body before anything of it has come.
	firstBytes = 4 << 10

	// leastRate is how many bytes a second a body must come with on average, after
	// the time that a client may send nothing, if it is kept until it is whole.
	leastRate = 16 << 10

	// maxOrderBytes bounds the body of a request that orders something.
	maxOrderBytes = 1 << 20
)

// body is what a request sends. Each of its bytes comes in time or never: without
// a deadline a client could hold its request for ever, also one whose body nobody
// wants, as the server reads what is left of it.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	ended   bool
}

// limitBody puts the deadlines on a request's body, if it has one.
func (g *Gateway) limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), idle: g.o.Idle}
	b.until(time.Now().Add(b.idle))
	r.Body = b
}

// until sets the deadline. Not every connection has one.
func (b *body) until(t time.Time) { _ = b.control.SetReadDeadline(t) }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if !b.ended {
		b.until(time.Now().Add(b.idle))
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !b.ended {
		b.ended = true
		if errors.Is(err, io.EOF) {
			// The server waits for the client's end from here on, and a deadline
			// would be taken for it.
			b.until(time.Time{})
		}
	}
	return n, err
}

// whole reads a body of at most limit bytes. Memory is taken for what has come, not
// for what was announced, and stays with the account.
func whole(w http.ResponseWriter, r *http.Request, held *account, limit int64, idle time.Duration, hint string) ([]byte, error) {
	tooLarge := refuse(http.StatusRequestEntityTooLarge, hint, "the body has more than %d bytes", limit)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	most := limit
	if r.ContentLength >= 0 {
		most = r.ContentLength
	}
	in := http.MaxBytesReader(w, r.Body, limit)
	begun := time.Now()
	var all []byte
	for {
		if len(all) == cap(all) {
			larger := min(max(firstBytes, 2*int64(cap(all))), most+1) // one more shows the end
			asked := time.Now()
			if err := held.grow(r.Context(), larger); err != nil {
				return nil, err
			}
			begun = begun.Add(time.Since(asked)) // that was not the client's time
			grown := make([]byte, len(all), larger)
			copy(grown, all)
			held.shrink(int64(cap(all)))
			all = grown
		}
		n, err := in.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case errors.As(err, new(*http.MaxBytesError)):
			return nil, tooLarge
		case err != nil:
			return nil, readFault(err)
		case time.Since(begun) > idle+time.Duration(len(all))*time.Second/leastRate:
			return nil, errStalled
		}
	}
}

// bodyStopped is what a route refuses that reads a body.
const bodyStopped = "The body stopped to come."

var errStalled = refuse(http.StatusRequestTimeout, "send the body without pauses", "the body stopped to come")

// readFault makes an answer of an error of reading the body.
func readFault(err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStalled
	}
	return refuse(http.StatusBadRequest, "", "the body ends before its end: %v", err)
}

// order reads the body of a request that changes something: one JSON object, and
// nothing after it.
func (g *Gateway) order(w http.ResponseWriter, r *call, into any, hint string) error {
	held := g.looks.open(r.client)
	defer held.close()
	b, err := whole(w, r.Request, held, maxOrderBytes, g.o.Idle, "do it in several requests")
	if err != nil {
		return err
	}
	b = bytes.TrimPrefix(b, byteOrderMark)
	if f := jsontext.Check(b, jsontext.IntakeDepth); f != nil {
		return refuse(http.StatusBadRequest, hint, "the request is %v", f)
	}
	if kind := jsontext.Kind(b); kind != "object" {
		return refuse(http.StatusBadRequest, hint, "the request is no object but of the type %s", kind)
	}
	if err := strict(b, into); err != nil {
		return refuse(http.StatusBadRequest, hint, "the request is not as it should be: %v", err)
	}
	return given(b, hint)
}

// given refuses fields of an order that are there without a value. The decoder takes
// them for fields that were left out, and those mean everything: all letters, all
// topics.
func given(b []byte, hint string) error {
	for m := jsontext.MembersOf(b); m.Next(); {
		if v := string(m.Value()); v == "null" || v == `""` {
			return refuse(http.StatusBadRequest, hint, "the field %q is %s: leave it out, or give it a value", m.Name(), v)
		}
	}
	return nil
}

// strict decodes one value. It refuses unknown fields, fields that are there twice,
// and whatever comes after the value.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after its end")
	}
	seen := map[string]bool{}
	for m := jsontext.MembersOf(b); m.Next(); {
		name := strings.ToLower(m.Name()) // as the decoder compares them
		if seen[name] {
			return fmt.Errorf("the field %q is there twice", name)
		}
		seen[name] = true
	}
	return nil
}
