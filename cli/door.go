// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
)

// door is a way into a running pipeline. To add one, write a file with its type
// and add a line to doors.
type door interface {
	// name is what the door is called in logs and errors, such as "http".
	name() string

	// flags adds the door's own flags to those of run: where it is, or "off".
	flags(*cobra.Command)

	// open takes the door's address, so that it is known whether it can be had
	// before anything is made, and returns it; "" if the door is switched off. What
	// the door needs of the pipeline it adds to its options.
	open(ctx context.Context, o *millrace.Options) (address string, err error)

	// serve answers programs until ctx ends, which is after the pipeline has drained,
	// and then waits for those that are in, at most for grace. It is called once, when
	// the door is open, and gives the address back. Until lead is called nothing is
	// let in: programs are answered that the process has just started.
	serve(ctx context.Context, grace time.Duration) error

	// lead says what the door leads to, when that is there: it may have waited long
	// for its broker.
	lead(in inside) error

	// healthy is nil unless an open door is of no use.
	healthy() error
}

// doors are all there are.
func doors() []door { return []door{&httpDoor{}, &probeDoor{}} }

// inside is what a door leads to.
type inside struct {
	app    *millrace.App
	broker *broker.Broker
}

// openedDoors are those that are not switched off.
type openedDoors struct {
	doors     []door
	addresses []any // name, address, …: for the log

	end     context.CancelFunc // of serving
	serving sync.WaitGroup
	failed  chan struct{} // closed when a door has ended by itself

	mu  sync.Mutex
	err error // what the doors have ended with
}

// openDoors opens all doors that are not switched off, or none.
func openDoors(ctx context.Context, all []door, options *millrace.Options, grace time.Duration) (*openedDoors, error) {
	o := &openedDoors{failed: make(chan struct{})}
	var serving context.Context
	serving, o.end = context.WithCancel(context.WithoutCancel(ctx))
	var once sync.Once
	for _, d := range all {
		address, err := d.open(ctx, options)
		if err != nil {
			return nil, errors.Join(err, o.close())
		}
		if address == "" {
			continue
		}
		o.doors = append(o.doors, d)
		o.addresses = append(o.addresses, d.name(), address)
		o.serving.Go(func() {
			err := d.serve(serving, grace)
			o.mu.Lock()
			defer o.mu.Unlock()
			if err != nil {
				o.err = errors.Join(o.err, fmt.Errorf("%s: %w", d.name(), err))
			}
			once.Do(func() { close(o.failed) })
		})
	}
	return o, nil
}

// lead makes the doors lead to a pipeline, whose health they are a part of.
func (o *openedDoors) lead(in inside) error {
	for _, d := range o.doors {
		if err := d.lead(in); err != nil {
			return fmt.Errorf("%s: %w", d.name(), err)
		}
		in.app.Watch(d.name(), d.healthy)
	}
	return nil
}

// close waits for those who are in, and gives the addresses back. It returns what
// the doors have ended with; a second call returns nil.
func (o *openedDoors) close() error {
	o.end()
	o.serving.Wait()
	err := o.err
	o.err = nil
	return err
}

// serve runs the pipeline until ctx ends. Then the pipeline takes nothing more in
// and drains, and the doors, which show the last answers, end after it.
func (o *openedDoors) serve(ctx context.Context, run func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-o.failed:
			stop() // without its doors the pipeline is of no use
		case <-ctx.Done():
		}
	}()
	err := run(ctx)
	return errors.Join(err, o.close())
}
