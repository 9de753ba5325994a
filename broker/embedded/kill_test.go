// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

// childDir in the environment makes the test binary a child that publishes and
// settles in that directory until it is killed. childDurability says how.
const (
	childDir        = "MILLRACE_TEST_CHILD_DIR"
	childDurability = "MILLRACE_TEST_CHILD_DURABILITY"
)

// runChild runs the child, if this process is one.
func runChild() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	d, err := ParseDurability(os.Getenv(childDurability))
	if err == nil {
		err = childWork(dir, d)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
	return true
}

// childWork prints "P n" when the publish of number n was acknowledged, and
// "S n" when n records were settled in all.
func childWork(dir string, d Durability) error {
	ctx := context.Background()
	b, err := Open(dir, Options{Durability: d, Logger: quiet})
	if err != nil {
		return err
	}
	if err := b.CreateTopics(ctx, broker.Topic{Name: "in", Partitions: 1}, broker.Topic{Name: "out", Partitions: 1}); err != nil {
		return err
	}
	infos, err := b.Topics(ctx)
	if err != nil {
		return err
	}
	next := infos[0].Ends[0].End
	c, err := b.Join(ctx, "g", broker.Start(), "in")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(what string, n int64) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, n)
	}
	failed := make(chan error, 2)
	go func() {
		for ; ; next++ {
			if _, err := b.Publish(ctx, broker.Record{Topic: "in", Value: strconv.AppendInt(nil, next, 10)}); err != nil {
				failed <- err
				return
			}
			say("P", next)
		}
	}()
	go func() {
		for {
			batch, err := c.Poll(ctx, broker.Want{Records: 7})
			if err != nil {
				failed <- err
				return
			}
			results := slices.Clone(batch.Records)
			for i := range results {
				results[i].Topic, results[i].Pinned = "out", true
			}
			if err := batch.Settle(ctx, results...); err != nil {
				failed <- err
				return
			}
			say("S", results[len(results)-1].Offset+1)
		}
	}()
	return <-failed
}

func TestKill9LosesNothingAndDoublesNothing(t *testing.T) {
	for _, d := range []Durability{Fsync, OS} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var published, settled int64 // acknowledged so far
			for i := range cuts(20) {
				p, s := killChild(t, dir, d, 20+i*13%400)
				published, settled = max(published, p), max(settled, s)
			}
			checkChild(t, dir, published, settled)
		})
	}
}

// killChild starts a child and kills it after it has said so many lines, which
// is in the middle of others. It returns what was acknowledged.
func killChild(t *testing.T, dir string, d Durability, lines int) (published, settled int64) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childDurability+"="+d.String())
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for n := 0; scanner.Scan(); n++ {
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		// Lines after the kill were said before it.
		what, number, _ := strings.Cut(scanner.Text(), " ")
		value, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			continue // the last line may be torn
		}
		if what == "P" {
			published = max(published, value+1)
		} else {
			settled = max(settled, value)
		}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child was not killed: %v: %s", err, complaint.String())
	}
	return published, settled
}

func checkChild(t *testing.T, dir string, published, settled int64) {
	b, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	in, out := childNumbers(t, b, "in"), childNumbers(t, b, "out")
	if in < published {
		t.Errorf("%d publishes were acknowledged, %d records are there", published, in)
	}
	lags, err := b.Lag(t.Context(), "g")
	if err != nil || len(lags) != 1 {
		t.Fatalf("lags are %v, error %v", lags, err)
	}
	if lags[0].Position != out || out < settled || out > in {
		t.Errorf("of %d records %d were acknowledged as settled, the position is %d and there are %d results", in, settled, lags[0].Position, out)
	}
	if published == 0 || settled == 0 {
		t.Errorf("%d published and %d settled prove nothing", published, settled)
	}
}

// childNumbers reads a topic, in which record n has the value n, and counts.
func childNumbers(t *testing.T, b *broker.Broker, topic string) int64 {
	r, err := b.Read(t.Context(), topic, 0, broker.Start(), broker.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := int64(0)
	for {
		records, err := r.Next(t.Context(), 0)
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			if string(rec.Value) != strconv.FormatInt(n, 10) {
				t.Fatalf("record %d of %s has the value %s", n, topic, rec.Value)
			}
			n++
		}
	}
}
