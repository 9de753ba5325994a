// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
)

// move is a group's way past a batch in one stream.
type move struct {
	cursor *cursor
	to     position
}

// Settle implements [broker.Consumer]. A settle whose answer got lost is sent
// again; the server knows it by its number.
func (c *consumer) Settle(ctx context.Context, results ...broker.Record) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	records, err := c.b.route(ctx, results)
	if err != nil {
		return fmt.Errorf("settle %s: %w", c.group, err)
	}
	var moves []move
	if c.open {
		for _, cur := range c.feed.cursors {
			if cur.next > 0 {
				moves = append(moves, move{cur, cur.taken()})
			}
		}
	}
	if len(moves)+len(records) == 0 {
		return nil
	}
	if err := c.move(ctx, moves, records); err != nil {
		return fmt.Errorf("settle %s: %w", c.group, err)
	}
	c.open = false
	for _, m := range moves {
		m.cursor.settle()
	}
	return nil
}

// move appends the records and moves the group, as one.
func (c *consumer) move(ctx context.Context, moves []move, records []routed) error {
	number := c.settled + 1
	e := newEncoder(records, 6+6*len(moves))
	e.keys = append(e.keys, "", c.b.keys.group(c.group))
	e.args = append(e.args, "", c.group, c.name, *c.lease.Load(), strconv.FormatInt(number, 10), len(moves))
	for _, m := range moves {
		field := positionField(m.cursor.topic.name, m.cursor.partition)
		e.args = append(e.args, e.stream(m.cursor.stream), field, m.cursor.from.String(), m.to.String(), m.to.last.String(), m.to.read)
	}
	e.add(records)
	_, err := c.b.run(ctx, c.b.scripts.settle, e.keys, e.args)
	switch {
	case err == nil:
		c.settled = number
		return nil
	case isReply(err, "FENCED"):
		c.forget()
		c.stale.Store(true)
		return broker.ErrFenced
	case isReply(err, "ASTRAY"):
		c.b.options.Logger.Error("the group is not where this member left it: Redis has lost a settle, or somebody has moved the group",
			"server", c.b.server, "group", c.group)
		c.forget()
		c.unsure = true
		return fmt.Errorf("%w: the group is not where it was left", broker.ErrFenced)
	}
	var reply redis.Error
	if !errors.Is(err, broker.ErrFull) && !errors.As(err, &reply) {
		c.unsure = true // it may take place yet
	}
	return err
}
