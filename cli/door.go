// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
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
	// before anything is made, and returns it; "" if the door is switched off.
	// Nothing is let in yet. What the door needs of the pipeline it adds to its
	// options.
	open(ctx context.Context, o *millrace.Options) (address string, err error)

	// lead says what the door leads to. It is called once, if the door is open.
	lead(in inside) error

	// serve lets programs in until ctx ends, which is after the pipeline has
	// drained, and then waits for those that are in, at most for grace. It is
	// called once, if the door is open, and gives the address back. Of a door that
	// leads nowhere yet it does no more than that, and ctx has ended.
	serve(ctx context.Context, grace time.Duration) error

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
}

// openDoors opens all doors that are not switched off, or none.
func openDoors(ctx context.Context, all []door, options *millrace.Options) (*openedDoors, error) {
	o := &openedDoors{}
	for _, d := range all {
		address, err := d.open(ctx, options)
		if err != nil {
			return nil, errors.Join(err, o.close(ctx))
		}
		if address == "" {
			continue
		}
		o.doors = append(o.doors, d)
		o.addresses = append(o.addresses, d.name(), address)
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

// close gives the addresses of doors back that never served.
func (o *openedDoors) close(ctx context.Context) error {
	ended, end := context.WithCancel(ctx)
	end()
	var err error
	for _, d := range o.doors {
		err = errors.Join(err, d.serve(ended, 0))
	}
	o.doors = nil
	return err
}

// serve runs the pipeline until ctx ends. Then the pipeline takes nothing more in
// and drains, and the doors, which show the last answers, end after it.
func (o *openedDoors) serve(ctx context.Context, run func(context.Context) error, grace time.Duration) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	all := o.doors
	o.doors = nil // they give their addresses back themselves
	ended := make(chan error, len(all))
	for _, d := range all {
		go func() {
			err := d.serve(serving, grace)
			if err != nil {
				err = fmt.Errorf("%s: %w", d.name(), err)
			}
			ended <- err
			stop() // without its doors the pipeline is of no use
		}()
	}
	err := run(ctx)
	end()
	for range all {
		err = errors.Join(err, <-ended)
	}
	return err
}
