// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/jsonschema-go/jsonschema"

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

func readRoute() route {
	return route{
		method: "GET", path: "/v1/topics/{topic}/records", id: "read", title: "Read or follow a topic", right: mayRead,
		about: "Answers the records of a topic, one JSON object a line, partition by partition, or as they come with `follow`. What goes wrong after the first record is the last line, with the shape `Error`.",
		params: []param{
			pathParam("topic", "The topic's name."),
			positionParam("from", broker.Start(), "The first record:"),
			positionParam("to", broker.Position{}, "The end, exclusive; where the topic ends now if it is left out:"),
			numberParam("partition", 0, 0, int(broker.AllPartitions), "Only this partition."),
			boolParam("follow", "Wait for more records, without end; does not go with `to`."),
			numberParam("max", 0, 0, 0, "End after so many records; 0: no limit."),
		},
		answer: content{typeNDJSON, &jsonschema.Schema{AnyOf: []*jsonschema.Schema{of[Record](), of[Error]()}}, "The records. The schema is that of a line."},
		errors: askingBroker(map[int]string{
			http.StatusNotFound:           "There is no such topic or partition.",
			http.StatusServiceUnavailable: "The broker is closed or out of reach, or too many requests read at once.",
		}),
		example: `curl -sf 'http://127.0.0.1:8088/v1/topics/moods/records?follow=true&max=3'
curl -sf 'http://127.0.0.1:8088/v1/topics/tickets/records?from=1h&partition=0'`,
		handle: (*Gateway).read,
	}
}

func (g *Gateway) read(w http.ResponseWriter, r *call) error {
	topic := r.PathValue("topic")
	if err := r.checkTopic(topic); err != nil {
		return err
	}
	from, to := arg[broker.Position](r, "from"), arg[broker.Position](r, "to")
	partition := int32(arg[int](r, "partition")) // was checked
	if arg[bool](r, "follow") {
		if !to.IsZero() {
			return refuse(http.StatusBadRequest, "", "follow never ends, so it does not go with to")
		}
		to = broker.Forever()
	}
	place := g.readers.tryAdmit(r.client, 1)
	if place == nil {
		return refuse(http.StatusServiceUnavailable, "try again later", "too many requests read already: there is room for %d, of which a client has at most half", g.readers.size)
	}
	defer place.close()

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.ended, cancel)()

	if err := g.partitionExists(ctx, topic, partition); err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", typeNDJSON) // the body may have no end
		return nil
	}
	reader, err := g.b.Read(ctx, topic, partition, from, to)
	if err != nil {
		return err
	}
	defer reader.Close()
	g.stream(ctx, w, reader, arg[int](r, "max"))
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
	out := bufio.NewWriterSize(w, pieceBytes)
	defer func() { _ = out.Flush() }() // the client has gone when this fails
	enc := json.NewEncoder(out)
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
		for i := range records {
			if enc.Encode(NewRecord(&records[i])) != nil {
				return
			}
		}
		if out.Flush() != nil || control.Flush() != nil {
			return
		}
		n += len(records)
	}
}
