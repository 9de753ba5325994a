// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/lineage"
)

// schedule is a pipeline whose parts happen in random order: tickets come,
// services answer at their own tempo, members of the gather come and go.
type schedule struct {
	*desk
	random   *rand.Rand
	tickets  [partitions]int             // published, by partition
	answered map[string]*[partitions]int // by part
	members  []func()                    // stop them
}

const partitions = 4

// Whatever the order of things, each ticket has one first answer, in order, then
// revisions without a gap, and in the end every part.
func TestAnyScheduleGivesEveryTicketOneAnswer(t *testing.T) {
	seeds := uint64(3)
	if os.Getenv("MILLRACE_LONG") != "" {
		seeds = 100
	}
	for _, deadline := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, long} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("deadline=%v,seed=%d", deadline, seed), func(t *testing.T) {
				t.Parallel()
				s := newSchedule(t, deadline, seed)
				for range 150 {
					s.step()
				}
				s.finish()
				s.check()
			})
		}
	}
}

func newSchedule(t *testing.T, deadline time.Duration, seed uint64) *schedule {
	s := &schedule{
		desk: newDesk(t, deadline), random: rand.New(rand.NewPCG(seed, uint64(deadline))),
		answered: map[string]*[partitions]int{"mood": {}, "class": {}},
	}
	for _, name := range []string{"t4", "m4", "c4", "d4", "dead4"} {
		if err := s.b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: partitions}); err != nil {
			t.Fatal(err)
		}
	}
	s.c.Of, s.c.To = "t4", "d4"
	s.c.Parts = []gather.Part{{Name: "mood", Topic: "m4"}, {Name: "class", Topic: "c4", Upstream: []string{"dead4"}}}
	s.c.MaxOpen, s.c.Batch.Records = 1+s.random.IntN(40), 1+s.random.IntN(30)
	return s
}

func (s *schedule) step() {
	switch s.random.IntN(10) {
	case 0:
		if len(s.members) < 3 {
			s.members = append(s.members, s.serve())
		}
	case 1:
		s.leave()
	case 2, 3, 4:
		for range 1 + s.random.IntN(20) {
			p := s.random.IntN(partitions)
			s.publish(broker.Record{Topic: "t4", Partition: int32(p), Pinned: true, Key: []byte{'p', byte('0' + p)}, Value: []byte(strconv.Itoa(s.tickets[p]))})
			s.tickets[p]++
		}
	case 5, 6:
		s.answer("mood", "m4", s.random.IntN(40))
	case 7, 8:
		s.answer("class", "c4", s.random.IntN(40))
	case 9:
		time.Sleep(time.Duration(s.random.IntN(3)) * time.Millisecond) // deadlines pass
	}
}

func (s *schedule) leave() {
	if n := len(s.members); n > 0 {
		i := s.random.IntN(n)
		s.members[i]()
		s.members = slices.Delete(s.members, i, i+1)
	}
}

// answer lets a service answer tickets, in the order of each partition. Every
// seventh has two values.
func (s *schedule) answer(service, topic string, n int) {
	for range n {
		p := s.random.IntN(partitions)
		at := &s.answered[service][p]
		if *at == s.tickets[p] {
			continue
		}
		id := fmt.Sprintf("t4/%d/%d/%s", p, *at, service)
		ids := []string{id}
		if *at%7 == 0 {
			ids = []string{id + ":1of2", id + ":2of2"}
		}
		var records []broker.Record
		for _, id := range ids {
			records = append(records, broker.Record{Topic: topic, Partition: int32(p), Pinned: true, Value: []byte(strconv.Itoa(*at)),
				Headers: []broker.Header{{Key: lineage.ID, Value: []byte(id)}, {Key: lineage.Model, Value: []byte("m@1")}}})
		}
		s.publish(records...)
		*at++
	}
}

// finish lets the services answer what is left and the gather take it in.
func (s *schedule) finish() {
	for s.left() {
		s.answer("mood", "m4", 50)
		s.answer("class", "c4", 50)
	}
	s.members = append(s.members, s.serve())
	s.settled()
	for len(s.members) > 0 {
		s.leave()
	}
}

func (s *schedule) left() bool {
	return *s.answered["mood"] != s.tickets || *s.answered["class"] != s.tickets
}

func (s *schedule) check() {
	type seen struct {
		Revision int
		Status   string
		Source   json.RawMessage
		Parts    map[string]struct {
			Status string
			Value  json.RawMessage
		}
	}
	last := [partitions]map[int64]seen{}
	next := [partitions]int64{}
	for r, err := range broker.Records(s.Context(), s.b, "d4", broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			s.Fatal(err)
		}
		p, offset, ok := lineage.SourceIn(r.Header(lineage.JoinOf), "t4")
		var now seen
		if err := json.Unmarshal(r.Value, &now); err != nil || !ok || p != r.Partition {
			s.Fatalf("%s: %v", r.Value, err)
		}
		if last[p] == nil {
			last[p] = map[int64]seen{}
		}
		if before := last[p][offset]; now.Revision != before.Revision+1 {
			s.Fatalf("t4/%d/%d: revision %d after %d", p, offset, now.Revision, before.Revision)
		}
		last[p][offset] = now
		if now.Revision > 1 {
			continue
		}
		if offset != next[p] {
			s.Fatalf("t4/%d/%d is answered, the next one was %d", p, offset, next[p])
		}
		next[p]++
	}
	for p := range partitions {
		if next[p] != int64(s.tickets[p]) {
			s.Errorf("%d of %d tickets of partition %d are answered", next[p], s.tickets[p], p)
		}
		for offset, now := range last[p] {
			want := strconv.FormatInt(offset, 10)
			if now.Status != "complete" || string(now.Source) != want {
				s.Errorf("in the end t4/%d/%d is %s, revision %d, source %s", p, offset, now.Status, now.Revision, now.Source)
			}
			if offset%7 == 0 {
				want = "[" + want + "," + want + "]"
			}
			for name, part := range now.Parts {
				if string(part.Value) != want {
					s.Errorf("in the end %s of t4/%d/%d is %s %s, want %s", name, p, offset, part.Status, part.Value, want)
				}
			}
		}
	}
}
