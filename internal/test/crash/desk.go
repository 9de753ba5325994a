// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// The pipeline is the example's support desk with models that answer with what
// they get, so that a message's number travels to every topic. Batches are
// small, so that many settles are under way at any moment.

const (
	source  = "tickets"
	joined  = "desk"
	waiting = 4 // parts of an answer
)

// service is one of the six, with the path of its records' ids.
type service struct{ name, from, to, path, options string }

var services = []service{
	{"sentiment", "tickets", "sentiments", "sentiment", "batch: {max: 16}"},
	{"tagger", "tickets", "tags", "tagger", "batch: {max: 32}, concurrency: 3"},
	{"embedder", "tickets", "embeddings", "embedder", "batch: {max: 32}, concurrency: 2"},
	{"classifier", "tags", "classes", "tagger/classifier", "batch: {max: 16}, concurrency: 2"},
	{"keywords", "tags", "keywords", "tagger/keywords", "batch: {max: 64}"},
	{"checklist", "embeddings", "checklists", "embedder/checklist", "batch: {max: 24}, concurrency: 2"},
}

// joins are the services whose answers the gather waits for.
var joins = [waiting]string{"sentiment", "classifier", "keywords", "checklist"}

func dataDir(dir string) string { return filepath.Join(dir, "data") }

// desk is the pipeline file. With slow calls the first service has 256 of them in
// flight, each with a record, by a model that the program brings.
func desk(url string, deadline, slow time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: crash\nbroker: %s\ntopics:\n  %s: {partitions: 6}\nservices:\n", cmp.Or(url, "embedded"), source)
	for i, s := range services {
		if i == 0 && slow > 0 {
			fmt.Fprintf(&b, "  %s: {from: %s, to: %s, model: {go: slow}, concurrency: 256, batch: {max: 1}}\n", s.name, s.from, s.to)
			continue
		}
		fmt.Fprintf(&b, "  %s: {from: %s, to: %s, model: {builtin: identity}, %s}\n", s.name, s.from, s.to, s.options)
	}
	fmt.Fprintf(&b, "gather:\n  desk: {of: %s, from: [sentiments, classes, keywords, checklists], to: %s, deadline: %v}\n", source, joined, deadline)
	return b.String()
}

// message is the value of a source record.
type message struct {
	Key  string `json:"key"`
	N    int64  `json:"n"`
	Text string `json:"text"`
}

func (m message) line() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // cannot be: strings and numbers have a JSON form
	}
	return b
}
