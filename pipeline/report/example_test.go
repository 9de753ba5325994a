// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"os"

	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/report"
)

func ExampleWrite() {
	file := []byte("name: shop\ntopics: {tickets: {}}\nservices:\n  mood: {from: tickets, to: moods, model: {builtin: sentimnt}}\n")
	_, problems := pipeline.Check("pipeline.yaml", file, nil, pipeline.WithKinds(kinds.All(nil)...))
	if err := report.Write(os.Stdout, problems, false); err != nil {
		panic(err)
	}
	// Output:
	// pipeline.yaml:4:53: error: there is no builtin model sentimnt
	//   4 |   mood: {from: tickets, to: moods, model: {builtin: sentimnt}}
	//     |                                                     ^
	//     = did you mean sentiment?
}
