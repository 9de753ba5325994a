// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lateDriver has calls that take a while to notice that they are to end.
type lateDriver struct {
	Driver
	Member
	Cursor
	calls  atomic.Int32
	during atomic.Int32 // calls that had not returned when the driver was closed
}

func (d *lateDriver) Partitions(context.Context, string) (int, error) { return 1, nil }

func (d *lateDriver) Join(context.Context, string, Position, []string) (Member, error) {
	return lateMember{d}, nil
}

func (d *lateDriver) Read(context.Context, string, []int32, Position, Position) (Cursor, error) {
	return lateCursor{d}, nil
}

func (d *lateDriver) Close() error {
	d.during.Store(d.calls.Load())
	return nil
}

func (d *lateDriver) call(ctx context.Context) error {
	d.calls.Add(1)
	defer d.calls.Add(-1)
	<-ctx.Done()
	time.Sleep(time.Second)
	return ctx.Err()
}

type lateMember struct{ *lateDriver }

func (m lateMember) Poll(ctx context.Context, _ Want) (Polled, error) { return Polled{}, m.call(ctx) }
func (m lateMember) Settle(ctx context.Context, _ *Settlement) error  { return m.call(ctx) }
func (m lateMember) Assignment() Assignment                           { return Assignment{} }
func (m lateMember) Close(ctx context.Context) error                  { return m.call(ctx) }
func (m lateMember) Rewind([]int32)                                   {}

type lateCursor struct{ *lateDriver }

func (c lateCursor) Next(ctx context.Context, _ int) ([]Record, error) { return nil, c.call(ctx) }
func (c lateCursor) Close() error                                      { return nil }

func TestADriverIsClosedAfterTheLastCallHasReturned(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Consumer, *Reader) error{
		"Poll":   func(ctx context.Context, c *Consumer, _ *Reader) error { _, err := c.Poll(ctx, Want{}); return err },
		"Settle": func(ctx context.Context, c *Consumer, _ *Reader) error { return c.Settle(ctx) },
		"Close":  func(ctx context.Context, c *Consumer, _ *Reader) error { return c.Close(ctx) },
		"Next":   func(ctx context.Context, _ *Consumer, r *Reader) error { _, err := r.Next(ctx, 0); return err },
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &lateDriver{}
			b := New(d, Options{})
			c, err := b.Join(t.Context(), "g", Start(), "topic")
			if err != nil {
				t.Fatal(err)
			}
			r, err := b.Read(t.Context(), "topic", 0, Start(), Forever())
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- call(t.Context(), c, r) }()
			synctest.Wait()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if n := d.during.Load(); n != 0 {
				t.Errorf("%s had not returned when the driver was closed", name)
			}
			if err := <-done; !errors.Is(err, ErrClosed) && name != "Close" {
				t.Errorf("%s returned %v when the broker was closed, want ErrClosed", name, err)
			}
		})
	}
}
