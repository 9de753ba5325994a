// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/timeline"
)

// timeline answers with what became of a record.
func (g *Gateway) timeline(w http.ResponseWriter, r *http.Request) error {
	since := broker.Start()
	if s := r.URL.Query().Get("since"); s != "" {
		var err error
		if since, err = broker.ParsePosition(s, time.Now()); err != nil {
			return refuse(http.StatusBadRequest, "", "since: %v", err)
		}
	}
	release, err := g.admit(r.Context(), streamBytes(g.o.MaxRecordBytes))
	if err != nil {
		return err
	}
	defer release()
	events, err := timeline.Of(r.Context(), g.b, r.PathValue("record"), since)
	if err != nil {
		return err
	}
	if events == nil {
		events = []timeline.Event{}
	}
	return writeJSON(w, events)
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
