// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	records  *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "millrace", Name: "http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "code"}),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "millrace", Name: "published_records_total", Help: "Records published over HTTP.",
		}, []string{"topic"}),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if err := r.Register(m.requests); err != nil {
		return err
	}
	return r.Register(m.records)
}

func (m *metrics) request(route string, code int) {
	m.requests.WithLabelValues(route, strconv.Itoa(code)).Inc()
}

func (m *metrics) published(topic string, n int) {
	m.records.WithLabelValues(topic).Add(float64(n))
}
