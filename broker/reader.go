// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// readMost is what Reader.Next returns at most when its caller does not say.
const readMost = 1024

// Reader reads records in order. It is used by one goroutine; Close may be
// called by another one, and ends a Next that waits.
type Reader struct {
	topic string
	c     Cursor
	*life
}

func newReader(b *Broker, topic string, c Cursor) *Reader {
	return &Reader{topic: topic, c: c, life: newLife(b.life)}
}

// Next returns at least one and at most max records (0: as many as are at hand,
// up to 1024). At the end it returns io.EOF. Their bytes may be kept.
func (r *Reader) Next(ctx context.Context, max int) ([]Record, error) {
	call, err := r.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	if max <= 0 || max > readMost {
		max = readMost
	}
	records, err := r.c.Next(call, max)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read topic %s: %w", r.topic, call.failed(err))
	}
	return records, err
}

// Close ends the reader. A second Close does nothing.
func (r *Reader) Close() error {
	if !r.end() {
		return nil
	}
	if r.parent.begin() != nil {
		return nil // the broker's Close has ended it
	}
	defer r.parent.done()
	return r.c.Close()
}
