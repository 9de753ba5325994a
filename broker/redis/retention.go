// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"
)

// retain deletes what is beyond the topics' retention, from time to time, as
// long as the broker is open. Of all clients of a namespace one at a time does
// it.
func (b *Broker) retain() {
	for {
		every := b.options.retentionInterval
		timer := time.NewTimer(every/2 + rand.N(every))
		select {
		case <-b.life.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := b.trimAll(b.life); err != nil && !b.isClosed() {
			b.options.Logger.Warn("retention has to wait", "server", b.server, "err", plain(err))
		}
	}
}

// trimAll trims every topic, unless another client did lately.
func (b *Broker) trimAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	turn, err := b.client.SetNX(ctx, b.keys.retention(), "taken", b.options.retentionInterval/2).Result()
	if err != nil || !turn {
		return err
	}
	now, err := b.client.Time(ctx).Result()
	if err != nil {
		return err
	}
	if err := b.refresh(ctx, b.generation()); err != nil {
		return err
	}
	b.data.mu.RLock()
	topics := b.data.topics
	b.data.mu.RUnlock()
	for _, t := range topics {
		for _, s := range t.streams {
			if err := b.trim(ctx, s, t.description, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// trim trims a stream. Redis deletes whole nodes of about a hundred entries, so
// a little more may be left.
func (b *Broker) trim(ctx context.Context, stream string, d description, now time.Time) error {
	if d.Retention > 0 {
		oldest := strconv.FormatInt(now.Add(-d.Retention).UnixMilli(), 10)
		for {
			n, err := b.client.XTrimMinIDApprox(ctx, stream, oldest, 0).Result()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	if d.RetentionBytes > 0 {
		return b.trimBytes(ctx, stream, d.RetentionBytes)
	}
	return nil
}

// trimBytes trims by the average size of entries in Redis's memory, which is
// what is to be kept small.
func (b *Broker) trimBytes(ctx context.Context, stream string, most int64) error {
	for range 100 {
		size, err := b.client.MemoryUsage(ctx, stream).Result()
		if err != nil || size <= most {
			return ignoreNil(err)
		}
		length, err := b.client.XLen(ctx, stream).Result()
		if err != nil {
			return err
		}
		n, err := b.client.XTrimMaxLenApprox(ctx, stream, length*most/size, 0).Result()
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}
