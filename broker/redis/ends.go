// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// streamEnds is what a stream says of itself.
type streamEnds struct {
	first, last id    // of the entries that are kept, and of all that ever were
	length      int64 // entries that are kept
	added       int64 // entries that ever were
	deleted     id    // the last entry that was deleted one by one
}

// next is the lowest offset that the next entry can get.
func (e streamEnds) next() int64 {
	if e.last == 0 {
		return 0
	}
	return int64(e.last) + 1
}

func (e streamEnds) info() broker.PartitionEnds {
	ends := broker.PartitionEnds{Start: int64(e.first), End: e.next(), Records: e.length}
	if e.length == 0 {
		ends.Start = ends.End
	}
	return ends
}

// ends looks at streams at one instant.
func (d *driver) ends(ctx context.Context, streams []string) ([]streamEnds, error) {
	_, ends, err := d.endsOf(ctx, "", nil, streams)
	return ends, err
}

// endsOf looks at streams and fields of a group at one instant. Fields that do
// not exist are nil.
func (d *driver) endsOf(ctx context.Context, group string, fields, streams []string) ([]any, []streamEnds, error) {
	keys := append([]string{d.keys.generation(), d.keys.group(group)}, streams...)
	args := make([]any, 0, len(fields))
	for _, f := range fields {
		args = append(args, f)
	}
	v, err := d.run(ctx, d.scripts.ends, keys, args)
	if err != nil {
		return nil, nil, err
	}
	list, _ := v.([]any)
	if len(list) != len(fields)+5*len(streams) {
		return nil, nil, fmt.Errorf("the script ends.lua answered with %d values", len(list))
	}
	values, list := list[:len(fields)], list[len(fields):]
	ends := make([]streamEnds, len(streams))
	for i := range ends {
		if ends[i], err = parseEnds(list[5*i : 5*i+5]); err != nil {
			return nil, nil, fmt.Errorf("stream %s: %w", streams[i], err)
		}
	}
	return values, ends, nil
}

func parseEnds(list []any) (e streamEnds, err error) {
	for i, at := range []*id{&e.first, &e.last, nil, nil, &e.deleted} {
		if at == nil {
			continue
		}
		text, _ := list[i].(string)
		if *at, err = parseID(text); err != nil {
			return e, err
		}
	}
	e.length, _ = list[2].(int64)
	e.added, _ = list[3].(int64)
	return e, nil
}

// resolve finds the entry that is before a position.
func (e streamEnds) resolve(to broker.Position) id {
	if to.IsEnd() || to.IsForever() {
		return e.last
	}
	if n, ok := to.Offset(); ok {
		return min(id(max(n, 0)).before(), e.last)
	}
	if t, ok := to.Time(); ok {
		return min(idAt(t).before(), e.last)
	}
	return 0
}

// locate is resolve with the count of entries before it, which needs counting
// where Redis does not know it.
func (d *driver) locate(ctx context.Context, stream string, e streamEnds, to broker.Position) (position, error) {
	p := position{last: e.resolve(to)}
	after, err := d.countAfter(ctx, stream, e, p.last)
	if err != nil {
		return position{}, err
	}
	p.read = max(0, e.added-after)
	return p, nil
}

// countAfter counts the entries after an id, up to the last one in ends.
func (d *driver) countAfter(ctx context.Context, stream string, e streamEnds, after id) (int64, error) {
	if after >= e.last || e.length == 0 {
		return 0, nil
	}
	if after < e.first {
		return e.length, nil
	}
	const pace = 3 * time.Millisecond // so long may others wait for a look at entries
	var total int64
	look := 16
	for after < e.last {
		began := time.Now()
		n, last, err := d.countSome(ctx, stream, after, e.last, look)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		total, after = total+n, last
		switch took := time.Since(began); {
		case took < pace && look < 1<<14:
			look *= 2
		case took > 2*pace && look > 16:
			look /= 2
		}
	}
	return total, nil
}

func (d *driver) countSome(ctx context.Context, stream string, after, to id, look int) (int64, id, error) {
	v, err := call(ctx, d, func(ctx context.Context) (any, error) {
		return d.eval(ctx, d.scripts.count, []string{stream}, after.String(), to.String(), look)
	})
	if err != nil {
		return 0, 0, err
	}
	list, _ := v.([]any)
	if len(list) != 2 {
		return 0, 0, fmt.Errorf("the script count.lua answered with %d values", len(list))
	}
	n, _ := list[0].(int64)
	text, _ := list[1].(string)
	last, err := parseID(text)
	return n, last, err
}
