// SPDX-License-Identifier: Apache-2.0

package deadletter

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/service"
)

// Selection says which letters are meant: those that are every one of what is
// said. The zero value means all open ones. A nil list does not limit them; one
// that is empty and not nil is [ErrNothingSelected] wherever a selection is taken,
// as it comes of a search that found nothing and must not mean all.
type Selection struct {
	Services []string `json:"services,omitzero" jsonschema:"of these services"`
	Letters  []string `json:"letters,omitzero" jsonschema:"with these ids"`
	Key      string   `json:"key,omitempty" jsonschema:"of records with this key"` // empty: of any
}

// ErrNothingSelected means that a list of a [Selection] is empty and not nil.
var ErrNothingSelected = errors.New("a list of the selection is empty: no letters are meant")

// Check returns [ErrNothingSelected] if no letters can be meant. The methods of
// [Store] check by themselves.
func (s Selection) Check() error {
	if s.Services != nil && len(s.Services) == 0 || s.Letters != nil && len(s.Letters) == 0 {
		return ErrNothingSelected
	}
	return nil
}

// Listing is the newest letters of a selection, newest first.
type Listing struct {
	Letters []Letter `json:"letters" jsonschema:"newest first"`
	Total   int      `json:"total" jsonschema:"how many there are, listed or not"`
}

// MaxList is the most letters that a listing has.
const MaxList = 10_000

// List lists at most that many letters, 1 to [MaxList]. States says in which; empty
// means any. It reads the topics through and keeps no more than what it lists.
func (st *Store) List(ctx context.Context, s Selection, most int, states ...State) (Listing, error) {
	newest := &byAge{}
	total := 0
	for l, err := range st.letters(ctx, s) {
		if err != nil {
			return Listing{}, err
		}
		if len(states) > 0 && !slices.Contains(states, l.State) {
			continue
		}
		total++
		heap.Push(newest, l.Letter)
		if newest.Len() > min(most, MaxList) {
			heap.Pop(newest)
		}
	}
	slices.SortFunc(*newest, func(a, b Letter) int { return older(b, a) })
	return Listing{Letters: append([]Letter{}, *newest...), Total: total}, nil
}

// Find returns the letter with an id, and what it is made of. What was left out
// of it for lack of room is there all the same if it is still kept.
func (st *Store) Find(ctx context.Context, id string) (Letter, service.Letter, error) {
	for l, err := range st.letters(ctx, Selection{Letters: []string{id}}) {
		if err != nil {
			return Letter{}, service.Letter{}, err
		}
		return l.Letter, l.inner, st.complete(ctx, &l.inner)
	}
	return Letter{}, service.Letter{}, &UnknownError{What: "dead letter", Name: id}
}

// complete fetches what was left out of a letter from where it stands. The letter
// stays cut if it is no longer there.
func (st *Store) complete(ctx context.Context, l *service.Letter) error {
	if !l.Cut {
		return nil
	}
	r, err := st.at(ctx, lineage.PlaceOf(&l.Record))
	if err != nil || r == nil {
		return err
	}
	l.Record.Key, l.Record.Value, l.Record.Headers, l.Cut = r.Key, r.Value, r.Headers, false
	return nil
}

// found is a letter that is meant.
type found struct {
	Letter
	inner service.Letter
	after bool // it stands right after the letter found before
}

// letters finds the letters of a selection, in whatever state, service by
// service.
func (st *Store) letters(ctx context.Context, s Selection) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		services, err := st.selected(ctx, s)
		if err != nil {
			yield(found{}, err)
			return
		}
		for _, service := range services {
			decided, err := st.Decisions(ctx, service)
			if err != nil {
				yield(found{}, fmt.Errorf("dead letters of %s: %w", service, err))
				return
			}
			for l, err := range st.lettersOf(ctx, service, s, decided, nil) {
				if err != nil {
					err = fmt.Errorf("dead letters of %s: %w", service, err)
				}
				if !yield(l, err) || err != nil {
					return
				}
			}
		}
	}
}

// selected names the services that a selection means.
func (st *Store) selected(ctx context.Context, s Selection) ([]string, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	asked := slices.Clone(s.Services)
	for _, id := range s.Letters {
		p, err := parseID(id)
		if err != nil {
			return nil, err
		}
		if len(s.Services) == 0 {
			asked = append(asked, p.service)
		}
	}
	return st.services(ctx, asked)
}

// lettersOf finds the letters of one service that a selection means, partition
// by partition in their order. With ends it looks at those before them only.
func (st *Store) lettersOf(ctx context.Context, service string, s Selection, decided Decisions, ends []int64) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		passed := true // a letter was left out since the last one found
		for r, err := range st.records(ctx, service, s.Letters, ends) {
			if err != nil {
				yield(found{}, err)
				return
			}
			letter, inner, err := read(r, decided)
			if err != nil || s.Key != "" && string(r.Key) != s.Key {
				passed = true
				continue
			}
			if !yield(found{letter, inner, !passed}, nil) {
				return
			}
			passed = len(s.Letters) > 0 // what is between them was not seen
		}
	}
}

// records reads a service's dead-letter topic, or only the letters with the ids
// that are in it.
func (st *Store) records(ctx context.Context, service string, ids []string, ends []int64) iter.Seq2[*broker.Record, error] {
	return func(yield func(*broker.Record, error) bool) {
		topic := lineage.DeadTopic(service)
		if len(ids) > 0 {
			for _, p := range places(ids, service) {
				r, err := st.at(ctx, p)
				if err == nil && r == nil {
					err = &UnknownError{What: "dead letter", Name: p.String()}
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
			return
		}
		if ends == nil {
			var err error
			if ends, err = st.ends(ctx, topic); err != nil {
				yield(nil, err)
				return
			}
		}
		for p, end := range ends {
			for r, err := range broker.Records(ctx, st.b, topic, int32(p), broker.Start(), broker.Offset(end)) {
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// places are those that a service's letters with the ids have, each once.
func places(ids []string, service string) []lineage.Source {
	var all []lineage.Source
	for _, id := range ids {
		if p, err := parseID(id); err == nil && p.service == service {
			all = append(all, p.Source)
		}
	}
	slices.SortFunc(all, func(a, b lineage.Source) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return slices.Compact(all)
}

// at returns the record at a place, or nil if it is not kept.
func (st *Store) at(ctx context.Context, s lineage.Source) (*broker.Record, error) {
	ends, err := st.ends(ctx, s.Topic)
	if errors.Is(err, broker.ErrUnknownTopic) || err == nil && int(s.Partition) >= len(ends) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := broker.First(ctx, st.b, s.Topic, s.Partition, broker.Offset(s.Offset))
	if err != nil || r == nil || r.Offset != s.Offset {
		return nil, err
	}
	return r, nil
}

// ends are where a topic's partitions end now.
func (st *Store) ends(ctx context.Context, topic string) ([]int64, error) {
	infos, err := st.b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		if info.Name != topic {
			continue
		}
		ends := make([]int64, len(info.Ends))
		for i, e := range info.Ends {
			ends[i] = e.End
		}
		return ends, nil
	}
	return nil, fmt.Errorf("topic %s: %w", topic, broker.ErrUnknownTopic)
}

// byAge is a heap with the oldest letter first.
type byAge []Letter

func older(a, b Letter) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) }

func (l byAge) Len() int           { return len(l) }
func (l byAge) Less(i, j int) bool { return older(l[i], l[j]) < 0 }
func (l byAge) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *byAge) Push(x any)        { *l = append(*l, x.(Letter)) }

func (l *byAge) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
