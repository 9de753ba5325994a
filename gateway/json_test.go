// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/broker"
)

func TestDepthIsCountedOutsideOfStrings(t *testing.T) {
	for in, want := range map[string]int{
		`[[1]]`:               -1,
		`[[[1]]]`:             2,
		`["[[[", {"\"[[":1}]`: -1,
		`[[],[],[[`:           8,
	} {
		if got := deeper([]byte(in), 2); got != want {
			t.Errorf("deeper(%s, 2) = %d, want %d", in, got, want)
		}
	}
}

func TestLinesAreTheSameHoweverTheyCome(t *testing.T) {
	long := strings.Repeat("x", 200000)
	in := "a\n\nbc\n" + long + "\r\n" + strings.Repeat("1234567\n", 30000) + "end"
	want := strings.Split(in, "\n")
	for name, r := range map[string]io.Reader{
		"at once":    strings.NewReader(in),
		"in halves":  iotest.HalfReader(strings.NewReader(in)),
		"with error": iotest.DataErrReader(strings.NewReader(in)),
	} {
		l := lines{r: r, max: 200001}
		var got []string
		for {
			b, err := l.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(name, err)
			}
			got = append(got, string(b))
		}
		if strings.Join(got, "\n") != in || len(got) != len(want) || l.count != len(want) {
			t.Errorf("%s: %d lines, want %d", name, len(got), len(want))
		}
	}
}

func TestALineWithoutAnEndTakesBoundedMemory(t *testing.T) {
	read := 0
	endless := readerFunc(func(p []byte) (int, error) {
		read += len(p)
		return len(p), nil
	})
	l := lines{r: endless, max: 1000}
	if _, err := l.next(); !errors.Is(err, errLong) {
		t.Fatal(err)
	}
	if read > 4*linesChunk {
		t.Errorf("%d bytes were read to find that a line has more than 1000", read)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What is taken is JSON by the standard's parser, and elements splits it as that
// parser does.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "{}", "[1, [2,\"]\"] ,{\"a\":[]}]", "\"\\\"[\"", "[", "{\"a\":\xff}", "[[[[[]]]]]", " [ ] ", "[1,]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := checkJSON(b, 4); err != nil {
			if at := err.offset; at < 0 || at > len(b) {
				t.Fatalf("offset %d of %d", at, len(b))
			}
			if json.Valid(b) && utf8.Valid(b) && deeper(b, 4) < 0 {
				t.Fatalf("%q is refused: %v", b, err)
			}
			return
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("%q is taken", b)
		}
		if b = trimSpace(b); b[0] != '[' {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		got := elements(b)
		if len(got) != len(want) {
			t.Fatalf("%q has %d elements, want %d", b, len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("element %d of %q is %q, want %q", i, b, got[i], want[i])
			}
		}
	})
}

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
