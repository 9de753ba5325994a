// SPDX-License-Identifier: Apache-2.0

// Package ledger is the bookkeeping of tests that kill things: of brokers in their
// conformance suite, and of whole programs.
//
// The one idea: every record carries a number, counted from 1 for each key. So
// which records a stream has lost, has twice, or has in another order follows from
// what is in the stream.
package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/broker"
)

// Ledger gives out the numbers and says afterwards which of them are missing from a
// stream, are there twice, or in another order.
//
// A publisher calls [Ledger.Issue] before it publishes and [Ledger.Acknowledge]
// when the broker has acknowledged the record. A record that was issued and not
// acknowledged may be in a stream or not, but once at most. Whoever reads a
// stream (an output topic, a file) calls [Ledger.See] for each record in order.
//
// The zero value is an empty ledger. All methods may be called by several
// goroutines at once.
type Ledger struct {
	mu      sync.Mutex
	issued  map[string]int64          // the last number of each key
	acked   map[string]map[int64]bool // the numbers that must not be lost
	streams map[string]*stream
}

// stream is what was seen in one stream.
type stream struct {
	keys  map[string]*sightings
	audit Audit
}

// sightings are the places where the numbers of one key were seen first.
type sightings struct {
	last   int64 // the greatest number so far
	places map[int64]broker.Place
}

// Issue gives out the key's next number, from 1.
func (l *Ledger) Issue(key string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.issued == nil {
		l.issued = make(map[string]int64)
	}
	l.issued[key]++
	return l.issued[key]
}

// Acknowledge notes that the record is durable: from now on it may not be lost.
func (l *Ledger) Acknowledge(key string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked == nil {
		l.acked = make(map[string]map[int64]bool)
	}
	if l.acked[key] == nil {
		l.acked[key] = make(map[int64]bool)
	}
	l.acked[key][n] = true
}

// Acknowledged is how many records must be in each stream.
func (l *Ledger) Acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := 0
	for _, numbers := range l.acked {
		total += len(numbers)
	}
	return total
}

// See notes that the stream has the key's record n as its next one.
func (l *Ledger) See(name, key string, n int64, at broker.Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams = make(map[string]*stream)
	}
	s := l.streams[name]
	if s == nil {
		s = &stream{keys: make(map[string]*sightings)}
		l.streams[name] = s
	}
	s.see(key, n, at, n >= 1 && n <= l.issued[key])
}

func (s *stream) see(key string, n int64, at broker.Place, issued bool) {
	k := s.keys[key]
	if k == nil {
		k = &sightings{places: make(map[int64]broker.Place)}
		s.keys[key] = k
	}
	s.audit.Seen++
	first, twice := k.places[n]
	switch {
	case !issued:
		s.audit.Unknown++
		s.audit.offend("unknown: key %q has no number %d: %v", key, n, at)
		return
	case twice:
		s.audit.Duplicated++
		s.audit.offend("duplicated: key %q number %d: %v and %v", key, n, first, at)
		return
	case n < k.last:
		s.audit.Reordered++
		s.audit.offend("reordered: key %q number %d: %v comes after number %d: %v", key, n, at, k.last, k.places[k.last])
	}
	k.places[n] = at
	k.last = max(k.last, n)
}

// Audit is the balance of one stream.
type Audit struct {
	Seen       int // records in the stream
	Lost       int // acknowledged records that are not in the stream
	Duplicated int // records in the stream again
	Reordered  int // records behind a later one of the same key
	Unknown    int // records that nobody issued

	// Offenders describes the first few, with their places.
	Offenders []string
}

const maxOffenders = 10

func (a *Audit) offend(format string, args ...any) {
	if len(a.Offenders) < maxOffenders {
		a.Offenders = append(a.Offenders, fmt.Sprintf(format, args...))
	}
}

// Err is nil when every record is in the stream once and in order.
func (a Audit) Err() error {
	if a.Lost+a.Duplicated+a.Reordered+a.Unknown == 0 {
		return nil
	}
	return fmt.Errorf("%v\n\t%s", a, strings.Join(a.Offenders, "\n\t"))
}

// String is the balance in one line.
func (a Audit) String() string {
	s := fmt.Sprintf("%d records seen: %d lost, %d duplicated, %d reordered", a.Seen, a.Lost, a.Duplicated, a.Reordered)
	if a.Unknown > 0 {
		s += fmt.Sprintf(", %d unknown", a.Unknown)
	}
	return s
}

// Audit balances what was seen in the stream so far.
func (l *Ledger) Audit(name string) Audit {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	if s == nil {
		s = &stream{}
	}
	audit := s.audit
	audit.Offenders = slices.Clone(s.audit.Offenders)
	for _, key := range sorted(l.acked) {
		for _, n := range sorted(l.acked[key]) {
			k := s.keys[key]
			if k == nil {
				audit.Lost++
				audit.offend("lost: key %q number %d, and all others of this key", key, n)
				continue
			}
			if _, ok := k.places[n]; !ok {
				audit.Lost++
				audit.offend("lost: key %q number %d (%s)", key, n, k.neighbours(n))
			}
		}
	}
	return audit
}

// neighbours says where the numbers around a lost one are.
func (k *sightings) neighbours(n int64) string {
	describe := func(n int64) string {
		if at, ok := k.places[n]; ok {
			return at.String()
		}
		return "not seen"
	}
	return fmt.Sprintf("number %d: %s, number %d: %s", n-1, describe(n-1), n+1, describe(n+1))
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
