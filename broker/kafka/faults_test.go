// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
	"github.com/millrace-ml/millrace/internal/test/ledger"
	servers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
)

// desk is a topic, a topic of answers, and the client that looks at them.
type desk struct {
	t       *testing.T
	b       *broker.Broker
	in, out string
	group   string
}

func newDesk(t *testing.T, url string, partitions int) *desk {
	t.Helper()
	d := namedDesk(t, open(t, url, conformanceOptions))
	if err := d.create(t.Context(), partitions); err != nil {
		t.Fatal(err)
	}
	return d
}

// namedDesk is a desk whose topics do not exist yet.
func namedDesk(t *testing.T, b *broker.Broker) *desk {
	suffix := strings.ToLower(rand.Text()[:10])
	return &desk{t: t, b: b, in: "in." + suffix, out: "out." + suffix, group: "g." + suffix}
}

func (d *desk) create(ctx context.Context, partitions int) error {
	return d.b.CreateTopics(ctx, broker.Topic{Name: d.in, Partitions: partitions}, broker.Topic{Name: d.out, Partitions: partitions})
}

func open(t *testing.T, url string, o Options) *broker.Broker {
	t.Helper()
	b, err := Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func (d *desk) publish(values ...string) {
	d.t.Helper()
	var records []broker.Record
	for _, v := range values {
		records = append(records, broker.Record{Topic: d.in, Pinned: true, Value: []byte(v)})
	}
	if _, err := d.b.Publish(d.t.Context(), records...); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) join(b *broker.Broker) *broker.Consumer {
	d.t.Helper()
	c, err := b.Join(d.t.Context(), d.group, broker.Start(), d.in)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

func (d *desk) poll(c *broker.Consumer) []broker.Record {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	batch, err := c.Poll(ctx, broker.Want{})
	if err != nil {
		d.t.Fatal(err)
	}
	return batch.Records
}

func (d *desk) answers(records []broker.Record) []broker.Record {
	var results []broker.Record
	for _, r := range records {
		results = append(results, broker.Record{Topic: d.out, Partition: r.Partition, Pinned: true, Key: r.Key, Value: r.Value})
	}
	return results
}

func (d *desk) wantAnswers(want ...string) {
	d.t.Helper()
	if got := d.answered(broker.AllPartitions); strings.Join(got, " ") != strings.Join(want, " ") {
		d.t.Errorf("the answers are %q, want %q", got, want)
	}
}

// answered reads the answers in a partition.
func (d *desk) answered(partition int32) []string {
	d.t.Helper()
	var got []string
	for r, err := range broker.Records(d.t.Context(), d.b, d.out, partition, broker.Start(), broker.Position{}) {
		if err != nil {
			d.t.Fatal(err)
		}
		got = append(got, string(r.Value))
	}
	return got
}

// seek moves the group, as soon as it has no members.
func (d *desk) seek(to broker.Position) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := d.b.Seek(ctx, d.group, d.in, to)
		if err == nil {
			return
		}
		if !errors.Is(err, broker.ErrGroupActive) {
			d.t.Fatal(err)
		}
		_ = backoff.Sleep(ctx, 20*time.Millisecond)
	}
}

// cutOff opens a client of the shared node that reaches it through a proxy of
// its own.
func cutOff(t *testing.T) (*broker.Broker, *proxy.Proxy) {
	t.Helper()
	p := proxy.Start(t, node(t).Nodes[0].Addr())
	o := conformanceOptions
	o.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, p.Addr())
	}
	return open(t, node(t).URL(), o), p
}

// The network fails at different moments of a settle, in every way that it can,
// and is back soon after.
func TestASettleTakesPlaceOnceWhateverTheNetworkDoes(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*proxy.Proxy){
		"loses the replies":     func(p *proxy.Proxy) { p.Set(proxy.Faults{Lose: true}) },
		"stands still":          func(p *proxy.Proxy) { p.Set(proxy.Faults{Stall: true}) },
		"is slow":               func(p *proxy.Proxy) { p.Set(proxy.Faults{Latency: 20 * time.Millisecond}) },
		"resets connections":    func(p *proxy.Proxy) { p.Reset() },
		"is gone":               func(p *proxy.Proxy) { p.Set(proxy.Faults{Refuse: true}); p.Reset() },
		"loses replies, resets": func(p *proxy.Proxy) { p.Set(proxy.Faults{Lose: true, Refuse: true}); p.Reset() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, node(t).URL(), 1)
			b, p := cutOff(t)
			c := d.join(b)
			var want []string
			for i := range 12 {
				want = append(want, strconv.Itoa(i))
				d.publish(strconv.Itoa(i))
				batch := d.poll(c)
				begin := time.AfterFunc(time.Duration(i)*time.Millisecond, func() { fail(p) })
				heal := time.AfterFunc(200*time.Millisecond, func() { p.Set(proxy.Faults{}) })
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				err := c.Settle(ctx, d.answers(batch)...)
				cancel()
				begin.Stop()
				heal.Stop()
				p.Set(proxy.Faults{})
				if err != nil {
					t.Fatalf("settle %d: %v", i, err)
				}
			}
			d.wantAnswers(want...)
		})
	}
}

