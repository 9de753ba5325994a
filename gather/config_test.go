// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gather"
)

func TestAConfigurationThatCannotBeIsAnErrorOfNew(t *testing.T) {
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	parts := func(n int) (all []gather.Part) {
		for i := range n {
			all = append(all, gather.Part{Name: fmt.Sprint("part", i), Topic: fmt.Sprint("topic", i)})
		}
		return all
	}
	for name, c := range map[string]struct {
		change func(*gather.Config)
		want   string // empty: no error
	}{
		"what is required":   {func(*gather.Config) {}, ""},
		"as many as can be":  {func(c *gather.Config) { c.Parts = parts(64) }, ""},
		"no name":            {func(c *gather.Config) { c.Name = "" }, `gather "": Config.Name is empty`},
		"no group":           {func(c *gather.Config) { c.Group = "" }, `gather "desk": Config.Group is empty`},
		"no source":          {func(c *gather.Config) { c.Of = "" }, "Config.Of is empty"},
		"nothing to write":   {func(c *gather.Config) { c.To = "" }, "Config.To is empty"},
		"no parts":           {func(c *gather.Config) { c.Parts = nil }, "it has 0 parts, give it 1 to 64"},
		"too many parts":     {func(c *gather.Config) { c.Parts = parts(65) }, "it has 65 parts, give it 1 to 64"},
		"a nameless part":    {func(c *gather.Config) { c.Parts[0].Name = "" }, "a part has no name or no topic"},
		"a topicless part":   {func(c *gather.Config) { c.Parts[1].Topic = "" }, "a part has no name or no topic"},
		"equal names":        {func(c *gather.Config) { c.Parts[1].Name = "part0" }, "two parts are called part0"},
		"equal topics":       {func(c *gather.Config) { c.Parts[1].Topic = "topic0" }, "topic topic0 is joined twice"},
		"its source is part": {func(c *gather.Config) { c.Parts[1].Topic = "tickets" }, "topic tickets is joined twice"},
		"its answer is part": {func(c *gather.Config) { c.Parts[1].Topic = "desk" }, "topic desk is joined twice"},
		"it joins itself":    {func(c *gather.Config) { c.To = "tickets" }, "it reads and writes topic tickets"},
		"a failure is its":   {func(c *gather.Config) { c.Parts[1].Upstream = []string{"desk"} }, "it reads and writes topic desk"},
		"deadline":           {func(c *gather.Config) { c.Deadline = -1 }, "Config.Deadline is negative"},
		"grace":              {func(c *gather.Config) { c.Grace = -1 }, "Config.Grace is negative"},
		"open sources":       {func(c *gather.Config) { c.MaxOpen = -1 }, "Config.MaxOpen is negative"},
		"records":            {func(c *gather.Config) { c.Batch.Records = -1 }, "Config.Batch.Records is negative"},
		"bytes":              {func(c *gather.Config) { c.Batch.Bytes = -1 }, "Config.Batch.Bytes is negative"},
		"wait":               {func(c *gather.Config) { c.Batch.Wait = -1 }, "Config.Batch.Wait is negative"},
	} {
		config := gather.Config{Name: "desk", Group: "g.desk", Of: "tickets", Parts: parts(2), To: "desk"}
		c.change(&config)
		g, err := gather.New(b, config)
		if c.want == "" && err != nil || c.want != "" && (g != nil || err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := gather.New(nil, gather.Config{Name: "desk"}); err == nil || err.Error() != `gather "desk": it has no broker` {
		t.Errorf("without a broker: %v", err)
	}
}

func TestTopicsThatDoNotFitEndRunAtOnce(t *testing.T) {
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for topic, partitions := range map[string]int{"tickets": 3, "tags": 3, "moods": 2, "desk": 3, "narrow": 2, "board": 3, "board.window": 2} {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: topic, Partitions: partitions}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		of, part, to, want string
	}{
		"no source":         {"nowhere", "tags", "desk", `gather desk: topic "nowhere": no such topic`},
		"no output":         {"tickets", "tags", "nowhere", `gather desk: topic "nowhere": no such topic`},
		"no part":           {"tickets", "nowhere", "desk", `topic "nowhere": no such topic`},
		"narrow":            {"tickets", "tags", "narrow", "topic narrow has 2 partitions and tickets has 3: answers stay in the partition of their source, give narrow as many"},
		"no room for notes": {"tickets", "tags", "board", "topic board.window has 2 partitions and tickets has 3: notes stay in the partition of their source, give board.window as many"},
		"unequal":           {"tickets", "moods", "desk", "topic moods has 2 partitions and tickets has 3: topics do not fit together"},
	} {
		g, err := gather.New(b, gather.Config{Name: "desk", Group: "g.desk", Of: c.of, Parts: []gather.Part{{Name: "part", Topic: c.part}}, To: c.to})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
