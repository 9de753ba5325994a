// SPDX-License-Identifier: Apache-2.0

package graph_test

import (
	"os"

	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/graph"
)

func ExampleGraph_Text() {
	p, err := pipeline.Parse("pipeline.yaml", []byte("name: shop\ntopics: {tickets: {}}\nservices:\n  mood: {from: tickets, to: moods, model: {builtin: sentiment}}\n"), nil)
	if err != nil {
		panic(err)
	}
	if err := graph.Of(p).Text(os.Stdout, graph.TextOptions{}); err != nil {
		panic(err)
	}
	// Output:
	// shop: 1 source, 1 service
	//
	//             ┌─────────────┐
	// (tickets)──▶│ mood        │──▶(moods)
	//             └─ sentiment ─┘
}
