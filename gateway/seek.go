// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Seek asks for a group to be moved.
type Seek struct {
	To     string `json:"to" jsonschema:"where to: start, end, an offset (1234), a time (RFC 3339) or an age (24h, 7d)"`
	Topic  string `json:"topic,omitempty" jsonschema:"in this topic; left out: in every topic that the group reads"`
	DryRun bool   `json:"dry_run,omitempty" jsonschema:"only answer what would be done"`
}

// Move is what a seek does to a group in one partition.
type Move struct {
	Topic     string `json:"topic" jsonschema:"the topic's name"`
	Partition int32  `json:"partition" jsonschema:"from 0"`
	From      int64  `json:"from" jsonschema:"offset of the next record it would have taken"`
	To        int64  `json:"to" jsonschema:"offset of the next record it takes now"`
}

func seekRoute() route {
	return route{
		method: "POST", path: "/v1/groups/{group}/seek", id: "seek", title: "Move a consumer group", right: mayAdmin,
		about:  "Lets a group that has no members go on from another place, such as to predict on everything again.",
		params: []param{pathParam("group", "The group's name.")},
		body:   []content{{typeJSON, of[Seek](), "Where to."}},
		answer: content{typeJSON, listOf[Move](), "What was done, or would be, by partition."},
		errors: askingBroker(map[int]string{
			http.StatusBadRequest:            "The body is not one object as described, or a field of it is null or empty.",
			http.StatusRequestTimeout:        bodyStopped,
			http.StatusNotFound:              "There is no such group, or it does not read the topic.",
			http.StatusConflict:              "The group has members: stop its service first.",
			http.StatusRequestEntityTooLarge: "The body has more than 1 MiB.",
		}),
		example: `curl -sf -H 'Content-Type: application/json' -d '{"to": "start", "dry_run": true}' \
  http://127.0.0.1:8088/v1/groups/desk.sentiment/seek`,
		handle: (*Gateway).seek,
	}
}

func (g *Gateway) seek(w http.ResponseWriter, r *call) error {
	if err := r.checkGroup(r.PathValue("group")); err != nil {
		return err
	}
	var s Seek
	if err := g.order(w, r, &s, `send {"to": "start"}`); err != nil {
		return err
	}
	to, err := broker.ParsePosition(s.To, time.Now())
	if err != nil {
		return refuse(http.StatusBadRequest, "", "%v", err)
	}
	moves, err := g.moves(r.Context(), r.PathValue("group"), s.Topic, to)
	if err != nil {
		return err
	}
	if s.DryRun {
		return writeJSON(w, moves)
	}
	for _, topic := range topicsOf(moves) {
		err := g.b.Seek(r.Context(), r.PathValue("group"), topic, to)
		if errors.Is(err, broker.ErrGroupActive) {
			return refuse(http.StatusConflict, "stop the service first: run the pipeline with --only and without it", "%v", err)
		}
		if err != nil {
			return err
		}
	}
	return writeJSON(w, moves)
}

// moves tells what a seek would do.
func (g *Gateway) moves(ctx context.Context, group, topic string, to broker.Position) ([]Move, error) {
	names, err := g.b.Groups(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, group) {
		return nil, refuse(http.StatusNotFound, among(group, names, "group"), "there is no group %q", group)
	}
	infos, err := g.b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	ends := map[string][]broker.PartitionEnds{}
	for _, info := range infos {
		ends[info.Name] = info.Ends
	}
	lags, err := g.b.Lag(ctx, group)
	if err != nil {
		return nil, err
	}
	moves := []Move{}
	var read []string
	for _, l := range lags {
		read = append(read, l.Topic)
		if topic != "" && l.Topic != topic {
			continue
		}
		at, err := g.offset(ctx, l.Topic, l.Partition, ends[l.Topic][l.Partition], to)
		if err != nil {
			return nil, err
		}
		moves = append(moves, Move{l.Topic, l.Partition, l.Position, at})
	}
	if len(moves) == 0 {
		return nil, refuse(http.StatusNotFound, among(topic, slices.Compact(read), "topic"), "group %s does not read topic %q", group, topic)
	}
	return moves, nil
}

// offset is where a position is in a partition.
func (g *Gateway) offset(ctx context.Context, topic string, partition int32, ends broker.PartitionEnds, to broker.Position) (int64, error) {
	switch {
	case to.IsStart():
		return ends.Start, nil
	case to.IsEnd():
		return ends.End, nil
	}
	first, err := broker.First(ctx, g.b, topic, partition, to)
	if err != nil {
		return 0, err
	}
	if first == nil {
		return ends.End, nil
	}
	return first.Offset, nil
}

func topicsOf(moves []Move) []string {
	var topics []string
	for _, m := range moves {
		if !slices.Contains(topics, m.Topic) {
			topics = append(topics, m.Topic)
		}
	}
	return topics
}

// Seek moves a group, or tells what that would do.
func (c *Client) Seek(ctx context.Context, group string, s Seek) (moves []Move, err error) {
	return moves, c.post(ctx, s, &moves, "groups", group, "seek")
}
