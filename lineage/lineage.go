// SPDX-License-Identifier: Apache-2.0

package lineage

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/broker"
)

// Source is the place of a source record.
type Source struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String is the source's id, "tickets/3/1234".
func (s Source) String() string { return string(s.AppendTo(nil)) }

// AppendTo appends the source's id to b.
func (s Source) AppendTo(b []byte) []byte {
	b = append(b, s.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(s.Partition), 10)
	b = append(b, '/')
	return strconv.AppendInt(b, s.Offset, 10)
}

// PlaceOf is where a record stands, which is the id of one that descends from
// no other.
func PlaceOf(r *broker.Record) Source { return Source{r.Topic, r.Partition, r.Offset} }

// MaxID is how many bytes an id may have for more to descend from it: some eighty
// services of the longest names, one after another. What is made of a record
// with a longer one begins a new lineage at the record's place, or the ids would
// grow until they fill the records.
const MaxID = 16 << 10

// AppendID appends the record's id to b: its ID header or, for a source record and
// one whose id is longer than [MaxID], its place.
func AppendID(b []byte, r *broker.Record) []byte {
	if id := r.Header(ID); id != nil && len(id) <= MaxID {
		return append(b, id...)
	}
	return PlaceOf(r).AppendTo(b)
}

// AppendChild appends to b the id of what a service makes of a record. Of
// several values, this is number index (from 0) of count.
func AppendChild(b []byte, parent *broker.Record, service string, index, count int) []byte {
	b = AppendID(b, parent)
	b = append(b, '/')
	b = append(b, service...)
	if count > 1 {
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(index+1), 10)
		b = append(b, "of"...)
		b = strconv.AppendInt(b, int64(count), 10)
	}
	return b
}

// Path is a parsed id.
type Path struct {
	Source Source
	// Steps is what follows the source: "tagger/classifier"; empty for a source.
	Steps string
}

// Parse reads an id. It does not allocate but for topic names in errors.
func Parse(id string) (Path, error) {
	topic, rest, ok1 := strings.Cut(id, "/")
	partition, rest, ok2 := strings.Cut(rest, "/")
	offset, steps, _ := strings.Cut(rest, "/")
	p, err1 := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	if !ok1 || !ok2 || topic == "" || err1 != nil || err2 != nil || p < 0 || o < 0 {
		return Path{}, fmt.Errorf("record id %q: want topic/partition/offset and the services after it", id)
	}
	return Path{Source{topic, int32(p), o}, steps}, nil
}

// Of returns the path of a record.
func Of(r *broker.Record) (Path, error) {
	if id := r.Header(ID); id != nil && len(id) <= MaxID {
		return Parse(string(id))
	}
	return Path{Source: PlaceOf(r)}, nil
}

// SourceIn returns the partition and offset of the source in topic that a record
// with this id descends from, and whether it does. It is Parse for hot paths.
func SourceIn(id []byte, topic string) (partition int32, offset int64, ok bool) {
	if len(id) <= len(topic) || id[len(topic)] != '/' || string(id[:len(topic)]) != topic {
		return 0, 0, false
	}
	id = id[len(topic)+1:]
	p, rest, ok := number(id)
	if !ok || p > 1<<31-1 || len(rest) == 0 || rest[0] != '/' {
		return 0, 0, false
	}
	offset, rest, ok = number(rest[1:])
	return int32(p), offset, ok && (len(rest) == 0 || rest[0] == '/')
}

func number(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if n > (1<<63-1-9)/10 {
			return 0, nil, false
		}
		n = n*10 + int64(b[i]-'0')
	}
	return n, b[i:], i > 0
}

// Service returns the service that made the record, and which of how many
// values it is: "splitter:2of3" is splitter, 1, 3. A source has none.
func (p Path) Service() (name string, index, count int) {
	last := p.Steps[strings.LastIndexByte(p.Steps, '/')+1:]
	name, number, several := strings.Cut(last, ":")
	if !several {
		return name, 0, 1
	}
	i, n, _ := strings.Cut(number, "of")
	index, err1 := strconv.Atoi(i)
	count, err2 := strconv.Atoi(n)
	if err1 != nil || err2 != nil || index < 1 || count < index {
		return name, 0, 1
	}
	return name, index - 1, count
}
