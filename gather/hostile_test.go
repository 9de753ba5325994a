// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/lineage"
)

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// hostile are values that a client of the broker can write.
var hostile = map[string]string{
	"empty":                 "",
	"4,000,000 brackets":    strings.Repeat("[", 4_000_000),
	"4,000,000 objects":     strings.Repeat(`{"a":`, 800_000),
	"10,001 nested":         nested(10_001),
	"the limit of depth":    nested(jsontext.MaxDepth),
	"one that fits in":      nested(jsontext.MaxDepth - 4),
	"one that does not":     nested(jsontext.MaxDepth - 3),
	"not UTF-8":             "\xff\xfe[{\"",
	"a surrogate alone":     `"\ud800"`,
	"escapes":               `"` + strings.Repeat(`\u0001`, 500_000) + `"`,
	"control characters":    strings.Repeat("\x01", 1_000_000),
	"a huge number":         "1" + strings.Repeat("0", 1_000_000) + "e" + strings.Repeat("9", 1000),
	"equal names":           `{"id":1,"id":"x","id":{}}`,
	"an id of a megabyte":   `{"id":"` + strings.Repeat("i", 1<<20) + `"}`,
	"7 MB of text":          `"` + strings.Repeat("x", 7_000_000) + `"`,
	"what looks like ours":  `{"status":"missing"}`,
	"quotation marks":       strings.Repeat(`"`, 1_000_001),
	"many elements":         "[" + strings.Repeat("1,", 1_000_000) + "1]",
	"white space":           strings.Repeat(" \n", 1_000_000),
	"line breaks in values": "{\n\"a\"\r\n: \t1}",
}

// Whatever stands in a source or a part, in time or late, the gather answers and
// goes on; what it writes is JSON that it can read back, also after a restart.
func TestHostileValuesAreAnsweredAndAmended(t *testing.T) {
	for name, value := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 200*time.Millisecond)
			stop := d.serve()
			d.publish(ticket(value), ticket(`{"id":"next"}`))
			d.publish(mood(0, value))
			d.answers(2)
			d.settled()
			stop()
			d.serve()
			d.publish(class(0, value), mood(1, `1`), class(1, `2`))
			d.settled()
			newest := map[string]string{}
			for r, err := range broker.Records(t.Context(), d.b, "desk", 0, broker.Start(), broker.Position{}) {
				if err != nil {
					t.Fatal(err)
				}
				if !jsontext.Valid(r.Value) || !json.Valid(r.Value) {
					t.Errorf("an answer cannot be read: %.200q", r.Value)
				}
				newest[string(r.Header(lineage.JoinOf))] = string(r.Header(lineage.JoinStatus))
			}
			for _, of := range []string{"tickets/0/0", "tickets/0/1"} {
				if newest[of] != lineage.JoinComplete {
					t.Errorf("in the end %s is %q", of, newest[of])
				}
			}
		})
	}
}

// An answer that the gather finds in its topic and cannot read, as somebody else
// has written it, is written anew.
func TestAnAnswerThatCannotBeReadIsWrittenAnew(t *testing.T) {
	d := newDesk(t, time.Millisecond)
	var cut atomic.Int64
	d.c.Observe = func(o gather.Observation) { cut.Add(int64(o.Cut)) }
	stop := d.serve()
	d.publish(ticket(`{"id":"A"}`), ticket(`{"id":"B"}`))
	d.answers(2)
	d.settled()
	stop()
	forged := broker.Record{Topic: "desk", Value: []byte(strings.Repeat("[", 100_000))}
	for _, h := range []string{lineage.JoinOf, "tickets/0/0", lineage.JoinTime, "yesterday", lineage.JoinRevision, "7", lineage.JoinStatus, "partial"} {
		if n := len(forged.Headers); n > 0 && forged.Headers[n-1].Value == nil {
			forged.Headers[n-1].Value = []byte(h)
			continue
		}
		forged.Headers = append(forged.Headers, broker.Header{Key: h})
	}
	d.publish(forged)
	d.serve()
	d.publish(mood(0, `1`), class(0, `2`), mood(1, `3`), class(1, `4`))
	d.settled()
	lines := map[string]string{}
	for r, err := range broker.Records(t.Context(), d.b, "desk", 0, broker.Offset(3), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		lines[string(r.Header(lineage.JoinOf))] = d.line(r.Value)
	}
	for of, want := range map[string]string{
		"tickets/0/0": "tickets/0/0 complete 8 mood=late:1 class=late:2",
		"tickets/0/1": "B complete 2 mood=late:3 class=late:4",
	} {
		if lines[of] != want {
			t.Errorf("the answer to %s is %q, want %q", of, lines[of], want)
		}
	}
	if cut.Load() != 1 {
		t.Errorf("%d answers are counted as cut, want 1", cut.Load())
	}
}

// strict is a broker that takes no records as large as it should.
type strict struct {
	broker.Driver
	limit int
}

func (s strict) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	m, err := s.Driver.Join(ctx, group, start, topics)
	return strictMember{m, s.limit}, err
}

type strictMember struct {
	broker.Member
	limit int
}

func (m strictMember) Settle(ctx context.Context, s *broker.Settlement) error {
	for i := range s.Records {
		if size := s.Records[i].Size(); size > m.limit {
			return &broker.TooLargeError{Index: i, Size: size, Limit: m.limit}
		}
	}
	return m.Member.Settle(ctx, s)
}

// An answer that cannot be written, neither whole nor with what may be left out,
// says whose it is, and those after it are written.
func TestAnAnswerThatTheBrokerRefusesSaysSo(t *testing.T) {
	for name, limits := range map[string]struct{ broker, driver int }{
		"the broker": {2000, 1 << 20},
		"the driver": {1 << 20, 900},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, long)
			b, err := embedded.Open("small", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler), MaxRecordBytes: limits.broker})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			for _, name := range []string{"tickets", "moods", "classes", "tagger.dead", "desk"} {
				if err := b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 1}); err != nil {
					t.Fatal(err)
				}
			}
			d.b = broker.New(strict{b.Driver(), limits.driver}, b.Options())
			var cut atomic.Int64
			d.c.Observe = func(o gather.Observation) { cut.Add(int64(o.Cut)) }
			d.serve()
			text := `"` + strings.Repeat("x", 800) + `"`
			d.publish(ticket(fmt.Sprintf(`{"id":"A","text":%s}`, text)), ticket(`{"id":"B"}`))
			d.publish(marker(mood(0, ""), lineage.StatusFailed, strings.Repeat("e", 1500)), class(0, `2`), mood(1, `3`), class(1, `4`))
			all := d.answers(2)
			if !strings.HasPrefix(all[0], "tickets/0/0 partial 1") || all[1] != "B complete 1 mood=ok:3 class=ok:4" {
				t.Errorf("answers are %.300q", all)
			}
			d.settled()
			if cut.Load() == 0 {
				t.Error("no answer is counted as cut")
			}
		})
	}
}
