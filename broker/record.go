// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"strconv"
	"time"
)

// Record is a message in a topic.
type Record struct {
	Topic string

	// Partition and Offset say where the record is. They are set by the broker
	// on records that are read.
	Partition int32
	Offset    int64

	// Pinned makes Publish and Settle append to Partition. Otherwise the
	// partition follows from the key ([PartitionOf]); a record with an empty
	// key goes to any partition. It is false on records that are read.
	Pinned bool

	// Time is when the broker appended the record; within a partition it never
	// goes back. It is set by the broker and ignored in Publish and Settle.
	Time time.Time

	Key     []byte // may be empty
	Value   []byte // may be empty
	Headers []Header
}

// Header is a name with a value that travels with a record. Names may repeat.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the first header of that name, or nil.
func (r *Record) Header(name string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return r.Headers[i].Value
		}
	}
	return nil
}

// Size is the record's number of bytes that count against limits: key, value
// and headers.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// DefaultMaxRecordBytes is the largest [Record.Size] that a broker takes unless
// it is opened with another limit.
const DefaultMaxRecordBytes = 8 << 20

// MaxHeaders is the most headers of a record that a broker takes. Records that
// others have put there may have more.
const MaxHeaders = 1000

// Place is where a record stands.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Place is where a record stands that was read.
func (r *Record) Place() Place { return Place{r.Topic, r.Partition, r.Offset} }

// String is the place as "tickets/3/1234", which is the id of a source record.
func (p Place) String() string { return string(p.Append(nil)) }

// Append appends the place's text to b.
func (p Place) Append(b []byte) []byte {
	b = append(b, p.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(p.Partition), 10)
	b = append(b, '/')
	return strconv.AppendInt(b, p.Offset, 10)
}
