// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/lineage"
)

// rewrite returns a record as it is to be in the copy: places that its headers
// name are those of the copy.
func (t *Transfer) rewrite(ctx context.Context, r *broker.Record) (broker.Record, error) {
	made := broker.Record{Topic: r.Topic, Partition: r.Partition, Pinned: true, Key: r.Key, Value: r.Value, Headers: r.Headers}
	if service, is := lineage.DecisionsOf(r.Topic); is {
		letters := lineage.DeadTopic(service)
		decision, err := deadletter.Relocate(r, func(p int32, offset int64) (int64, error) { return t.after(ctx, letters, p, offset) })
		made.Value = decision.Value
		return made, err
	}
	owned := false
	for i, h := range r.Headers {
		value, err := t.rewriteHeader(ctx, r, h)
		if err != nil {
			return made, err
		}
		if string(value) == string(h.Value) {
			continue
		}
		if !owned {
			made.Headers, owned = slices.Clone(r.Headers), true
		}
		made.Headers[i].Value = value
	}
	return made, nil
}

func (t *Transfer) rewriteHeader(ctx context.Context, r *broker.Record, h broker.Header) ([]byte, error) {
	switch {
	case h.Key == lineage.JoinLow:
		return t.rewriteLow(ctx, r, h.Value)
	case lineage.HoldsPlace(h.Key):
		return t.rewriteID(ctx, h.Value)
	}
	return h.Value, nil
}

// rewriteID puts the source's place in the copy into an id.
func (t *Transfer) rewriteID(ctx context.Context, id []byte) ([]byte, error) {
	path, err := lineage.Parse(string(id))
	if err != nil || strings.HasPrefix(path.Source.Topic, lineage.Gone) {
		return id, nil
	}
	l := t.log(path.Source.Topic, path.Source.Partition)
	if l == nil {
		return append([]byte(lineage.Gone), id...), nil
	}
	if err := l.reach(ctx, path.Source.Offset); err != nil {
		return nil, err
	}
	to, ok := l.offsets.at(path.Source.Offset)
	if !ok {
		return append([]byte(lineage.Gone), id...), nil
	}
	path.Source.Offset = to
	if path.Steps == "" {
		return []byte(path.Source.String()), nil
	}
	return []byte(path.Source.String() + "/" + path.Steps), nil
}

// rewriteLow moves a gather's low-water mark, which counts in the topic of the
// source that the record answers.
func (t *Transfer) rewriteLow(ctx context.Context, r *broker.Record, value []byte) ([]byte, error) {
	low, err := strconv.ParseInt(string(value), 10, 64)
	of, ofErr := lineage.Parse(string(r.Header(lineage.JoinOf)))
	if err != nil || ofErr != nil {
		return value, nil
	}
	after, err := t.after(ctx, strings.TrimPrefix(of.Source.Topic, lineage.Gone), of.Source.Partition, low)
	return strconv.AppendInt(nil, after, 10), err
}

// after is the place in a copy after what stands before an offset. Of what is not
// copied it is the offset itself.
func (t *Transfer) after(ctx context.Context, topic string, partition int32, offset int64) (int64, error) {
	l := t.log(topic, partition)
	if l == nil {
		return offset, nil
	}
	if err := l.reach(ctx, offset-1); err != nil {
		return 0, err
	}
	return l.offsets.after(offset), nil
}
