// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"time"

	"github.com/millrace-ml/millrace"
)

const (
	sampling = 100 * time.Millisecond
	// window is how far back rates and batch sizes look.
	window = 2 * time.Second
	// HistoryStep is the time that a value of [Service.History] stands for.
	HistoryStep  = time.Second
	historySteps = 60
)

// Service is how a service or the gather is.
type Service struct {
	millrace.Status

	Rate  float64 // records answered a second, in the last two seconds
	Batch float64 // records in a batch, on average in that time or before it

	// History is how many records were answered in each of the last 60 seconds
	// at most, oldest first.
	History []int64
}

// meter turns counters into rates.
type meter struct {
	services []*gauge
}

type gauge struct {
	now     millrace.Status
	past    []reading // in the window, oldest first
	batch   float64
	history []int64
	step    time.Time // when the last value of history began
	before  int64     // answered when it began
}

// reading is what a service had done at a time.
type reading struct {
	at                         time.Time
	records, batches, answered int64
}

func newMeter(status []millrace.Status) meter {
	var m meter
	for _, s := range status {
		m.services = append(m.services, &gauge{now: s})
	}
	return m
}

func (m *meter) add(now time.Time, status []millrace.Status) {
	for i, s := range status {
		m.services[i].add(now, s)
	}
}

func (m *meter) state() []Service {
	var all []Service
	for _, g := range m.services {
		all = append(all, Service{
			Status: g.now, Rate: g.rate(), Batch: g.batch, History: append([]int64(nil), g.history...),
		})
	}
	return all
}

// answered is what counts as work done: of a service, records settled; of a
// gather, sources answered.
func answered(s *millrace.Status) int64 {
	if s.Gather {
		return s.Values + s.Failed
	}
	return s.Records
}

func (g *gauge) add(now time.Time, s millrace.Status) {
	g.now = s
	g.past = append(g.past, reading{now, s.Records, s.Batches, answered(&s)})
	for len(g.past) > 2 && now.Sub(g.past[0].at) > window {
		g.past = g.past[1:]
	}
	first := &g.past[0]
	if batches := s.Batches - first.batches; batches > 0 {
		g.batch = float64(s.Records-first.records) / float64(batches)
	}
	g.remember(now, answered(&s))
}

func (g *gauge) remember(now time.Time, answered int64) {
	for g.step.IsZero() || now.Sub(g.step) >= HistoryStep {
		if g.step.IsZero() || now.Sub(g.step) > historySteps*HistoryStep {
			g.step = now
		} else {
			g.step = g.step.Add(HistoryStep)
		}
		g.before = answered
		if len(g.history) > 0 {
			g.before = g.past[max(0, len(g.past)-2)].answered
		}
		if len(g.history) == historySteps {
			g.history = g.history[1:]
		}
		g.history = append(g.history, 0)
	}
	g.history[len(g.history)-1] = answered - g.before
}

func (g *gauge) rate() float64 {
	if len(g.past) < 2 {
		return 0
	}
	first, last := &g.past[0], &g.past[len(g.past)-1]
	if took := last.at.Sub(first.at); took > 0 {
		return float64(last.answered-first.answered) / took.Seconds()
	}
	return 0
}
