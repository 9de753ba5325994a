// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Deadlines are in the log's time, which the broker's clock gives, and it is this
// machine's clock that tells when one has come. While the two agree, nothing here
// matters. Where a source shows that they do not, its deadline counts from when the
// gather first saw it: a broker ahead would otherwise put every answer off until
// this clock has caught up, and one behind would end every deadline at once.

// skew is how far the clocks of the broker's machines and of this one may be apart.
const skew = 10 * time.Second

// lookAgain is how often a gather looks whether anything is left to take. If not,
// what comes next is known to be new.
const lookAgain = 5 * time.Second

// skewOf is how far the broker's clock was ahead when it appended a source that is
// seen now, or behind if that is negative; 0 if it cannot be told from none. Ahead
// is what will be. Behind is what was appended before the partition was empty.
func (w *window) skewOf(source *broker.Record, now time.Time) time.Duration {
	switch ahead := source.Time.Sub(now); {
	case ahead > skew:
		return ahead
	case !w.empty.IsZero() && source.Time.Before(w.empty.Add(-skew)):
		return ahead
	}
	return 0
}

// deadline is when a source is to be answered with what there is, by this clock,
// and up to where the log must have been read for that.
func (j *join) deadline(limit time.Duration) (here, log time.Time) {
	at := j.source.Time.Add(limit)
	if !j.skewed {
		return at, at
	}
	here = j.seen.Add(limit)
	if here.Before(at) {
		return here, here
	}
	return here, at
}

// look notes what the sources that were taken in tell about the clocks, and says so
// now and then.
func (m *member) look(w *window, source *broker.Record, now time.Time) {
	m.skew = w.skewOf(source, now)
	if m.skew == 0 || now.Sub(m.skewLogged) < time.Hour {
		return
	}
	m.skewLogged = now
	m.g.c.Logger.Warn("the broker's clock and this machine's are apart: deadlines count from when a record is seen",
		"ahead", m.skew.Round(time.Second), "topic", source.Topic, "partition", source.Partition, "offset", source.Offset)
}

// noteRead notes how far a topic was read: up to when its record was appended,
// unless that is in the future.
func (w *window) noteRead(r *broker.Record, now time.Time) {
	w.future[r.Topic] = r.Time.Sub(now) > skew
	if !w.future[r.Topic] {
		w.read[r.Topic] = r.Time
	}
}

// lookForMore finds out, now and then, of which partitions all sources are taken
// in. (How much a Poll left behind a broker need not know.)
func (m *member) lookForMore(ctx context.Context, polled []broker.Record) error {
	now := time.Now()
	if now.Sub(m.looked) < lookAgain {
		return nil
	}
	lags, err := m.g.b.Lag(ctx, m.g.c.Group)
	if err != nil {
		return err
	}
	m.noteEmpty(lags, polled, now)
	return nil
}

// noteEmpty notes the partitions of which all sources were taken in at a time, with
// those just polled.
func (m *member) noteEmpty(lags []broker.Lag, polled []broker.Record, at time.Time) {
	taken := map[int32]int64{}
	for i := range polled {
		if polled[i].Topic == m.g.c.Of {
			taken[polled[i].Partition]++
		}
	}
	for _, l := range lags {
		if w := m.windows[l.Partition]; w != nil && l.Topic == m.g.c.Of && l.Lag <= taken[l.Partition] {
			w.empty = at
		}
	}
	m.looked = at
}

// since is a position in another topic before all that descends from a record, or
// answers it. A record that the log has from the future tells no such time.
func since(r *broker.Record) broker.Position {
	if r.Time.After(time.Now()) {
		return broker.Start()
	}
	return broker.At(r.Time.Add(-skew))
}
