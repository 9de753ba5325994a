// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/timeline"
)

func timelineRoute() route {
	return route{
		method: "GET", path: "/v1/timeline/{record...}", id: "timeline", title: "Tell what became of a record", right: mayRead, everything: true,
		about: "Every record that descends from the records asked for: answers, dead letters and what was decided on them, and joins, by source and then by time.",
		params: []param{
			pathParam("record", "A record's key, its own id (the field or header `id`), or its place (`tickets/3/1234`), which may have its slashes as they are."),
			positionParam("since", broker.Start(), "Look at records from here on:"),
		},
		answer: content{typeJSON, listOf[timeline.Event](), "The events; none if nothing is known of such a record."},
		errors: askingBroker(map[int]string{
			http.StatusBadRequest:     "No record is named.",
			http.StatusGatewayTimeout: tooLong,
		}),
		example: `curl -sf http://127.0.0.1:8088/v1/timeline/T-1`,
		handle:  (*Gateway).timeline,
	}
}

func (g *Gateway) timeline(w http.ResponseWriter, r *call) error {
	record := r.PathValue("record")
	if strings.TrimSpace(record) == "" {
		return refuse(http.StatusBadRequest, "ask for /v1/timeline/KEY, an id, or a place such as tickets/3/1234", "no record is named")
	}
	events := []timeline.Event{}
	held, err := g.look(r, 0, func(ctx context.Context) error {
		found, err := timeline.OfSources(ctx, g.b, g.o.Sources, record, arg[broker.Position](r, "since"))
		events = append(events, found...)
		return err
	})
	if err != nil {
		return err
	}
	defer held.close()
	return g.writeLarge(w, r, held, events)
}

// Timeline tells what became of the records with a key or id. An empty since
// looks at all that is kept.
func (c *Client) Timeline(ctx context.Context, record, since string) (events []timeline.Event, err error) {
	q := url.Values{}
	if since != "" {
		q.Set("since", since)
	}
	return events, c.ask(ctx, q, &events, "timeline", record)
}
