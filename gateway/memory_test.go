// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millrace-ml/millrace/broker"
)

// discard is a broker that takes everything and keeps nothing. If held is set, it
// is called with the records.
type discard struct {
	broker.Driver
	held           func()
	calls, records int
}

func (d *discard) Partitions(context.Context, string) (int, error) { return 1, nil }

func (d *discard) Append(_ context.Context, records []broker.Record, _ []int32) ([]int64, error) {
	d.calls++
	d.records += len(records)
	if d.held != nil {
		d.held()
	}
	return make([]int64, len(records)), nil
}

// heap is what is alive and, made since the start, alive or not.
func heap() (live, made int64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.TotalAlloc)
}

// repeated is a body that takes no memory until it is read.
type repeated struct {
	before, piece, after string
	times                int
}

func (r repeated) size() int64 {
	return int64(len(r.before) + r.times*len(r.piece) + len(r.after))
}

func (r repeated) reader() io.Reader {
	pieces := strings.Repeat(r.piece, 1000)
	many := make([]io.Reader, 0, 2+r.times/1000)
	many = append(many, strings.NewReader(r.before))
	for range r.times / 1000 {
		many = append(many, strings.NewReader(pieces))
	}
	return io.MultiReader(append(many, strings.NewReader(strings.Repeat(r.piece, r.times%1000)+r.after))...)
}

// Whatever a body is made of, it takes little more than twice its size beside what
// the records take that the broker is given at once: of 16 MiB, the most that a JSON
// body may have, that is less than three times as much.
func TestWhatABodyTakesFollowsFromItsSize(t *testing.T) {
	const whole, stream = 1 << 20, 256 << 10
	const fixed = 8 << 20
	fill := func(before, piece, after string) repeated {
		size := whole
		if strings.Contains(piece, "\n") {
			size = stream
		}
		return repeated{before, piece, after, (size - 64 - len(before) - len(after)) / len(piece)}
	}
	for name, c := range map[string]struct {
		query, contentType string
		body               repeated
		status             int
	}{
		"an array of numbers":          {"", typeJSON, fill("[", "1,", "1]"), 200},
		"an array of empty objects":    {"", typeJSON, fill("[", "{},", "1]"), 200},
		"an array of empty arrays":     {"", typeJSON, fill("[", "[],", "1]"), 200},
		"an array with keys":           {"?key=k", typeJSON, fill("[", `{"k":1},`, `{"k":2}]`), 200},
		"an array of arrays":           {"", typeJSON, fill("[[", "[],", "1]]"), 200},
		"an object of fields":          {"?key=k", typeJSON, fill(`{"k":1`, `,"a":1`, `}`), 200},
		"a string":                     {"", typeJSON, fill(`"`, "x", `"`), 200},
		"tiny lines":                   {"", typeNDJSON, fill("", "1\n", ""), 200},
		"tiny lines with keys":         {"?key=k", typeNDJSON, fill("", `{"k":1}`+"\n", ""), 200},
		"empty lines":                  {"", typeNDJSON, fill("1", "\n", ""), 200},
		"one line":                     {"", typeNDJSON, fill(`"`, "x", `"`), 200},
		"envelopes":                    {"?envelope=true", typeJSON, fill("[", `{"value":1},`, `{"value":1}]`), 200},
		"lines of envelopes":           {"?envelope=true", typeNDJSON, fill("", `{"value":1}`+"\n", ""), 200},
		"an envelope of a text":        {"?envelope=true", typeJSON, fill(`{"encoding":"text","value":"`, "x", `"}`), 200},
		"an envelope of base64":        {"?envelope=true", typeJSON, fill(`{"encoding":"base64","value":"`, "AAAA", `"}`), 200},
		"an envelope of empty headers": {"?envelope=true", typeJSON, fill(`{"value":1,"headers":{"a":[`, `"",`, `""]}}`), 400},
		"an envelope of header names":  {"?envelope=true", typeNDJSON, fill(`{"value":1,"headers":{`, `"a":"",`, `"b":""}}`), 400},
		"an array that is no record":   {"?key=k", typeJSON, fill("[", `{"k":1},`, `{}]`), 400},
	} {
		t.Run(name, func(t *testing.T) {
			d := &discard{}
			g, err := New(broker.New(d, broker.Options{}), Options{Sources: []string{"tickets"}})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			req := httptest.NewRequest(http.MethodPost, "http://localhost"+path+c.query, c.body.reader())
			req.Header.Set("Content-Type", c.contentType)
			req.ContentLength = -1
			if len(name)%2 == 0 { // it makes no difference whether the size is announced
				req.ContentLength = c.body.size()
			}
			w := httptest.NewRecorder()
			before, madeBefore := heap()
			var most int64 // that was alive while the broker had records
			d.held = func() {
				if d.calls < 20 {
					live, _ := heap()
					most = max(most, live-before)
				}
			}
			g.ServeHTTP(w, req)
			_, made := heap()
			if c.status != http.StatusOK {
				most = made - madeBefore
			}
			if limit := 5*c.body.size()/2 + fixed; most > limit {
				t.Errorf("%d bytes took %d, more than %d", c.body.size(), most, limit)
			}
			if w.Code != c.status {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if !g.intake.all.TryAcquire(g.intake.size) {
				t.Error("not all of the memory is given back")
			}
		})
	}
}

func TestAnArrayIsCheckedAsAWholeBeforeAnyOfItIsPublished(t *testing.T) {
	for last, want := range map[string]string{
		`{}`:      `record 25000: there is no field "k" for the key`,
		`{"k":1}`: "",
	} {
		d := &discard{}
		_, client := start(t, broker.New(d, broker.Options{}), Options{})
		got := request(t, client, "POST", path+"?key=k", typeJSON, "["+strings.Repeat(`{"k":1},`, 25000)+last+"]")
		switch {
		case want == "" && (got.status != 200 || d.records != 25001 || d.calls != 3):
			t.Errorf("%v: %d records in %d calls", got, d.records, d.calls)
		case want != "" && (got.status != 400 || message(t, got) != want || d.records != 0):
			t.Errorf("%v: %d records", got, d.records)
		}
	}
}

func TestAClientHasNoMoreThanHalfOfAPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(100, 10)
		greedy, err := p.admit(t.Context(), "greedy", 50)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.admit(t.Context(), "greedy", 1); err == nil || explain(err).Status != 503 {
			t.Errorf("more than half: %v", err)
		}
		other, err := p.admit(t.Context(), "other", 50)
		if err != nil {
			t.Fatal(err)
		}
		if p.tryAdmit("third", 1) != nil {
			t.Error("there is more than there is")
		}
		greedy.close()
		greedy.close() // does nothing
		other.close()
		if len(p.clients) != 0 || !p.all.TryAcquire(100) {
			t.Errorf("something is left of clients that have gone: %v", p.clients)
		}
	})
}

func TestAClientIsItsAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"127.0.0.1:80":              "127.0.0.1",
		"[::ffff:10.1.2.3]:80":      "10.1.2.3",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"pipe":                      "pipe",
	} {
		if got := clientOf(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%s is %s, want %s", remote, got, want)
		}
	}
}
