// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// id is the place of an entry in a stream: the milliseconds and the number that
// Redis gives it, as in 1767870000123-45. As an offset it is written in one
// number, 1767870000123000045: a million entries of a millisecond have room in
// it, and time until the year 2262.
//
// An offset says which record, not how many came before: there are gaps.
type id int64

const (
	perMilli = 1_000_000
	maxMilli = math.MaxInt64/perMilli - 1
)

// beyond stands for the ids that are no offset, which others may have given to their
// entries: of a time in other units, or with a greater number. It is above all others,
// and has a successor.
const beyond id = math.MaxInt64 - 1

// errBeyond says that an id is one of those.
var errBeyond = errors.New("its id is not a time in milliseconds and a number below a million")

// parseID reads an id as Redis writes it. It is beyond if there is errBeyond.
func parseID[T string | []byte](s T) (id, error) {
	i := bytes.IndexByte([]byte(s), '-')
	if i < 0 {
		return 0, fmt.Errorf("%q is not the id of a stream's entry", s)
	}
	ms, ok1 := parseDigits(s[:i])
	seq, ok2 := parseDigits(s[i+1:])
	if !ok1 || !ok2 || ms > maxMilli || seq >= perMilli {
		return beyond, fmt.Errorf("entry %s: %w", s, errBeyond)
	}
	return id(ms*perMilli + seq), nil
}

// UnmarshalText reads an id in a script's answer, which may be beyond.
func (i *id) UnmarshalText(text []byte) (err error) {
	if *i, err = parseID(text); errors.Is(err, errBeyond) {
		return nil
	}
	return err
}

func parseDigits[T string | []byte](s T) (int64, bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// String is the id as Redis writes it.
func (i id) String() string {
	var b [40]byte
	out := strconv.AppendInt(b[:0], int64(i)/perMilli, 10)
	out = append(out, '-')
	return string(strconv.AppendInt(out, int64(i)%perMilli, 10))
}

func (i id) time() time.Time { return time.UnixMilli(int64(i) / perMilli) }

// idAt is the first id that an entry of that time or later can have.
func idAt(t time.Time) id {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return id(min(max(ms, 0), maxMilli) * perMilli)
}

// before is the greatest id that is less: reading begins after an id.
func (i id) before() id { return max(i-1, 0) }

// position is what is stored for a group in a partition: the last entry that it
// is past, and how many entries the stream had got by then. Redis calls them
// last-delivered-id and entries-read.
type position struct {
	last id
	read int64
}

// UnmarshalText reads a position as it is stored.
func (p *position) UnmarshalText(text []byte) (err error) {
	last, read, _ := strings.Cut(string(text), " ")
	if p.last, err = parseID(last); err != nil {
		return fmt.Errorf("position %q: %w", text, err)
	}
	if p.read, err = strconv.ParseInt(read, 10, 64); err != nil {
		return fmt.Errorf("position %q is damaged", text)
	}
	return nil
}

// offset is the position in one number: the least offset that is not behind it.
func (p position) offset() int64 { return int64(p.last) + 1 }

func (p position) String() string { return p.last.String() + " " + strconv.FormatInt(p.read, 10) }
