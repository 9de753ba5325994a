// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
)

// What comes from outside and goes into headers is bounded, so that a marker and a
// dead letter fit into a record, whatever the record is that they are about.
const (
	maxText   = 4096 // bytes of errors and stacks
	maxStatus = 64   // of another service's status
	maxTrace  = 512  // of a traceparent; a longer one is none
	minRecord = 64 << 10
)

// cut is what a marker and a dead letter go without, so that there is room for the
// rest. Each one leaves out what the ones before it do.
type cut uint8

const (
	cutNothing cut = iota
	cutValue       // which only stands at the record's place then
	cutKey
	cutForeign // headers, which are not Millrace's own
	cutHeaders // all but the id and those that say what went wrong
	cutAll     // there is neither a marker nor a letter
)

// addMarker makes a marker in the output topic.
func (b *batch) addMarker(i int, r *broker.Record, headers []broker.Header) {
	made := broker.Record{Topic: b.s.c.To, Partition: r.Partition, Pinned: true, Key: r.Key, Headers: headers}
	switch without := b.cuts[i]; {
	case without == cutAll:
		return
	case without >= cutKey || made.Size() > b.s.b.Options().MaxRecordBytes:
		made.Key = nil
	}
	b.add(i, made)
}

// addLetter makes a dead letter of a record: with as much of it as there is room
// for beside the letter's own headers.
func (b *batch) addLetter(i int, r *broker.Record, own []broker.Header) {
	for without := b.cuts[i]; without < cutAll; without++ {
		letter := broker.Record{Topic: b.s.c.Dead, Partition: r.Partition, Pinned: true, Headers: without.headers(r, own)}
		if without < cutKey {
			letter.Key = r.Key
		}
		if without < cutValue {
			letter.Value = r.Value
		}
		if letter.Size() <= b.s.b.Options().MaxRecordBytes && len(letter.Headers) <= broker.MaxHeaders {
			b.add(i, letter)
			return
		}
	}
}

// headers are those of a dead letter: of the record what is kept, then its own.
func (c cut) headers(r *broker.Record, own []broker.Header) []broker.Header {
	headers := make([]broker.Header, 0, len(r.Headers)+len(own)+2)
	for _, h := range r.Headers {
		if !lineage.OfDeadLetter(h.Key) && c.keeps(h) { // those were of an earlier letter
			headers = append(headers, h)
		}
	}
	if r.Header(lineage.ID) == nil || c >= cutHeaders {
		headers = append(headers, broker.Header{Key: lineage.ID, Value: lineage.AppendID(nil, r)})
	}
	headers = append(headers, own...)
	if c > cutNothing {
		headers = append(headers, broker.Header{Key: lineage.DeadCut, Value: c.says(r)})
	}
	return headers
}

func (c cut) keeps(h broker.Header) bool {
	return c < cutForeign || c == cutForeign && lineage.Reserved(h.Key)
}

// says is what a letter has in place of what was left out.
func (c cut) says(r *broker.Record) []byte {
	text := strconv.AppendInt(nil, int64(len(r.Value)), 10)
	if c >= cutKey {
		text = append(text, " key"...)
	}
	if c >= cutForeign {
		text = append(text, " headers"...)
	}
	return text
}

// tooLarge makes less of the record that the broker refuses to take, or whose
// result it does: its item becomes a failed one, then its marker and letter go
// without more and more of it. A record of which even those are refused is left
// unanswered; a letter that is tried again stays open. It reports whether
// another try can help.
func (b *batch) tooLarge(refused error) bool {
	i, ok := b.refused(refused)
	if !ok {
		return false
	}
	if n := b.item[i]; n >= 0 && b.out[n].err == nil {
		b.out[n].err = tooLargeAnswer(refused)
		return true
	}
	if b.again && b.cuts[i]+1 == cutAll {
		return false
	}
	if b.cuts[i] == cutAll {
		return false // it is not about this record
	}
	b.cuts[i]++
	if b.cuts[i] == cutAll && b.item[i] < 0 {
		b.s.c.Logger.Error("a marker is not passed on: the broker does not take it", "record", lineage.PlaceOf(&b.records[i]).String(), "error", refused)
	}
	return true
}

// refused is the record of which something is too large. Where the broker does not
// say which it is, as when a topic has a limit of its own, it is the largest.
func (b *batch) refused(err error) (i int, ok bool) {
	var large *broker.TooLargeError
	if errors.As(err, &large) {
		if large.Index < 0 || large.Index >= len(b.madeBy) {
			return 0, false
		}
		return b.madeBy[large.Index], true
	}
	most := -1
	for n := range b.made {
		if size := b.made[n].Size(); size > most {
			most, i = size, b.madeBy[n]
		}
	}
	return i, most >= 0
}

func tooLargeAnswer(refused error) *fault {
	text := refused.Error()
	var large *broker.TooLargeError
	if errors.As(refused, &large) {
		text = fmt.Sprintf("%d bytes, the limit is %d", large.Size, large.Limit)
	}
	return &fault{of: invalid, text: "the model's answer is too large: " + text}
}

// bounded is a header's value, cut off if it is longer than it may be.
func bounded(value []byte, most int) []byte {
	if len(value) <= most {
		return value
	}
	return []byte(sanitize.Cut(string(value), most))
}
