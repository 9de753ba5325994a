// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"fmt"
	"sync"
)

// Pause lets one service or gather drain and leave its group while the others
// go on; its records wait in their topics. It returns when it has left, or with
// the error of ctx.
func (a *App) Pause(ctx context.Context, name string) error {
	u, err := a.unit(name)
	if err != nil {
		return err
	}
	u.gate.update(func() { u.gate.shut = true })
	if err := u.gate.await(ctx, func() bool { return !u.gate.shut || !u.gate.inside }); err != nil {
		return fmt.Errorf("pause %s: %w", name, err)
	}
	return nil
}

// Resume lets a paused service or gather go on where it stopped.
func (a *App) Resume(name string) error {
	u, err := a.unit(name)
	if err != nil {
		return err
	}
	u.gate.update(func() { u.gate.shut = false })
	return nil
}

func (a *App) unit(name string) (*unit, error) {
	for _, u := range a.units {
		if u.Name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("no service or gather called %q runs here", name)
}

// gate is what a unit runs behind. The zero value is open.
type gate struct {
	mu      sync.Mutex
	shut    bool
	inside  bool          // the unit runs
	changed chan struct{} // closed at the next change; nil while no one waits
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// update changes the gate's state and wakes those that await it.
func (g *gate) update(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// await returns nil once the condition holds, which it looks at under the lock,
// or the error of ctx.
func (g *gate) await(ctx context.Context, condition func() bool) error {
	for {
		changed := g.changing(condition)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changing tells what to wait for, or nil if the condition holds.
func (g *gate) changing(condition func() bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if condition() {
		return nil
	}
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}

// run calls f whenever the gate is open, with a context that ends when it shuts,
// until ctx ends or f returns an error.
func (g *gate) run(ctx context.Context, f func(context.Context) error) error {
	enter := func() bool {
		g.inside = !g.shut
		return g.inside
	}
	for ctx.Err() == nil && g.await(ctx, enter) == nil {
		err := g.whileOpen(ctx, f)
		g.update(func() { g.inside = false })
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *gate) whileOpen(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		if g.await(ctx, func() bool { return g.shut }) == nil {
			cancel()
		}
	})
	return f(ctx)
}
