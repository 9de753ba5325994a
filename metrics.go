// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/service"
)

// metrics are what a pipeline shows at /metrics, each by service.
type metrics struct {
	records, bytes, values, skipped, dead, retries *prometheus.CounterVec
	answers, revisions, stray, foreign, cut        *prometheus.CounterVec
	late                                           *lateAnswers
	lag, open, calls, taken, waiting, skew         *prometheus.GaugeVec
	abandoned, away                                *prometheus.GaugeVec
	batch, predict, settle, queueing, latency      *prometheus.HistogramVec
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "millrace", Name: name, Help: help}, append([]string{"service"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "millrace", Name: name, Help: help}, []string{"service"})
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "millrace", Name: name, Help: help, Buckets: buckets}, []string{"service"})
	}
	seconds := prometheus.ExponentialBuckets(0.0002, 2.5, 14) // 0.2 ms … 30 s
	return &metrics{
		records:   counter("records_total", "Records taken from the service's topics."),
		bytes:     counter("record_bytes_total", "Bytes of the records taken."),
		values:    counter("values_total", "Values published."),
		skipped:   counter("skipped_total", "Items that the model chose not to answer."),
		dead:      counter("dead_letters_total", "Items out of tries."),
		retries:   counter("retries_total", "Model calls beyond a batch's first."),
		answers:   counter("gathered_total", "Sources answered, by status: complete or partial.", "status"),
		revisions: counter("revisions_total", "Answers amended by a part that came late."),
		stray:     counter("stray_total", "Records in a gathered topic that descend from no source of the gather."),
		foreign:   counter("foreign_total", "Records in a gather's own topic that it did not write, found when it is restored."),
		cut:       counter("cut_total", "Answers of a gather that leave something out, as it was too large or could not be read, and say so."),
		lag:       gauge("lag_records", "Records that the service or gather has not settled yet."),
		open:      gauge("open_joins", "Sources that wait for parts."),
		calls:     gauge("model_calls", "Calls of the model in flight."),
		taken:     gauge("open_records", "Records taken and not settled."),
		waiting:   gauge("waiting_records", "Records predicted that settle, or wait for earlier ones to settle."),
		skew:      gauge("clock_skew_seconds", "How far the broker's clock is ahead of this machine's, where a gather's sources show it; 0 if they agree."),
		late:      &lateAnswers{CounterVec: counter("late_answers_total", "Answers of the model that came after their call's time and were dropped."), seen: map[string]int64{}},
		abandoned: gauge("abandoned_calls", "Calls of the model past their time that have not returned."),
		away:      gauge("model_away_seconds", "For how long the service has been waiting for its model; 0 if it does not."),
		batch:     histogram("batch_records", "Records in a batch.", prometheus.ExponentialBuckets(1, 2, 14)),
		predict:   histogram("predict_seconds", "Time in the model for a batch, with retries.", seconds),
		settle:    histogram("settle_seconds", "Time to settle a batch.", seconds),
		queueing:  histogram("queueing_seconds", "From the append of a batch's oldest record to its poll.", seconds),
		latency:   histogram("gather_seconds", "From a source's append to its answer.", seconds),
	}
}

// register shows the metrics in a registry: all of them, or none with an error.
func (m *metrics) register(r prometheus.Registerer) error {
	var done []prometheus.Collector
	for _, c := range m.all() {
		if err := r.Register(c); err != nil {
			for _, c := range done {
				r.Unregister(c)
			}
			return err
		}
		done = append(done, c)
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	for _, c := range m.all() {
		r.Unregister(c)
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.records, m.bytes, m.values, m.skipped, m.dead, m.retries, m.answers, m.revisions, m.stray, m.foreign, m.cut, m.late,
		m.lag, m.open, m.calls, m.taken, m.waiting, m.skew, m.abandoned, m.away, m.batch, m.predict, m.settle, m.queueing, m.latency,
	}
}

func (m *metrics) service(name string, o service.Observation) {
	m.records.WithLabelValues(name).Add(float64(o.Records))
	m.bytes.WithLabelValues(name).Add(float64(o.Bytes))
	m.values.WithLabelValues(name).Add(float64(o.Values))
	m.skipped.WithLabelValues(name).Add(float64(o.Skipped))
	m.dead.WithLabelValues(name).Add(float64(o.Failed))
	m.retries.WithLabelValues(name).Add(float64(o.Retries))
	m.batch.WithLabelValues(name).Observe(float64(o.Records))
	m.predict.WithLabelValues(name).Observe(o.Predict.Seconds())
	m.settle.WithLabelValues(name).Observe(o.Settle.Seconds())
	m.queueing.WithLabelValues(name).Observe(o.Queueing.Seconds())
}

func (m *metrics) load(name string, l service.Load) {
	m.calls.WithLabelValues(name).Set(float64(l.Calls))
	m.taken.WithLabelValues(name).Set(float64(l.Open))
	m.waiting.WithLabelValues(name).Set(float64(l.Waiting))
	m.abandoned.WithLabelValues(name).Set(float64(l.Abandoned))
	m.late.set(name, l.Late)
	away := 0.0
	if !l.Away.IsZero() {
		away = time.Since(l.Away).Seconds()
	}
	m.away.WithLabelValues(name).Set(away)
}

// lateAnswers is a counter of what services count themselves. Only the monitor
// sets it.
type lateAnswers struct {
	*prometheus.CounterVec
	seen map[string]int64
}

func (l *lateAnswers) set(name string, n int64) {
	l.WithLabelValues(name).Add(float64(n - l.seen[name]))
	l.seen[name] = n
}

func (m *metrics) gather(name string, o gather.Observation) {
	m.records.WithLabelValues(name).Add(float64(o.Records))
	m.answers.WithLabelValues(name, "complete").Add(float64(o.Complete))
	m.answers.WithLabelValues(name, "partial").Add(float64(o.Partial))
	m.revisions.WithLabelValues(name).Add(float64(o.Revisions))
	m.stray.WithLabelValues(name).Add(float64(o.Stray))
	m.foreign.WithLabelValues(name).Add(float64(o.Foreign))
	m.cut.WithLabelValues(name).Add(float64(o.Cut))
	m.open.WithLabelValues(name).Set(float64(o.Open))
	m.skew.WithLabelValues(name).Set(o.Skew.Seconds())
	m.batch.WithLabelValues(name).Observe(float64(o.Records))
	m.settle.WithLabelValues(name).Observe(o.Settle.Seconds())
	latency := m.latency.WithLabelValues(name)
	for _, d := range o.Latency {
		latency.Observe((d + o.Settle).Seconds())
	}
}
