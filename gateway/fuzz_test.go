// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/broker"
)

// memory keeps what was published.
type memory struct {
	broker.Driver
	records []broker.Record
}

func (m *memory) Partitions(context.Context, string) (int, error) { return 1, nil }

func (m *memory) Append(_ context.Context, records []broker.Record, _ []int32) ([]int64, error) {
	m.records = append(m.records, records...)
	return make([]int64, len(records)), nil
}

// Whatever comes in: the answer counts what was published, all of which is JSON
// within the limits, and no input is the server's fault.
func FuzzIntake(f *testing.F) {
	f.Add("{\"a\":1}\n{\"a\":2}", true, "a", false)
	f.Add("[{\"a\":\"x\"},2]", false, "", false)
	f.Add(`{"key":{"base64":"/w=="},"headers":{"a":["b","c"]},"value":"x","encoding":"text"}`, false, "", true)
	f.Add("\ufeff\n\n1\r\n", true, "", false)
	f.Fuzz(func(t *testing.T, body string, stream bool, key string, enveloped bool) {
		m := &memory{}
		g, err := New(broker.New(m, broker.Options{}), Options{Sources: []string{"tickets"}, MaxRecordBytes: 500, MaxBodyBytes: 2000, MaxDepth: 8})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		req := httptest.NewRequest(http.MethodPost, "http://localhost"+path, strings.NewReader(body))
		q := req.URL.Query()
		if key != "" {
			q.Set("key", key)
		}
		if enveloped {
			q.Set("envelope", "1")
		}
		req.URL.RawQuery = q.Encode()
		req.Header.Set("Content-Type", typeJSON)
		if stream {
			req.Header.Set("Content-Type", typeNDJSON)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, req)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		var answer struct {
			Published int    `json:"published"`
			Error     string `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Published != len(m.records) || (w.Code == 200) != (answer.Error == "") || w.Code == 200 && len(m.records) == 0 {
			t.Fatalf("%d %s, and %d records", w.Code, w.Body, len(m.records))
		}
		if w.Code != 200 && !stream && len(m.records) > 0 {
			t.Fatalf("a body that is refused published %d records", len(m.records))
		}
		for i := range m.records {
			r := &m.records[i]
			if r.Topic != "tickets" || r.Size() > 500 || r.Pinned {
				t.Fatalf("record %+v", r)
			}
			if !enveloped && (!json.Valid(r.Value) || !utf8.Valid(r.Value) || !strings.Contains(body, string(r.Value))) {
				t.Fatalf("value %q", r.Value)
			}
			if key != "" && len(r.Key) == 0 && !strings.Contains(body, `""`) {
				t.Fatalf("no key in %q", r.Value)
			}
		}
	})
}
