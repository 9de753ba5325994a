// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"math"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

func TestAConfigurationThatCannotBeIsAnErrorOfNew(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct {
		change func(*service.Config)
		want   string // empty: no error
	}{
		"what is required":      {func(*service.Config) {}, ""},
		"no name":               {func(c *service.Config) { c.Name = "" }, `service "": Config.Name is empty`},
		"an odd name":           {func(c *service.Config) { c.Name = "a/b" }, `Config.Name: name "a/b": character '/' is not allowed`},
		"no group":              {func(c *service.Config) { c.Group = "" }, `service "svc": Config.Group is empty`},
		"nothing to read":       {func(c *service.Config) { c.From = nil }, "Config.From is empty"},
		"an unnamed topic":      {func(c *service.Config) { c.From = []string{"in", ""} }, "Config.From has a topic without a name"},
		"nothing to write":      {func(c *service.Config) { c.To = "" }, "Config.To is empty"},
		"no dead letters":       {func(c *service.Config) { c.Dead = "" }, "Config.Dead is empty"},
		"no model":              {func(c *service.Config) { c.Model = nil }, "Config.Model: the model is nil"},
		"a nil pointer":         {func(c *service.Config) { c.Model = (*nothing)(nil) }, "Config.Model: the model is a nil *service_test.nothing"},
		"a model without name":  {func(c *service.Config) { c.Model = model.JSON[int, int]("", nil) }, "Config.Model: model.JSON: the model's name is empty"},
		"it reads what it says": {func(c *service.Config) { c.To = "in" }, "these must be different topics"},
		"it reads its dead":     {func(c *service.Config) { c.From = []string{"in", "svc.dead"} }, "these must be different topics"},
		"equal outputs":         {func(c *service.Config) { c.Dead = "out" }, "these must be different topics"},
		"too much at once":      {func(c *service.Config) { c.Concurrency = math.MaxInt }, "give it at most 4096"},
		"concurrency":           {func(c *service.Config) { c.Concurrency = -1 }, "Config.Concurrency is negative"},
		"attempts":              {func(c *service.Config) { c.Attempts = -1 }, "Config.Attempts is negative"},
		"backoff":               {func(c *service.Config) { c.Backoff = -1 }, "Config.Backoff is negative"},
		"timeout":               {func(c *service.Config) { c.Timeout = -1 }, "Config.Timeout is negative"},
		"patience":              {func(c *service.Config) { c.Patience = -1 }, "Config.Patience is negative"},
		"grace":                 {func(c *service.Config) { c.Grace = -1 }, "Config.Grace is negative"},
		"records":               {func(c *service.Config) { c.Batch.Records = -1 }, "Config.Batch.Records is negative"},
		"bytes":                 {func(c *service.Config) { c.Batch.Bytes = -1 }, "Config.Batch.Bytes is negative"},
		"wait":                  {func(c *service.Config) { c.Batch.Wait = -1 }, "Config.Batch.Wait is negative"},
	} {
		config := service.Config{Name: "svc", Group: "g.svc", From: []string{"in"}, To: "out", Dead: "svc.dead", Model: upper}
		c.change(&config)
		s, err := service.New(b.b, config)
		if c.want == "" && err != nil || c.want != "" && (s != nil || err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	small := broker.New(b.b.Driver(), broker.Options{MaxRecordBytes: 1000})
	if _, err := service.New(small, service.Config{Name: "svc"}); err == nil || err.Error() != `service "svc": its broker takes records of at most 1000 bytes: a dead letter needs room for 65536` {
		t.Errorf("on a broker of small records: %v", err)
	}
	if _, err := service.New(nil, service.Config{Name: "svc"}); err == nil || err.Error() != `service "svc": it has no broker` {
		t.Errorf("without a broker: %v", err)
	}
}

// nothing is a model whose methods need what a nil pointer has not.
type nothing struct{ predict }

func TestTopicsThatDoNotFitEndRunAtOnce(t *testing.T) {
	b := newBench(t)
	if err := b.b.CreateTopics(t.Context(), broker.Topic{Name: "wide", Partitions: 3}, broker.Topic{Name: "wide.out", Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from, to, dead, want string
	}{
		"no input":            {"nowhere", "out", "svc.dead", `service svc: topic "nowhere": no such topic`},
		"no output":           {"in", "nowhere", "svc.dead", `service svc: topic "nowhere": no such topic`},
		"no dead letters":     {"in", "out", "nowhere", `service svc: topic "nowhere": no such topic`},
		"too narrow":          {"wide", "out", "svc.dead", "and wide has 3: "},
		"a narrow dead topic": {"wide", "wide.out", "svc.dead", "topic svc.dead has 1 partitions and wide has 3: dead letters stay in the partition of their record, give svc.dead as many"},
	} {
		s := b.service(service.Config{Name: "svc", Group: "g.svc", From: []string{c.from}, To: c.to, Dead: c.dead, Model: upper})
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
