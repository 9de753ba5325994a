// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"strings"
	"testing"

	yaml "github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
)

func TestPipelinesInTheDocsAreValid(t *testing.T) {
	checked := 0
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.language != "yaml" {
				continue
			}
			text, ok := complete(t, b)
			if !ok {
				continue
			}
			checked++
			env := func(string) (string, bool) { return "", false }
			_, problems := pipeline.Check(page, text, env, pipeline.WithKinds(kinds.All(nil)...))
			if problems.Errors() > 0 {
				t.Errorf("%s:%d: %v", page, b.line, problems)
			}
		}
	}
	if checked < 10 {
		t.Errorf("the pages have only %d blocks of pipelines", checked)
	}
}

// complete makes a whole pipeline of a block that shows a part of one: some of its
// fields, or services. A block of comments alone has nothing to check.
func complete(t *testing.T, b block) ([]byte, bool) {
	t.Helper()
	var shown map[string]any
	if err := yaml.Unmarshal([]byte(b.text), &shown); err != nil {
		t.Errorf("%s:%d: %v", b.page, b.line, err)
		return nil, false
	}
	if len(shown) == 0 || shown["services"] != nil {
		return []byte(b.text), len(shown) > 0
	}
	whole := map[string]any{
		"name":     "part",
		"topics":   map[string]any{"tickets": nil},
		"services": map[string]any{"other": map[string]any{"from": "tickets", "to": "others", "model": map[string]any{"builtin": "identity"}}},
	}
	for name, value := range shown {
		fields, isMapping := value.(map[string]any)
		from, isService := fields["from"].(string)
		if !isMapping || !isService {
			whole[name] = value
			continue
		}
		whole["topics"].(map[string]any)[from] = nil
		whole["services"].(map[string]any)[name] = value
	}
	text, err := yaml.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return text, true
}

// TestAPartOfAPipelineIsCheckedToo would not see a mistake if complete lost it.
func TestAPartOfAPipelineIsCheckedToo(t *testing.T) {
	for text, fault := range map[string]string{
		"tags: {from: tickets, to: tags, model: {builtin: taggr}}": "taggr",
		"brokers: embedded":                     "brokers",
		"topics: {tickets: {partitions: many}}": "partitions",
	} {
		whole, ok := complete(t, block{text: text})
		_, problems := pipeline.Check("part.yaml", whole, nil, pipeline.WithKinds(kinds.All(nil)...))
		if !ok || problems.Errors() == 0 || !strings.Contains(problems.Error(), fault) {
			t.Errorf("%s: %v", text, problems)
		}
	}
}
