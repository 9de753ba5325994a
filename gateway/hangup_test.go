// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

// severed is a broker whose calls fail, in words of their own, when they are given up.
type severed struct {
	broker.Driver
	begun chan struct{}
}

func (s severed) Append(ctx context.Context, _ []broker.Record, _ []int32) ([]int64, error) {
	close(s.begun)
	<-ctx.Done()
	return nil, errors.New("the connection is closed")
}

func TestAClientThatHangsUpIsNoFailure(t *testing.T) {
	near := openBroker(t, "tickets")
	s := severed{near.Driver(), make(chan struct{})}
	var log bytes.Buffer
	g, err := New(broker.New(s, near.Options()), Options{Sources: []string{"tickets"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, hangUp := context.WithCancel(t.Context())
	go func() {
		<-s.begun
		hangUp()
	}()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/topics/tickets/records", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	if log.Len() > 0 || w.Code >= 500 {
		t.Errorf("status %d, and the log says %s", w.Code, log.String())
	}
}