// The caller gives up while the network stands still, and tries again when it
// is back.
func TestASettleThatWasGivenUpIsFoundOut(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 1)
	b, p := cutOff(t)
	c := d.join(b)
	for i, rewind := range []bool{false, true, false, true} {
		value := strconv.Itoa(i)
		d.publish(value)
		batch := d.poll(c)
		p.Set(proxy.Faults{Lose: i < 2, Stall: i >= 2})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := c.Settle(ctx, d.answers(batch)...)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("settle through a dead network: %v", err)
		}
		if rewind {
			c.Rewind()
		}
		p.Set(proxy.Faults{})
		if !rewind {
			if err := c.Settle(t.Context(), d.answers(batch)...); err != nil {
				t.Fatal(err)
			}
			continue
		}
		// It may have taken place or not; the group knows.
		d.publish("after " + value)
		for answered := false; !answered; {
			batch := d.poll(c)
			if err := c.Settle(t.Context(), d.answers(batch)...); err != nil {
				t.Fatal(err)
			}
			answered = string(batch[len(batch)-1].Value) == "after "+value
		}
	}
	d.wantAnswers("0", "1", "after 1", "2", "3", "after 3")
}

// The caller of the first of several batches gives up while the network stands
// still. When it is back, the second one finds out first what became of the first.
func TestASettleThatWasGivenUpComesBeforeThoseBehindIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 1)
	b, p := cutOff(t)
	c := d.join(b)
	d.publish("0", "1", "2")
	var batches []*broker.Batch
	for range 3 {
		batch, err := c.Poll(t.Context(), broker.Want{Records: 1})
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, batch)
	}
	p.Set(proxy.Faults{Stall: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := batches[0].Settle(ctx, d.answers(batches[0].Records)...); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("settle through a dead network: %v", err)
	}
	var others sync.WaitGroup
	for _, batch := range batches[1:] {
		others.Go(func() {
			if err := batch.Settle(t.Context(), d.answers(batch.Records)...); err != nil {
				t.Error(err)
			}
		})
	}
	p.Set(proxy.Faults{})
	if err := batches[0].Settle(t.Context(), d.answers(batches[0].Records)...); err != nil {
		t.Error(err)
	}
	others.Wait()
	d.wantAnswers("0", "1", "2")
}

// A member is cut off past its session; its heir answers the batch and leaves.
func TestAMemberThatWasCutOffIsFenced(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 2)
	b, p := cutOff(t)
	zombie := d.join(b)
	d.publish("a")
	held := d.poll(zombie)
	before := zombie.Assignment()
	p.Set(proxy.Faults{Stall: true})

	heir := d.join(d.b)
	batch := d.poll(heir)
	if err := heir.Settle(t.Context(), d.answers(batch)...); err != nil {
		t.Fatal(err)
	}
	if err := heir.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Set(proxy.Faults{})
	if err := zombie.Settle(t.Context(), d.answers(held)...); !errors.Is(err, broker.ErrFenced) {
		t.Fatalf("settle by a member that was cut off: %v, want an error that is %q", err, broker.ErrFenced)
	}
	d.publish("b")
	if got := d.poll(zombie); len(got) != 1 || string(got[0].Value) != "b" {
		t.Errorf("after it was fenced the member polled %v", got)
	}
	if zombie.Assignment().Epoch == before.Epoch {
		t.Error("the epoch is still the same after the member lost its partitions")
	}
	d.wantAnswers("a")
}

// A member is cut off past its session, and its group, which has no members
// then, is moved back.
func TestAMemberThatWasCutOffCannotSettleAfterASeek(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 1)
	b, p := cutOff(t)
	zombie := d.join(b)
	d.publish("a")
	if err := zombie.Settle(t.Context(), d.answers(d.poll(zombie))...); err != nil {
		t.Fatal(err)
	}
	d.publish("b")
	held := d.poll(zombie)
	p.Set(proxy.Faults{Stall: true})
	d.seek(broker.Start())
	p.Set(proxy.Faults{})
	if err := zombie.Settle(t.Context(), d.answers(held)...); !errors.Is(err, broker.ErrFenced) {
		t.Fatalf("settle after the group was moved: %v, want an error that is %q", err, broker.ErrFenced)
	}
	for d.lag() > 0 {
		if err := zombie.Settle(t.Context(), d.answers(d.poll(zombie))...); err != nil {
			t.Fatal(err)
		}
	}
	d.wantAnswers("a", "a", "b")
}

