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
	First, Last id    // of the entries that are kept, and of all that ever were
	Length      int64 // entries that are kept
	Added       int64 // entries that ever were
	Deleted     id    // the last entry that was deleted one by one
}

// next is the lowest offset that the next entry can get.
func (e streamEnds) next() int64 {
	if e.Last == 0 {
		return 0
	}
	return int64(e.Last) + 1
}

func (e streamEnds) info() broker.PartitionEnds {
	ends := broker.PartitionEnds{Start: int64(e.First), End: e.next(), Records: e.Length}
	if e.Length == 0 {
		ends.Start = ends.End
	}
	return ends
}

// snapshot is what there is of a group and of streams at one instant.
type snapshot struct {
	Positions map[string]position // by field
	Topics    string              // that the members read, separated by commas
	Owners    map[string]string   // by field: the member that owns a partition and is alive
	Ends      []streamEnds
}

// look looks at a group, if it is named, and at streams.
func (d *driver) look(ctx context.Context, group string, streams []string) (snapshot, error) {
	keys := append([]string{d.keys.generation(), d.keys.group(group)}, streams...)
	s, err := decode[snapshot](d.run(ctx, d.scripts.look, keys, nil))
	if err == nil && len(s.Ends) != len(streams) {
		err = fmt.Errorf("the script look.lua answered about %d streams of %d", len(s.Ends), len(streams))
	}
	return s, err
}

func (d *driver) ends(ctx context.Context, streams []string) ([]streamEnds, error) {
	s, err := d.look(ctx, "", streams)
	return s.Ends, err
}

// resolve finds the entry that is before a position.
func (e streamEnds) resolve(to broker.Position) id {
	if (to.IsEnd() || to.IsForever()) && e.Last == beyond {
		return idAt(time.Now()) // which is after all that can be read
	}
	if to.IsEnd() || to.IsForever() {
		return e.Last
	}
	if n, ok := to.Offset(); ok {
		return min(id(max(n, 0)).before(), e.Last)
	}
	if t, ok := to.Time(); ok {
		return min(idAt(t).before(), e.Last)
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
	p.read = max(0, e.Added-after)
	return p, nil
}

// countAfter counts the entries after an id, up to the last one in ends.
func (d *driver) countAfter(ctx context.Context, stream string, e streamEnds, after id) (int64, error) {
	if after >= e.Last || e.Length == 0 {
		return 0, nil
	}
	if after < e.First {
		return e.Length, nil
	}
	const pace = 3 * time.Millisecond // so long may others wait for a look at entries
	var total int64
	look := 16
	for after < e.Last {
		began := time.Now()
		n, last, err := d.countSome(ctx, stream, after, e.Last, look)
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
	end := to.String()
	if to == beyond {
		end = "+"
	}
	a, err := decode[struct {
		Count int64
		Last  id
	}](call(ctx, d, func(ctx context.Context) (any, error) {
		return d.eval(ctx, d.scripts.count, []string{stream}, after.String(), end, look)
	}))
	return a.Count, a.Last, err
}
