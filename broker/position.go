// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Position is a place in a topic's partitions. The zero value is unset; what
// that means is said where it can be given.
type Position struct {
	kind   positionKind
	offset int64
	time   time.Time
}

type positionKind uint8

const (
	unset positionKind = iota
	start
	end
	forever
	atOffset
	atTime
)

// Start is before the first record that is kept.
func Start() Position { return Position{kind: start} }

// End is after the last record.
func End() Position { return Position{kind: end} }

// Forever, as the end of a Read, is never reached: the reader waits for more.
func Forever() Position { return Position{kind: forever} }

// Offset is at the record with that offset, in each partition that is meant.
// Outside of what is kept it is the nearest record, or the end.
func Offset(n int64) Position { return Position{kind: atOffset, offset: n} }

// At is before the first record that was appended at t or later. Times that
// nanoseconds since 1970 cannot express in 63 bits are taken for the nearest that
// they can: nothing was appended before 1970, nor in 2262.
func At(t time.Time) Position {
	switch {
	case t.Before(firstTime):
		t = firstTime
	case t.After(lastTime):
		t = lastTime
	}
	return Position{kind: atTime, time: t}
}

var firstTime, lastTime = time.Unix(0, 0).UTC(), time.Unix(0, math.MaxInt64).UTC()

// IsZero reports whether the position is unset.
func (p Position) IsZero() bool { return p.kind == unset }

// IsStart reports whether the position is [Start].
func (p Position) IsStart() bool { return p.kind == start }

// IsEnd reports whether the position is [End].
func (p Position) IsEnd() bool { return p.kind == end }

// IsForever reports whether the position is [Forever].
func (p Position) IsForever() bool { return p.kind == forever }

// Offset returns the offset of an [Offset] position.
func (p Position) Offset() (int64, bool) { return p.offset, p.kind == atOffset }

// Time returns the time of an [At] position.
func (p Position) Time() (time.Time, bool) { return p.time, p.kind == atTime }

// String is the position in the form that [ParsePosition] reads.
func (p Position) String() string {
	switch p.kind {
	case start:
		return "start"
	case end:
		return "end"
	case forever:
		return "forever"
	case atOffset:
		return strconv.FormatInt(p.offset, 10)
	case atTime:
		return p.time.Format(time.RFC3339Nano)
	}
	return ""
}

// Targets returns where [Broker.Seek] moves a group in each of n partitions: an
// unset position for those that it leaves alone.
func Targets(n int, to []Position) ([]Position, error) {
	each := to
	if len(to) == 1 {
		each = slices.Repeat(to, n)
	}
	if len(each) != n {
		return nil, fmt.Errorf("%d positions for %d partitions: give one, or as many", len(to), n)
	}
	moves := false
	for _, p := range each {
		if p.IsForever() {
			return nil, fmt.Errorf("a group cannot be at %q: use start, end, an offset or a time", p)
		}
		moves = moves || !p.IsZero()
	}
	if !moves {
		return nil, errors.New("no position: use start, end, an offset or a time")
	}
	return each, nil
}

// ParsePosition reads "start" (or "beginning"), "end", an offset ("1234"), a
// time ("2026-01-31T12:00:00Z"), or an age before now ("24h", "7d").
func ParsePosition(s string, now time.Time) (Position, error) {
	switch s {
	case "start", "beginning":
		return Start(), nil
	case "end":
		return End(), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n < 0 {
			return Position{}, fmt.Errorf("position %q: an offset is not negative", s)
		}
		return Offset(n), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return At(t), nil
	}
	if d, err := ParseDuration(s); err == nil && d > 0 {
		return At(now.Add(-d)), nil
	}
	return Position{}, fmt.Errorf("position %q: write start, end, an offset (1234), a time (2026-01-31T12:00:00Z) or an age (24h, 7d)", s)
}

// ParseDuration is [time.ParseDuration] that also knows days: "7d", "1d12h".
func ParseDuration(s string) (time.Duration, error) {
	var days time.Duration
	rest := s
	for i := 0; i < len(s); i++ {
		if s[i] == 'd' {
			n, err := strconv.ParseFloat(s[:i], 64)
			if err != nil || !(n >= 0 && n <= 36500) { // not a number neither
				break
			}
			days, rest = time.Duration(n*24*float64(time.Hour)), s[i+1:]
			break
		}
	}
	if rest == "" && s != "" {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d > math.MaxInt64-days {
		return 0, fmt.Errorf("duration %q: write a number with ms, s, m, h or d, such as 500ms, 5s, 24h or 7d", s)
	}
	return days + d, nil
}
