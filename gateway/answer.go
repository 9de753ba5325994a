// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

const (
	// pieceBytes is how much of an answer a client has to take in time.
	pieceBytes = 64 << 10

	// smallAnswer is the size up to which an answer waits for its client without
	// being counted.
	smallAnswer = 64 << 10
)

// answerWriter gives the client a deadline for each piece of an answer. Between the
// pieces there is none: an answer may take long to be made, and on HTTP/2 a deadline
// that passes ends the request.
type answerWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
}

func newAnswerWriter(w http.ResponseWriter, idle time.Duration) *answerWriter {
	return &answerWriter{w, http.NewResponseController(w), idle}
}

// arm starts the time in which the client has to take what is written. Not every
// connection has deadlines.
func (w *answerWriter) arm()    { _ = w.control.SetWriteDeadline(time.Now().Add(w.idle)) }
func (w *answerWriter) disarm() { _ = w.control.SetWriteDeadline(time.Time{}) }

// Write implements io.Writer.
func (w *answerWriter) Write(b []byte) (written int, err error) {
	defer w.disarm()
	for written < len(b) && err == nil {
		w.arm()
		var n int
		n, err = w.ResponseWriter.Write(b[written:min(len(b), written+pieceBytes)])
		written += n
	}
	return written, err
}

// FlushError is what [http.ResponseController] calls.
func (w *answerWriter) FlushError() error {
	w.arm()
	defer w.disarm()
	return w.control.Flush()
}

// Unwrap lets [http.ResponseController] find what is not here.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// writeJSON answers with a value that is small.
func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", typeJSON)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client has gone when this fails
	return nil
}

// writeLarge answers with a value that may be large. Making it is over, so what that
// held is given back; a client that takes its time holds no more than the text.
func (g *Gateway) writeLarge(w http.ResponseWriter, r *call, held *account, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	held.close()
	if text.Len() > smallAnswer {
		taken, err := g.answers.admit(r.Context(), r.client, int64(text.Cap()))
		if err != nil {
			return err
		}
		defer taken.close()
	}
	w.Header().Set("Content-Type", typeJSON)
	_, _ = w.Write(text.Bytes()) // the client has gone when this fails
	return nil
}

func writeError(w http.ResponseWriter, e *Error) {
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(e.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e) // the client has gone when this fails
}
