// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/graph"
	"github.com/millrace-ml/millrace/pipeline/report"
)

func ExampleLoad() {
	p, err := pipeline.Load("../examples/support-desk/pipeline.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Name, "answers", p.Sources())
	for _, part := range p.Parts("desk") {
		fmt.Println(part.Service, "via", part.Via)
	}
	// Output:
	// support-desk answers [tickets]
	// sentiment via [sentiment]
	// classifier via [tagger classifier]
	// keywords via [tagger keywords]
	// checklist via [embedder checklist]
}

func ExampleParse() {
	file := []byte(`
name: desk
topics:
  tickets: {}
services:
  tagger: {from: ticktes, to: tags, model: {builtin: tagger}, concurrency: 0}
`)
	_, err := pipeline.Parse("desk.yaml", file, os.LookupEnv)
	var problems pipeline.Problems
	if errors.As(err, &problems) {
		report.Write(os.Stdout, problems, false)
	}
	// Output:
	// desk.yaml:6:18: error: service tagger reads topic ticktes, which nobody writes and topics does not list
	//   6 |   tagger: {from: ticktes, to: tags, model: {builtin: tagger}, concurrency: 0}
	//     |                  ^
	//     = did you mean tickets?
	// desk.yaml:6:76: error: services.tagger.concurrency must be from 1 to 4096, not 0
	//   6 |   tagger: {from: ticktes, to: tags, model: {builtin: tagger}, concurrency: 0}
	//     |                                                                            ^
}

func ExampleNew() {
	p, err := pipeline.New(pipeline.Pipeline{
		Name:   "desk",
		Topics: map[string]pipeline.Topic{"tickets": {Partitions: 4}},
		Services: map[string]pipeline.Service{
			"tagger":  {From: pipeline.Names{"tickets"}, To: "tags", Model: pipeline.Model{Kind: "builtin", Argument: "tagger"}},
			"urgency": {From: pipeline.Names{"tickets"}, To: "urgencies", Model: pipeline.Model{Kind: "go", Argument: "urgency"}},
		},
		Gather: map[string]pipeline.Gather{
			"desk": {Of: "tickets", From: []string{"tags", "urgencies"}, To: "desk"},
		},
	}, pipeline.WithKinds(kinds.All(nil)...), pipeline.WithModels("urgency"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Order(), p.Gather["desk"].Deadline)

	_, err = pipeline.New(pipeline.Pipeline{
		Name:     "desk",
		Topics:   map[string]pipeline.Topic{"tickets": {}},
		Services: map[string]pipeline.Service{"tagger": {From: pipeline.Names{"ticket"}, To: "tags", Model: pipeline.Model{Kind: "go", Argument: "tagger"}}},
	})
	fmt.Println(err)
	// Output:
	// [tagger urgency] 5s
	// services.tagger.from: service tagger reads topic ticket, which nobody writes and topics does not list; did you mean tickets?
}

func ExampleWithModels() {
	file := []byte(`
name: desk
topics: {tickets: {}}
services:
  urgency: {from: tickets, to: urgencies, model: {go: urgncy}}
`)
	_, err := pipeline.Parse("desk.yaml", file, os.LookupEnv, pipeline.WithModels("urgency", "mood"))
	fmt.Println(err)
	// Output:
	// desk.yaml:5:55: there is no go model urgncy; did you mean urgency?
}

func ExamplePipeline_AllTopics() {
	p, err := pipeline.Parse("small.yaml", []byte(`
name: small
topics:
  texts: {partitions: 4, retention: 7d}
services:
  sentiment: {from: texts, to: sentiments, model: {builtin: sentiment}}
`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range p.AllTopics() {
		fmt.Println(t.Name, t.Partitions, t.Retention)
	}
	// Output:
	// sentiment.dead 4 168h0m0s
	// sentiments 4 168h0m0s
	// texts 4 168h0m0s
}

func Example_graph() {
	p, err := pipeline.Parse("small.yaml", []byte(`
name: small
topics: {texts: {}}
services:
  tagger: {from: texts, to: tags, model: {builtin: tagger}}
  classifier: {from: tags, to: classes, model: {builtin: classifier}}
`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	graph.Of(p).Text(os.Stdout, graph.TextOptions{ASCII: true})
	// Output:
	// small: 1 source, 2 services
	//
	//           +--------+            +------------+
	// (texts)-->| tagger |-->(tags)-->| classifier |-->(classes)
	//           +--------+            +------------+
}
