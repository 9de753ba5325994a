// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	servers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
)

func TestTopicsAreLookedAt(t *testing.T) {
	t.Parallel()
	url := servers.ForTest(t, servers.Options{}).URL()
	t.Run("one that is made again is read from its start", func(t *testing.T) { madeAgain(t, url) })
	t.Run("one that grows is noticed", func(t *testing.T) { grown(t, url) })
}

// madeAgain deletes topics and makes them again while a member reads one and writes
// the other.
func madeAgain(t *testing.T, url string) {
	d := newDesk(t, url, 2)
	c := d.join(d.b)
	d.publish("a", "b", "c")
	for n := 0; n < 3; {
		records := d.poll(c)
		n += len(records)
		if err := c.Settle(t.Context(), d.answers(records)...); err != nil {
			t.Fatal(err)
		}
	}
	admin := d.b.Driver().(*driver).admin
	deleted, err := admin.DeleteTopics(t.Context(), d.in, d.out)
	if err = errors.Join(err, deleted.Error()); err != nil {
		t.Fatal(err)
	}
	// The servers delete in their own time, and do not take the name again before.
	for again := time.Now().Add(30 * time.Second); ; {
		if err = d.create(t.Context(), 2); err == nil || time.Now().After(again) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	d.publish("new")
	for err == nil { // what was at hand may come yet
		_, err = c.Poll(t.Context(), broker.Want{})
	}
	if !errors.Is(err, broker.ErrRejoin) || !strings.Contains(err.Error(), d.in) {
		t.Fatalf("Poll returned %v, want ErrRejoin and the topic", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	c = d.join(d.b)
	records := d.poll(c)
	if len(records) != 1 || string(records[0].Value) != "new" {
		t.Fatalf("polled %v", records)
	}
	if err := c.Settle(t.Context(), d.answers(records)...); err != nil {
		t.Fatal(err)
	}
	d.wantAnswers("new")
}

func grown(t *testing.T, url string) {
	log := &lines{}
	o := conformanceOptions
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	d := namedDesk(t, open(t, url, o))
	if err := d.create(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c := d.join(d.b)
	grown, err := d.b.Driver().(*driver).admin.UpdatePartitions(t.Context(), 2, d.in)
	if err = errors.Join(err, grown.Error()); err != nil {
		t.Fatal(err)
	}
	d.publish("a")
	if got := d.poll(c); len(got) != 1 {
		t.Errorf("polled %v", got)
	}
	for deadline := time.Now().Add(30 * time.Second); !log.has("more partitions"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is said of the new partition")
		}
	}
}

// lines is a log that can be looked at.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}
