// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/graph"
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
  tagger: {from: ticktes, to: tags, model: {builtin: tagger}, consumers: 0}
`)
	_, err := pipeline.Parse("desk.yaml", file, os.LookupEnv)
	var problems pipeline.Problems
	if errors.As(err, &problems) {
		problems.Print(os.Stdout, false)
	}
	// Output:
	// desk.yaml:6:18: error: service tagger reads topic ticktes, which nobody writes and topics does not list
	//   6 |   tagger: {from: ticktes, to: tags, model: {builtin: tagger}, consumers: 0}
	//     |                  ^
	//     = did you mean tickets?
	// desk.yaml:6:74: error: services.tagger.consumers must be from 1 to 1024, not 0
	//   6 |   tagger: {from: ticktes, to: tags, model: {builtin: tagger}, consumers: 0}
	//     |                                                                          ^
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
