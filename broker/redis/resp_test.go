// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// streamAnswer is one stream's part of an answer of XREAD.
func streamAnswer(key string, entries ...[]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*2\r\n%s*%d\r\n", bulk(key), len(entries))
	for _, e := range entries {
		fmt.Fprintf(&b, "*2\r\n%s*%d\r\n", bulk(e[0]), len(e)-1)
		for _, f := range e[1:] {
			b.WriteString(bulk(f))
		}
	}
	return b.String()
}

func testRequest() *request {
	t := &topic{Topic: broker.Topic{Name: "tickets"}, streams: []string{"s0", "s1"}}
	return &request{
		count: 2, events: "events", after: []id{0, 0},
		cursors: []*cursor{newCursor(t, 0, position{}), newCursor(t, 1, position{})},
	}
}

func TestAnAnswerIsReadIntoRecords(t *testing.T) {
	a := &answer{request: testRequest()}
	raw := "*2\r\n" +
		streamAnswer("events", []string{"7-0", "member", "m"}, []string{"8-0", "member", "n"}) +
		streamAnswer("s1",
			[]string{"5-0", "key", "k", "value", "v", "h", "1", "h", "2"},
			[]string{"5-1", "text", "a \"quoted\" text", "key", "c17", "mood", "ä"})
	if err := a.parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if a.event != "8-0" {
		t.Errorf("the last event is %q", a.event)
	}
	if len(a.chunks[0].records) != 0 || len(a.chunks[1].records) != 2 || !a.chunks[1].full || a.chunks[0].full {
		t.Fatalf("the chunks are %+v", a.chunks)
	}
	first, second := a.chunks[1].records[0], a.chunks[1].records[1]
	want := broker.Record{Key: []byte("k"), Value: []byte("v"), Headers: []broker.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}}}
	if string(first.Key) != "k" || string(first.Value) != "v" || fmt.Sprint(first.Headers) != fmt.Sprint(want.Headers) ||
		first.Partition != 1 || first.Topic != "tickets" || first.Offset != 5_000_000 || first.Time.UnixMilli() != 5 {
		t.Errorf("the first record is %+v", first)
	}
	if string(second.Key) != "c17" || string(second.Value) != `{"text":"a \"quoted\" text","mood":"ä"}` || second.Headers != nil {
		t.Errorf("the record without a value is %q %q %v", second.Key, second.Value, second.Headers)
	}
}

func TestAnswersThatAreErrorsOrBrokenAreErrors(t *testing.T) {
	for raw, want := range map[string]string{
		"-LOADING Redis is loading the dataset in memory\r\n":                                  "LOADING",
		"*1\r\n" + streamAnswer("other", []string{"1-0", "value", "v"}):                        "cannot be read",
		"*1\r\n" + strings.TrimSuffix(streamAnswer("s0", []string{"1-0", "value", "v"}), "\n"): "ends early",
		":3\r\n": "cannot be read",
	} {
		a := &answer{request: testRequest()}
		if err := a.parse([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", raw, err, want)
		}
	}
	a := &answer{request: testRequest()}
	if err := a.parse([]byte("*-1\r\n")); err != nil {
		t.Errorf("nothing to read is an error: %v", err)
	}
}

func TestAnAnswerIsReadUpToAForeignID(t *testing.T) {
	a := &answer{request: testRequest()}
	raw := "*1\r\n" + streamAnswer("s0", []string{"1-0", "value", "v"}, []string{"1-1000000", "value", "v"}, []string{"2-0", "value", "v"})
	if err := a.parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if ch := a.chunks[0]; len(ch.records) != 1 || ch.beyond != "1-1000000" {
		t.Errorf("%d records before %q", len(ch.records), ch.beyond)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("*-1\r\n"))
	f.Add([]byte("-ERR no\r\n"))
	f.Add([]byte("*1\r\n" + streamAnswer("s1", []string{"5-0", "key", "k", "value", "v"})))
	f.Add([]byte("*1\r\n*2\r\n$2\r\ns0\r\n*99999999\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a := &answer{request: testRequest()}
		if a.parse(raw) != nil {
			return
		}
		for _, ch := range a.chunks {
			for _, r := range ch.records {
				if r.Offset < 0 || r.Size() > 16*len(raw)+16 {
					t.Fatalf("record %+v of %d bytes", r, len(raw))
				}
			}
		}
	})
}
