// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/millrace-ml/millrace"
)

func TestTheMeterTellsRateBatchAndHistory(t *testing.T) {
	m := newMeter([]millrace.Status{{Name: "tagger"}})
	start := time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)
	var records, batches int64
	at := start
	step := func(n int, perStep, size int64) {
		for range n {
			m.add(at, []millrace.Status{{Name: "tagger", Records: records, Batches: batches}})
			at = at.Add(sampling)
			records += perStep
			batches += perStep / size
		}
	}
	step(30, 1, 1) // three seconds, ten records a second, one by one
	s := m.state()[0]
	if math.Abs(s.Rate-10) > 0.5 || s.Batch != 1 || !slices.Equal(s.History, []int64{9, 10, 10}) {
		t.Errorf("calm: rate %v, batch %v, history %v", s.Rate, s.Batch, s.History)
	}
	step(30, 400, 100)
	s = m.state()[0]
	if math.Abs(s.Rate-4000) > 100 || s.Batch != 100 || s.History[len(s.History)-1] != 4000 {
		t.Errorf("busy: rate %v, batch %v, history %v", s.Rate, s.Batch, s.History)
	}
	step(1000, 0, 1) // a rest is no batch of size 0
	s = m.state()[0]
	if s.Rate != 0 || s.Batch != 100 || len(s.History) != historySteps || slices.Max(s.History) != 0 {
		t.Errorf("at rest: rate %v, batch %v, history %v", s.Rate, s.Batch, s.History)
	}
}

func TestAGatherIsMeasuredByItsAnswers(t *testing.T) {
	m := newMeter([]millrace.Status{{Name: "desk", Gather: true}})
	now := time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)
	m.add(now, []millrace.Status{{Name: "desk", Gather: true}})
	m.add(now.Add(time.Second), []millrace.Status{{Name: "desk", Gather: true, Records: 50, Batches: 5, Values: 8, Failed: 2}})
	if s := m.state()[0]; s.Rate != 10 || s.Batch != 10 {
		t.Errorf("rate %v, want 10 answers a second; batch %v, want 10 records", s.Rate, s.Batch)
	}
}

func TestQuantilesAreExactToThreePercent(t *testing.T) {
	var l Latencies
	if q := l.Quantile(0.5); q != 0 {
		t.Errorf("of none: %v", q)
	}
	for i := range 1000 {
		l.add(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 0.001: time.Millisecond} {
		if got := l.Quantile(q); math.Abs(float64(got-want)) > 0.03*float64(want) {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	l.add(0)
	l.add(1000 * time.Hour) // beyond the last bucket
	if got := l.Quantile(1); got < time.Hour {
		t.Errorf("the largest is %v", got)
	}
}
