// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/gather"
)

// offClock is a broker whose clock is ahead of this machine's, or behind, where it
// appends to some topics.
type offClock struct {
	broker.Driver
	ahead  time.Duration
	topics string // all if empty
}

func (o offClock) off(topic string) bool { return o.topics == "" || o.topics == topic }

func (o offClock) shift(records []broker.Record) []broker.Record {
	shifted := append([]broker.Record(nil), records...)
	for i := range shifted {
		if o.off(shifted[i].Topic) {
			shifted[i].Time = shifted[i].Time.Add(o.ahead)
		}
	}
	return shifted
}

func (o offClock) Read(ctx context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	if at, is := from.Time(); is && o.off(topic) {
		from = broker.At(at.Add(-o.ahead))
	}
	c, err := o.Driver.Read(ctx, topic, partitions, from, to)
	return offCursor{c, o}, err
}

type offCursor struct {
	broker.Cursor
	o offClock
}

func (c offCursor) Next(ctx context.Context, most int) ([]broker.Record, error) {
	records, err := c.Cursor.Next(ctx, most)
	return c.o.shift(records), err
}

func (o offClock) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	m, err := o.Driver.Join(ctx, group, start, topics)
	return offMember{m, o}, err
}

type offMember struct {
	broker.Member
	o offClock
}

func (m offMember) Poll(ctx context.Context, w broker.Want) (broker.Polled, error) {
	p, err := m.Member.Poll(ctx, w)
	p.Records = m.o.shift(p.Records)
	return p, err
}

// A topic of parts that is ahead does not tell how far it was read: who catches up
// finds the parts that came in time.
func TestPartsFromTheFutureAreWaitedForWhileCatchingUp(t *testing.T) {
	d := newDesk(t, time.Minute)
	d.c.Batch.Records = 7
	d.setClock(-time.Hour, "")
	d.setClock(2*time.Hour, "moods")
	const n = 50
	for range n {
		d.publish(ticket(`{"id":"A"}`))
	}
	for i := range n {
		d.publish(class(i, `2`))
	}
	for i := range n {
		d.publish(mood(i, `1`))
	}
	d.serve()
	for i, line := range d.answers(n) {
		if line != "A complete 1 mood=ok:1 class=ok:2" {
			t.Fatalf("answer %d is %s", i, line)
		}
	}
}

// What waits when the gather ends keeps its deadline.
func TestARestartDoesNotExtendDeadlines(t *testing.T) {
	d := newDesk(t, 0)
	d.setClock(-time.Hour, "") // it is an hour old
	d.publish(ticket(`{"id":"A"}`))
	stop := d.serve()
	d.settled()
	stop()
	d.c.Deadline = time.Minute
	d.serve()
	d.want(`A partial 1 mood=missing:no answer within 1m0s class=missing:no answer within 1m0s`)
}

func (d *desk) setClock(ahead time.Duration, topics string) {
	d.b = broker.New(offClock{d.b.Driver(), ahead, topics}, d.b.Options())
}

// A broker that is ahead, or has one entry from the future, does not put answers
// off: not in time, not after a restart, and late parts find their answers.
func TestAClockThatIsAheadDoesNotPutAnswersOff(t *testing.T) {
	for name, topics := range map[string]string{"in all topics": "", "in the source": "tickets"} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, 50*time.Millisecond)
			d.setClock(time.Hour, topics)
			var skew atomic.Int64
			d.c.Observe = func(o gather.Observation) { skew.Store(int64(o.Skew)) }
			stop := d.serve()
			d.publish(ticket(`{"id":"A"}`), mood(0, `1`))
			d.want(`A partial 1 mood=ok:1 class=missing:no answer within 50ms`)
			d.settled()
			if got := time.Duration(skew.Load()); got < 59*time.Minute || got > time.Hour {
				t.Errorf("the clock is shown to be ahead by %v", got)
			}
			stop()

			d.c.Deadline = long
			stop = d.serve()
			d.publish(class(0, `2`), ticket(`{"id":"B"}`), mood(1, `3`))
			d.settled()
			stop()
			d.c.Deadline = 50 * time.Millisecond
			d.serve()
			d.want(
				`A partial 1 mood=ok:1 class=missing:no answer within 50ms`,
				`A complete 2 mood=ok:1 class=late:2`,
				`B partial 1 mood=ok:3 class=missing:no answer within 50ms`)
		})
	}
}

// A broker that is behind does not end a deadline before it has begun.
func TestAClockThatIsBehindDoesNotMakeAnswersPartialAtOnce(t *testing.T) {
	d := newDesk(t, time.Minute)
	d.setClock(-time.Hour, "")
	var empty atomic.Bool
	d.b = broker.New(lagSeen{d.b.Driver(), &empty}, d.b.Options())
	d.serve()
	for deadline := time.Now().Add(20 * time.Second); !empty.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the gather does not look at its lag")
		}
	}
	for i := range 3 {
		d.publish(ticket(`{"id":"B"}`))
		d.settled()
		d.publish(mood(i, `3`), class(i, `4`))
		if got := d.answers(i + 1)[i]; got != `B complete 1 mood=ok:3 class=ok:4` {
			t.Errorf("answer %d is %s", i, got)
		}
	}
}

// lagSeen tells when somebody has looked at the lag of a group.
type lagSeen struct {
	broker.Driver
	seen *atomic.Bool
}

func (l lagSeen) Lag(ctx context.Context, group string) ([]broker.Lag, error) {
	lags, err := l.Driver.Lag(ctx, group)
	l.seen.Store(l.seen.Load() || len(lags) > 0)
	return lags, err
}

// Who catches up takes nothing for skew: what is old was appended before.
func TestWhoCatchesUpTakesNoClockForBehind(t *testing.T) {
	d := newDesk(t, time.Minute)
	d.c.Batch.Records = 3
	d.setClock(-time.Hour, "") // all of it is an hour old
	var skew atomic.Int64
	d.c.Observe = func(o gather.Observation) { skew.Add(int64(o.Skew)) }
	for range 20 {
		d.publish(ticket(`{"id":"A"}`))
	}
	d.serve()
	for i, line := range d.answers(20) {
		if !strings.HasPrefix(line, "A partial 1 mood=missing") {
			t.Errorf("answer %d is %s", i, line)
		}
	}
	if skew.Load() != 0 {
		t.Errorf("skew of %v is shown", time.Duration(skew.Load()))
	}
}
