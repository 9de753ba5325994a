// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Query says which records of a topic to read. The zero value reads all that
// there are.
type Query struct {
	From      string // a position as broker.ParsePosition reads it; "": start
	To        string // likewise, exclusive; "": where the topic ends now
	Partition int32  // broker.AllPartitions for all
	Follow    bool   // wait for more; To is then not used
	Max       int    // end after so many records; 0: no limit
}

func (q Query) values() url.Values {
	v := url.Values{}
	set := func(name, value string, is bool) {
		if is {
			v.Set(name, value)
		}
	}
	set("from", q.From, q.From != "")
	set("to", q.To, q.To != "")
	set("partition", strconv.Itoa(int(q.Partition)), q.Partition != broker.AllPartitions)
	set("follow", "true", q.Follow)
	set("max", strconv.Itoa(q.Max), q.Max > 0)
	return v
}

// span is a parsed query.
type span struct {
	from, to  broker.Position
	partition int32
	max       int
}

func parseQuery(v url.Values, now time.Time) (s span, err error) {
	s = span{from: broker.Start(), partition: broker.AllPartitions}
	if text := v.Get("from"); text != "" {
		if s.from, err = broker.ParsePosition(text, now); err != nil {
			return s, fmt.Errorf("from: %w", err)
		}
	}
	if text := v.Get("to"); text != "" {
		if s.to, err = broker.ParsePosition(text, now); err != nil {
			return s, fmt.Errorf("to: %w", err)
		}
	}
	if text := v.Get("partition"); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return s, fmt.Errorf("partition=%s: write a number from 0", text)
		}
		s.partition = int32(n)
	}
	if text := v.Get("max"); text != "" {
		if s.max, err = strconv.Atoi(text); err != nil || s.max < 0 {
			return s, fmt.Errorf("max=%s: write a number from 0", text)
		}
	}
	if text := v.Get("follow"); text != "" {
		follow, err := strconv.ParseBool(text)
		if err != nil {
			return s, fmt.Errorf("follow=%s: use true or false", text)
		}
		if follow && !s.to.IsZero() {
			return s, errors.New("follow never ends, so it does not go with to")
		}
		if follow {
			s.to = broker.Forever()
		}
	}
	return s, nil
}

// read is GET /v1/topics/{topic}/records.
func (g *Gateway) read(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.Query(), time.Now())
	if err != nil {
		return refuse(http.StatusBadRequest, "", "%v", err)
	}
	if !g.readers.TryAcquire(1) {
		return refuse(http.StatusServiceUnavailable, "try again later", "%d requests read already", g.o.MaxReaders)
	}
	defer g.readers.Release(1)

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.ended, cancel)()

	topic := r.PathValue("topic")
	if err := g.partitionExists(ctx, topic, q.partition); err != nil {
		return err
	}
	reader, err := g.b.Read(ctx, topic, q.partition, q.from, q.to)
	if err != nil {
		return err
	}
	defer reader.Close()
	g.stream(ctx, w, reader, q.max)
	return nil
}

func (g *Gateway) partitionExists(ctx context.Context, topic string, partition int32) error {
	infos, err := g.b.Topics(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if info.Name != topic {
			continue
		}
		if int(partition) >= len(info.Ends) {
			return refuse(http.StatusNotFound, "", "topic %s has partitions 0 to %d, no %d", topic, len(info.Ends)-1, partition)
		}
		return nil
	}
	return g.unknownTopic(ctx, topic)
}

// stream writes records until the reader's end, flushing whenever no more are at
// hand. What goes wrong on the way is the last line, as the status is out.
func (g *Gateway) stream(ctx context.Context, w http.ResponseWriter, reader *broker.Reader, limit int) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", typeNDJSON)
	w.WriteHeader(http.StatusOK)
	if control.Flush() != nil {
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for n := 0; limit == 0 || n < limit; {
		const chunk = 256
		want := chunk
		if limit > 0 {
			want = min(want, limit-n)
		}
		records, err := reader.Next(ctx, want)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return
		}
		if err != nil {
			_ = enc.Encode(explain(err)) // the client has gone when this fails
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(g.o.Idle)) // not every connection has deadlines
		for i := range records {
			if enc.Encode(NewRecord(&records[i])) != nil {
				return
			}
		}
		if control.Flush() != nil {
			return
		}
		n += len(records)
	}
}
