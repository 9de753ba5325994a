// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"slices"

	"github.com/millrace-ml/millrace/broker"
)

// maxRecent bounds the answers that a partition keeps, in bytes.
const maxRecent = 8 << 20

// recent are the newest partial answers, as they stand in the topic but for their
// offsets: most parts that come late come soon.
type recent struct {
	answers map[int64]numbered // by source offset
	order   []turn             // as they were put; some are gone
	puts    int64
	bytes   int
}

// numbered is an answer with the number of its put, turn the place of one in the
// order.
type numbered struct {
	answer *broker.Record
	put    int64
}

type turn struct{ source, put int64 }

// get is the answer to a source, or nil.
func (c *recent) get(source int64) *broker.Record { return c.answers[source].answer }

// put keeps a copy of an answer, in place of the one before it.
func (c *recent) put(source int64, r *broker.Record) {
	c.drop(source)
	if c.answers == nil {
		c.answers = map[int64]numbered{}
	}
	c.puts++
	kept := numbered{copied(r), c.puts}
	c.answers[source] = kept
	c.bytes += kept.answer.Size()
	if len(c.order) >= 2*len(c.answers)+64 {
		c.order = slices.DeleteFunc(c.order, c.gone)
	}
	c.order = append(c.order, turn{source, c.puts})
	for c.bytes > maxRecent {
		if oldest := c.order[0]; !c.gone(oldest) {
			c.drop(oldest.source)
		}
		c.order = c.order[1:]
	}
}

func (c *recent) gone(t turn) bool { return c.answers[t.source].put != t.put }

// drop forgets an answer.
func (c *recent) drop(source int64) {
	if kept, there := c.answers[source]; there {
		c.bytes -= kept.answer.Size()
		delete(c.answers, source)
	}
}

// copied is a record whose bytes are its own, all in one piece.
func copied(r *broker.Record) *broker.Record {
	own := *r
	buf := make([]byte, 0, r.Size())
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		from := len(buf)
		buf = append(buf, b...)
		return buf[from:len(buf):len(buf)]
	}
	own.Key, own.Value = keep(r.Key), keep(r.Value)
	own.Headers = make([]broker.Header, len(r.Headers))
	for i, h := range r.Headers {
		own.Headers[i] = broker.Header{Key: h.Key, Value: keep(h.Value)}
	}
	return &own
}

// remember keeps the last answer written if it may still be amended.
func (w *writer) remember(win *window, source int64, complete bool) {
	if complete {
		win.recent.drop(source)
		return
	}
	win.recent.put(source, &w.out[len(w.out)-1])
}
