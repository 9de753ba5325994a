// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// holding joins a member with an open batch of one record in each of two
// partitions.
func (d *desk) holding(o Options, url string) (*broker.Consumer, []*broker.Batch) {
	d.t.Helper()
	c := d.join(open(d.t, url, o))
	var batches []*broker.Batch
	for p := range int32(2) {
		d.publishTo(p, "open")
		batch, err := c.Poll(d.t.Context(), broker.Want{})
		if err != nil {
			d.t.Fatal(err)
		}
		batches = append(batches, batch)
	}
	return c, batches
}

func (d *desk) publishTo(partition int32, value string) {
	d.t.Helper()
	r := broker.Record{Topic: d.in, Partition: partition, Pinned: true, Value: []byte(value + strconv.Itoa(int(partition)))}
	if _, err := d.b.Publish(d.t.Context(), r); err != nil {
		d.t.Fatal(err)
	}
}

func TestOnlyTheBatchesOfALostPartitionAreFenced(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 2)
	_, batches := d.holding(conformanceOptions, node(t).URL())
	heir := d.join(d.b)
	taken := d.poll(heir) // after the hand-over time
	lost := taken[0].Partition
	if err := heir.Settle(t.Context(), d.answers(taken)...); err != nil {
		t.Fatal(err)
	}
	for p, batch := range batches {
		err := batch.Settle(t.Context(), d.answers(batch.Records)...)
		if fenced := errors.Is(err, broker.ErrFenced); fenced != (int32(p) == lost) || !fenced && err != nil {
			t.Errorf("partition %d was lost; settle of a batch of partition %d: %v", lost, p, err)
		}
	}
	for p, want := range []string{"open0", "open1"} {
		if got := d.answered(int32(p)); !slices.Equal(got, []string{want}) {
			t.Errorf("partition %d has the answers %q, want %q once", p, got, want)
		}
	}
}

func TestAPartitionThatOthersWaitForIsHandedOverWhenItsBatchesAreSettled(t *testing.T) {
	t.Parallel()
	o := conformanceOptions
	o.HandoverTimeout = time.Hour
	d := newDesk(t, node(t).URL(), 2)
	c, batches := d.holding(o, node(t).URL())
	heir := d.join(open(t, node(t).URL(), o))
	d.waitUntilOneWaits()
	for p := range int32(2) {
		d.publishTo(p, "next")
	}
	kept := d.poll(c)
	if len(kept) != 1 {
		t.Fatalf("polled %v while another member waits for a partition, want one record", kept)
	}
	waits := 1 - kept[0].Partition
	ctx, cancel := context.WithCancel(t.Context())
	polling := make(chan error, 1)
	go func() {
		_, err := c.Poll(ctx, broker.Want{})
		polling <- err
	}()
	if err := batches[waits].Settle(t.Context(), d.answers(batches[waits].Records)...); err != nil {
		t.Fatal(err)
	}
	if got := d.poll(heir); len(got) != 1 || got[0].Partition != waits || string(got[0].Value) != "next"+strconv.Itoa(int(waits)) {
		t.Errorf("the heir of partition %d polled %v", waits, got)
	}
	cancel()
	if err := <-polling; !errors.Is(err, context.Canceled) {
		t.Errorf("the first member polled on and got %v", err)
	}
	if a := c.Assignment(); len(a.Partitions) != 1 || a.Partitions[0] != kept[0].Partition {
		t.Errorf("the first member owns %v, want partition %d", a.Partitions, kept[0].Partition)
	}
}

// waitUntilOneWaits waits until the group wants to give a partition to another
// member than the one that has a batch of it.
func (d *desk) waitUntilOneWaits() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	for {
		lags, err := d.b.Lag(ctx, d.group)
		if err != nil {
			d.t.Fatal(err)
		}
		if (lags[0].Member == "") != (lags[1].Member == "") {
			break
		}
		_ = backoff.Sleep(ctx, 10*time.Millisecond)
	}
	_ = backoff.Sleep(ctx, 200*time.Millisecond) // so that the member has heard of it
}
