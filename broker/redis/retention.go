// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// retain deletes what is beyond the topics' retention, from time to time, as
// long as the broker is open. Of all clients of a namespace one at a time does
// it.
func (d *driver) retain() {
	for {
		if !sleep(d.life, d.options.retentionInterval) {
			return
		}
		if err := d.trimAll(d.life); err != nil && d.life.Err() == nil {
			d.options.Logger.Warn("retention has to wait", "server", d.server, "err", plain(err))
		}
	}
}

// trimAll trims every topic, unless another client did lately.
func (d *driver) trimAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	turn, err := d.client.SetNX(ctx, d.keys.retention(), "taken", d.options.retentionInterval/2).Result()
	if err != nil || !turn {
		return err
	}
	now, err := d.client.Time(ctx).Result()
	if err != nil {
		return err
	}
	if err := d.refresh(ctx); err != nil {
		return err
	}
	for _, t := range d.data.Load().topics {
		for _, s := range t.streams {
			if err := d.trim(ctx, s, t.Topic, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// trim trims a stream. Redis deletes whole nodes of about a hundred entries, so
// a little more may be left.
func (d *driver) trim(ctx context.Context, stream string, of broker.Topic, now time.Time) error {
	if of.Retention > 0 {
		oldest := strconv.FormatInt(now.Add(-of.Retention).UnixMilli(), 10)
		for {
			n, err := d.client.XTrimMinIDApprox(ctx, stream, oldest, 0).Result()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	if of.RetentionBytes > 0 {
		return d.trimBytes(ctx, stream, of.RetentionBytes)
	}
	return nil
}

// trimBytes trims by the average size of entries in Redis's memory, which is
// what is to be kept small.
func (d *driver) trimBytes(ctx context.Context, stream string, most int64) error {
	for range 100 {
		size, err := d.client.MemoryUsage(ctx, stream).Result()
		if err != nil || size <= most {
			return ignoreNil(err)
		}
		length, err := d.client.XLen(ctx, stream).Result()
		if err != nil {
			return err
		}
		n, err := d.client.XTrimMaxLenApprox(ctx, stream, length*most/size, 0).Result()
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}
