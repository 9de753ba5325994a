// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

// BenchmarkIntake takes 10,000 lines of 200 bytes a request, beside what it costs
// to find out that they are JSON with the standard library alone.
func BenchmarkIntake(b *testing.B) {
	const n = 10000
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, `{"id":"T-%07d","customer":"c-%05d","text":"%s"}`+"\n", i, i%997, strings.Repeat("my mini is dead ", 9))
	}
	b.Run("json.Valid", func(b *testing.B) {
		b.SetBytes(int64(body.Len()))
		for b.Loop() {
			for line := range bytes.Lines([]byte(body.String())) {
				if !json.Valid(line) {
					b.Fatal("not JSON")
				}
			}
		}
	})
	for _, query := range []string{"", "?key=customer"} {
		b.Run("publish"+query, func(b *testing.B) {
			m := &memory{}
			g, err := New(broker.New(m, broker.Options{}), Options{Sources: []string{"tickets"}})
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			b.SetBytes(int64(body.Len()))
			b.ReportAllocs()
			for b.Loop() {
				m.records = m.records[:0]
				r := httptest.NewRequest(http.MethodPost, "http://localhost"+path+query, strings.NewReader(body.String()))
				r.Header.Set("Content-Type", typeNDJSON)
				w := httptest.NewRecorder()
				g.ServeHTTP(w, r)
				if len(m.records) != n {
					b.Fatalf("%d records: %s", len(m.records), w.Body)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
