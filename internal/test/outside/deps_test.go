// SPDX-License-Identifier: Apache-2.0

package outside

import (
	"strings"
	"testing"
)

// What a program may not want.
const (
	pebble   = "github.com/cockroachdb/pebble"
	franz    = "github.com/twmb/franz-go"
	goRedis  = "github.com/redis/go-redis"
	cobra    = "github.com/spf13/cobra"
	exporter = "go.opentelemetry.io/otel/exporters"
	metrics  = "github.com/prometheus"
)

func TestAProgramCompilesOnlyTheDriversThatItImports(t *testing.T) {
	t.Parallel()
	m := newModule(t)
	for _, c := range []struct {
		program       string
		imports       []string
		with, without []string
	}{
		{"embedded", []string{"broker/embedded"}, []string{pebble}, []string{franz, goRedis, cobra, exporter}}, // Pebble has metrics
		{"redis", []string{"broker/redis"}, []string{goRedis}, []string{franz, pebble, cobra, exporter, metrics}},
		{"kafka", []string{"broker/kafka"}, []string{franz}, []string{pebble, goRedis, cobra, exporter, metrics}},
		{"app", []string{"", "broker/embedded"}, []string{pebble, metrics}, []string{franz, goRedis, cobra, exporter}},
		{"app on Kafka", []string{"", "broker/kafka"}, []string{franz, metrics}, []string{pebble, goRedis, cobra, exporter}},
		{"any broker", []string{"brokers"}, []string{pebble, franz, goRedis}, []string{cobra, exporter}},
		{"commands", []string{"cli"}, []string{pebble, franz, goRedis, cobra, exporter, metrics}, nil},
		{"pipeline", []string{"pipeline"}, nil, []string{pebble, franz, goRedis, cobra, exporter, metrics}},
		{"text", []string{"text/sentiment"}, nil, []string{pebble, franz, goRedis, cobra, exporter, metrics, millrace + "/broker"}},
	} {
		t.Run(c.program, func(t *testing.T) {
			dir := strings.ReplaceAll(c.program, " ", "-")
			program := "package main\n\n"
			for _, path := range c.imports {
				program += "import _ \"" + strings.TrimSuffix(millrace+"/"+path, "/") + "\"\n"
			}
			m.write(dir+"/main.go", program+"\nfunc main() {}\n")
			deps := "\n" + m.goTool("list", "-deps", "./"+dir)
			for _, path := range c.with {
				if !strings.Contains(deps, "\n"+path) {
					t.Errorf("it does not compile %s", path)
				}
			}
			for _, path := range c.without {
				if strings.Contains(deps, "\n"+path) {
					t.Errorf("it compiles %s", path)
				}
			}
		})
	}
}
