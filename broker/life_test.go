// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// inBackground runs a call until something ends it.
func inBackground(call func(ctx context.Context) error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call(context.Background()) }()
	synctest.Wait()
	return done
}

// The fake driver fails the test when anything is called, or returns, after its
// Close.
func TestTheDriverIsClosedWhenTheLastCallHasReturned(t *testing.T) {
	for what, begin := range map[string]func(t *testing.T, b *Broker) func(ctx context.Context) error{
		"a call of the broker": func(_ *testing.T, b *Broker) func(ctx context.Context) error {
			return func(ctx context.Context) error { _, err := b.Topics(ctx); return err }
		},
		"a reader's Next": func(t *testing.T, b *Broker) func(ctx context.Context) error {
			r, err := b.Read(t.Context(), "in", 0, Start(), Forever())
			if err != nil {
				t.Fatal(err)
			}
			return func(ctx context.Context) error { _, err := r.Next(ctx, 1); return err }
		},
		"a Poll": func(t *testing.T, b *Broker) func(ctx context.Context) error {
			c, err := b.Join(t.Context(), "g", Start(), "in")
			if err != nil {
				t.Fatal(err)
			}
			return func(ctx context.Context) error { _, err := c.Poll(ctx, Want{}); return err }
		},
		"a Settle": func(t *testing.T, b *Broker) func(ctx context.Context) error {
			c, err := b.Join(t.Context(), "g", Start(), "in")
			if err != nil {
				t.Fatal(err)
			}
			d := b.Driver().(*fakeDriver)
			d.member.settles = func(ctx context.Context, _ int, _ *Settlement) (bool, error) {
				<-ctx.Done()
				return false, errors.Join(d.note("Settle returns"), ctx.Err())
			}
			return func(ctx context.Context) error { return c.Settle(ctx) }
		},
		"a consumer's Close": func(t *testing.T, b *Broker) func(ctx context.Context) error {
			c, err := b.Join(t.Context(), "g", Start(), "in")
			if err != nil {
				t.Fatal(err)
			}
			return func(ctx context.Context) error {
				if err := c.Close(ctx); err != nil {
					return err
				}
				return ErrClosed // it has left, which is as good
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, m := newFake(t, 1)
				call := begin(t, b)
				m.d.block = true
				done := inBackground(call)
				for range 2 {
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
				}
				wantErr(t, what, done, ErrClosed)
			})
		})
	}
}

func TestAClosedBrokersReadersAndConsumersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newFake(t, 1)
		c, err := b.Join(t.Context(), "g", Start(), "in")
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.Read(t.Context(), "in", 0, Start(), Forever())
		if err != nil {
			t.Fatal(err)
		}
		m.publish(0, 1)
		batch := open(t, c, 1)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		m.d.saw()
		if _, err := r.Next(t.Context(), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("Next: %v", err)
		}
		if _, err := c.Poll(t.Context(), Want{}); !errors.Is(err, ErrClosed) {
			t.Errorf("Poll: %v", err)
		}
		if err := batch.Settle(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Settle: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("the reader's Close: %v", err)
		}
		if err := c.Close(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("the consumer's Close: %v", err)
		}
		wantList(t, "the closed driver saw", m.d.saw())
	})
}

func TestClosingAReaderEndsItsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newFake(t, 1)
		r, err := b.Read(t.Context(), "in", 0, Start(), Forever())
		if err != nil {
			t.Fatal(err)
		}
		m.d.block = true
		done := inBackground(func(ctx context.Context) error { _, err := r.Next(ctx, 1); return err })
		for range 2 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		wantErr(t, "Next", done, ErrClosed)
		wantList(t, "the driver saw", m.d.saw(), "Read in [0] start forever", "Next 1", "Next returns", "Cursor.Close")
	})
}

// A member that does not leave would keep its partitions.
func TestAConsumerLeavesThoughItsContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.d.saw()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantList(t, "the driver saw", m.d.saw(), "Member.Close")
	})
}
