// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// A member was killed in the middle of a settle: its transaction stays open until
// its time is over, and hides what was acknowledged after it.
func TestReadingToTheEndWaitsForWhatAnOpenTransactionHides(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 1)
	killed, err := d.b.Driver().(*driver).newClient(kgo.TransactionalID(d.group), kgo.TransactionTimeout(decision+2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer killed.Close()
	if err := killed.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := killed.ProduceSync(t.Context(), &kgo.Record{Topic: d.out, Value: []byte("undecided")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.b.Publish(t.Context(), broker.Record{Topic: d.out, Pinned: true, Value: []byte("acknowledged")}); err != nil {
		t.Fatal(err)
	}
	d.wantAnswers("acknowledged")
}

func TestReadingGoesOnWhereOlderRecordsHaveBeenDeleted(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 1)
	d.publish("a")
	d.publish("b")
	d.publish("c")
	r, err := d.b.Read(t.Context(), d.in, 0, broker.Start(), broker.End())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := kadm.Offsets{}
	before.AddOffset(d.in, 0, 1, -1)
	if _, err := d.b.Driver().(*driver).admin.DeleteRecords(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	records, err := r.Next(t.Context(), 0)
	if err != nil || len(records) == 0 || string(records[0].Value) != "b" {
		t.Errorf("after the first record was deleted the read returned %v, %v", records, err)
	}
}
