// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/nearest"
)

// exampleFiles are JSONL files of texts for which the right item is known.
type exampleFiles struct {
	paths              []string
	field, label, kind string
}

// read embeds the examples' texts. It returns the files' contents too, since
// the model's answers depend on them.
func (f exampleFiles) read(items []item) (examples []nearest.Example, contents []string, err error) {
	index := make(map[string]int, len(items))
	for i, it := range items {
		index[it.ID] = i
	}
	for _, path := range f.paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		contents = append(contents, string(content))
		for n, line := range bytes.Split(content, []byte("\n")) {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			e, err := f.example(line, index)
			if err != nil {
				return nil, nil, fmt.Errorf("%s, line %d: %w", path, n+1, err)
			}
			examples = append(examples, e)
		}
	}
	return examples, contents, nil
}

func (f exampleFiles) example(line []byte, index map[string]int) (nearest.Example, error) {
	text, err := appendText(nil, line, f.field)
	if err != nil {
		return nearest.Example{}, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return nearest.Example{}, err
	}
	given, ok := fields[f.label]
	if !ok {
		return nearest.Example{}, fmt.Errorf("there is no field %q, which names the right item or is null", f.label)
	}
	var id *string
	if err := json.Unmarshal(given, &id); err != nil {
		return nearest.Example{}, fmt.Errorf("field %q is %.40s, expected an item's id or null", f.label, given)
	}
	e := nearest.Example{Text: string(text), Item: nearest.None, Vector: make([]float32, embed.Default().Dim())}
	if id != nil {
		if e.Item, ok = index[*id]; !ok {
			return e, fmt.Errorf("there is no item with the id %q", *id)
		}
	}
	if given, ok := fields[f.kind]; ok {
		var kind *string
		if err := json.Unmarshal(given, &kind); err != nil {
			return e, fmt.Errorf("field %q is %.40s, expected a string", f.kind, given)
		}
		if kind != nil {
			e.Kind = *kind
		}
	}
	embed.Default().Embed(e.Vector, e.Text)
	return e, nil
}