// The node is gone for a while under load. Members, publishers and readers stay
// as they are. MILLRACE_LONG makes the outage a minute long.
func TestWorkResumesAfterAnOutage(t *testing.T) {
	t.Parallel()
	outage := 2 * time.Second
	if os.Getenv("MILLRACE_LONG") != "" {
		outage = time.Minute
	}
	c := servers.ForTest(t, servers.Options{})
	underLoad(t, c, func(settled <-chan time.Time) {
		c.Nodes[0].Kill()
		time.Sleep(outage)
		if err := c.Nodes[0].Restart(); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		t.Logf("the first settle came %v after the node's return", firstAfter(t, settled, back).Sub(back))
	})
}

// One node of three after the other is killed under load, and work goes on
// without it.
func TestWorkGoesOnWithoutOneNodeOfThree(t *testing.T) {
	t.Parallel()
	c := servers.ForTest(t, servers.Options{Nodes: 3})
	underLoad(t, c, func(settled <-chan time.Time) {
		for _, node := range c.Nodes {
			node.Kill()
			killed := time.Now()
			t.Logf("the next settle came after %v", firstAfter(t, settled, killed.Add(100*time.Millisecond)).Sub(killed))
			if err := node.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// firstAfter waits for a settle after a time.
func firstAfter(t *testing.T, settled <-chan time.Time, earliest time.Time) time.Time {
	t.Helper()
	patience := time.After(time.Minute)
	for {
		select {
		case at := <-settled:
			if at.After(earliest) {
				return at
			}
		case <-patience:
			t.Fatalf("nothing was settled in the minute after %v", earliest)
		}
	}
}

// underLoad lets two members answer a publisher while the fault happens, and
// then looks whether every record was answered once and in order.
func underLoad(t *testing.T, c *servers.Cluster, fault func(settled <-chan time.Time)) {
	d := newDesk(t, c.URL(), 2)
	var ledger ledger.Ledger
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	settled := make(chan time.Time, 1<<16)
	for _, batches := range []int{1, 8} {
		consumer := d.join(open(t, c.URL(), conformanceOptions))
		running.Go(func() { d.work(ctx, consumer, batches, settled) })
	}
	running.Go(func() { d.feed(ctx, &ledger) })
	<-settled
	fault(settled)
	stop()
	running.Wait()
	d.drain()
	for r, err := range broker.Records(t.Context(), d.b, d.out, broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.ParseInt(string(r.Value), 10, 64)
		ledger.See(d.out, string(r.Key), n, r.Place())
	}
	if err := ledger.Audit(d.out).Err(); err != nil {
		t.Error(err)
	}
}

// drain answers what is left.
func (d *desk) drain() {
	d.t.Helper()
	c := d.join(d.b)
	for d.lag() > 0 {
		ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
		batch, err := c.Poll(ctx, broker.Want{})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue // another member's session has to end first
		}
		if err == nil {
			err = batch.Settle(d.t.Context(), d.answers(batch.Records)...)
		}
		if err != nil && !errors.Is(err, broker.ErrFenced) {
			d.t.Fatal(err)
		}
	}
}

func (d *desk) lag() int64 {
	lags, err := d.b.Lag(d.t.Context(), d.group)
	if err != nil {
		d.t.Fatal(err)
	}
	total := int64(0)
	for _, l := range lags {
		total += l.Lag
	}
	return total
}

// work answers until ctx ends, with so many batches open at a time. Nothing but that
// and being fenced is an error.
func (d *desk) work(ctx context.Context, c *broker.Consumer, open int, settled chan<- time.Time) {
	room := make(chan struct{}, open)
	for ctx.Err() == nil {
		room <- struct{}{}
		batch, err := c.Poll(ctx, broker.Want{Records: 10})
		if err != nil {
			<-room
			d.worked(ctx, err, settled)
			continue
		}
		go func() {
			defer func() { <-room }()
			d.worked(ctx, batch.Settle(ctx, d.answers(batch.Records)...), settled)
		}()
	}
	for range open {
		room <- struct{}{}
	}
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.Close(closing)
}

// worked notes what became of a worker's call.
func (d *desk) worked(ctx context.Context, err error, settled chan<- time.Time) {
	switch {
	case ctx.Err() != nil, errors.Is(err, broker.ErrFenced):
	case err != nil:
		d.t.Errorf("worker: %v", err)
	default:
		select {
		case settled <- time.Now():
		case <-ctx.Done():
		}
	}
}

// feed publishes numbered records until ctx ends.
func (d *desk) feed(ctx context.Context, ledger *ledger.Ledger) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("key-%d", i%5)
		n := ledger.Issue(key)
		_, err := d.b.Publish(ctx, broker.Record{Topic: d.in, Key: []byte(key), Value: []byte(strconv.FormatInt(n, 10))})
		if err == nil {
			ledger.Acknowledge(key, n)
		} else if ctx.Err() == nil {
			d.t.Errorf("publish: %v", err)
			return
		}
	}
}
