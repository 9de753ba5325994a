// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Records ranges over what b.Read reads. An error ends it.
func Records(ctx context.Context, b *Broker, topic string, partition int32, from, to Position) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		reader, err := b.Read(ctx, topic, partition, from, to)
		if err != nil {
			yield(nil, err)
			return
		}
		defer reader.Close()
		for {
			records, err := reader.Next(ctx, 0)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range records {
				if !yield(&records[i], nil) {
					return
				}
			}
		}
	}
}

// First returns the first record of a partition at or after a position, or nil.
// It reads no more than that one.
func First(ctx context.Context, b *Broker, topic string, partition int32, from Position) (*Record, error) {
	reader, err := b.Read(ctx, topic, partition, from, Position{})
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	records, err := reader.Next(ctx, 1)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &records[0], nil
}

// Last returns the last record of a partition, or nil. On some brokers offsets
// before the end hold no record, so it looks further and further back.
func Last(ctx context.Context, b *Broker, topic string, partition int32) (*Record, error) {
	infos, err := b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		if info.Name != topic || int(partition) >= len(info.Ends) {
			continue
		}
		ends := info.Ends[partition]
		for back := int64(1); ; back *= 16 {
			from := max(ends.Start, ends.End-back)
			var last *Record
			for r, err := range Records(ctx, b, topic, partition, Offset(from), Position{}) {
				if err != nil {
					return nil, err
				}
				last = r
			}
			if last != nil || from == ends.Start {
				return last, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %s[%d]", ErrUnknownTopic, topic, partition)
}
