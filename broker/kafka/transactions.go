// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// errAbandoned means that a settle did not take place and was not tried again
// because nobody waits for it.
var errAbandoned = errors.New("the settle did not take place")

// transactions carries out settles, one at a time.
//
// A transaction is decided when its end is acknowledged, but a producer cannot
// begin the next one until its markers are in all partitions, which takes about
// as long again. So two producers take turns. What they do stays in order: one
// begins when the other's is decided, and the coordinator keeps the latest of a
// group's positions, whichever marker comes first.
type transactions struct {
	d    *driver
	m    *member
	life context.Context
	stop context.CancelFunc
	runs sync.WaitGroup

	producers [2]producer
	settles   int64 // numbers the notes and says whose turn it is
}

func newTransactions(d *driver, m *member) *transactions {
	t := &transactions{d: d, m: m}
	t.life, t.stop = context.WithCancel(context.Background())
	name := m.group + "-" + strings.ToLower(rand.Text()[:12])
	for i := range t.producers {
		t.producers[i] = producer{t: t, id: fmt.Sprintf("%s-%d", name, i)}
	}
	return t
}

// run carries out a settle and finds out its outcome. What fails in passing is
// tried again, while somebody waits.
func (t *transactions) run(s *settling) {
	defer t.m.settled(s)
	t.settles++
	p := &t.producers[t.settles%2]
	s.note = fmt.Sprintf("%s %d", p.id, t.settles)
	began := time.Now()
	for try := 1; ; try++ {
		s.err = t.attempt(p, s)
		passes := heals(s.err) || overtaken(s.err) || forgotten(s.err) && time.Since(began) < decision
		if s.err == nil || errors.Is(s.err, broker.ErrFenced) || !passes {
			return
		}
		t.d.options.Logger.Info("a settle failed and is tried again", "group", t.m.group, "error", s.err)
		select {
		case <-s.abandoned:
			s.err = fmt.Errorf("%w: %w", errAbandoned, s.err)
			return
		default:
		}
		if err := again(t.life, try); err != nil {
			s.err = err
			return
		}
		for i, r := range s.records {
			s.records[i] = fresh(r)
		}
	}
}

// attempt tries once. Its error means that the settle did not take place.
func (t *transactions) attempt(p *producer, s *settling) error {
	switch {
	case len(s.records) == 0 && len(s.moves) == 0:
		return nil
	case len(s.records) == 0:
		return t.m.asMember(t.life, s, func(ctx context.Context, id string, generation int32) error {
			return t.m.commit(ctx, id, generation, s.moves, s.note)
		})
	}
	return p.transact(s)
}

// close waits a moment for what is under way and then ends it. A transaction
// that is open then is aborted by the coordinator in its time.
func (t *transactions) close(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		t.runs.Wait()
		close(ended)
	}()
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-ended:
	case <-ctx.Done():
	case <-patience.C:
	}
	t.stop()
	<-ended
	for i := range t.producers {
		t.producers[i].discard()
	}
}
