// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	yaml "github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
)

func TestTheCommittedPageIsFresh(t *testing.T) {
	want, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(root + "docs/pipeline.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/pipeline.md is not what the types say; run: make generate")
	}
}

// fields puts the fields of a pipeline that has one service and one gather of the
// name NAME.
func fields() map[string]any {
	return map[string]any{
		"name":   "small",
		"topics": map[string]any{"tickets": nil, "mails": nil},
		"services": map[string]any{
			"NAME":  map[string]any{"from": "tickets", "to": "results", "model": map[string]any{"builtin": "sentiment"}},
			"moods": map[string]any{"from": "tickets", "to": "moods", "model": map[string]any{"builtin": "sentiment"}},
			"tags":  map[string]any{"from": "tickets", "to": "tags", "model": map[string]any{"builtin": "tagger"}},
		},
		"gather": map[string]any{
			"NAMES": map[string]any{"of": "tickets", "from": []string{"moods"}, "to": "joined"},
		},
	}
}

// set puts a value at a path, making what is on the way.
func set(in map[string]any, path []string, value any) {
	if len(path) == 1 {
		in[path[0]] = value
		return
	}
	next, ok := in[path[0]].(map[string]any)
	if !ok {
		next = map[string]any{}
		in[path[0]] = next
	}
	set(next, path[1:], value)
}

// accept fails unless a file with the example at that path has no errors.
func accept(t *testing.T, file map[string]any, path, example string) {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(example), &value); err != nil || example == "" {
		t.Errorf("%s: the example %q cannot be read: %v", path, example, err)
		return
	}
	set(file, strings.Split(path, "."), value)
	data, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	_, problems := pipeline.Check("example.yaml", data, nil, pipeline.WithKinds(kinds.All(nil)...))
	if problems.Errors() > 0 {
		t.Errorf("%s: the example %s is refused: %v", path, example, problems)
	}
}

func TestEveryFieldHasAnExampleThatIsAccepted(t *testing.T) {
	looked := 0
	for _, s := range sectionsOf("", reflect.TypeFor[pipeline.Pipeline]()) {
		for _, r := range s.Rows {
			file, path := fields(), r.Path
			switch {
			case path == "services" || path == "gather" || path == "topics":
				file = map[string]any{"name": "small", "topics": map[string]any{"tickets": nil}, "services": map[string]any{
					"mood": map[string]any{"from": "tickets", "to": "moods", "model": map[string]any{"builtin": "sentiment"}}}}
			case strings.HasPrefix(path, "gather.NAME."):
				path = strings.Replace(path, "NAME", "NAMES", 1)
			case strings.HasPrefix(path, "topics.NAME."):
				path = strings.Replace(path, "NAME", "other", 1)
			}
			accept(t, file, path, r.Example)
			looked++
		}
	}
	for _, k := range kindsOf(kinds.All(nil)) {
		for _, m := range k.Models {
			for _, r := range m.Rows {
				file := fields()
				named := map[string]any{k.Name: m.Argument}
				for _, other := range m.Rows {
					if other.Default == "(required)" {
						named[other.Path] = other.Example
					}
				}
				set(file, []string{"services", "NAME", "model"}, named)
				accept(t, file, fmt.Sprintf("services.NAME.model.%s", r.Path), r.Example)
				looked++
			}
		}
	}
	if looked < 40 {
		t.Errorf("only %d fields were seen", looked)
	}
}
