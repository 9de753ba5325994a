// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/millrace-ml/millrace/broker"
)

// param is a parameter of a route. Those of the query are read by its
// description; those of the path are left to the handler.
type param struct {
	name   string
	in     string // "query", "path" or "header"
	about  string
	schema *jsonschema.Schema
	list   bool                           // may be given more than once
	unset  any                            // its value when it is not given
	read   func(text string) (any, error) // of one value
}

// pathParam is a part of the path.
func pathParam(name, about string) param {
	return param{name: name, in: "path", about: about, schema: &jsonschema.Schema{Type: "string"}}
}

func headerParam(name, about string) param {
	return param{name: name, in: "header", about: about, schema: &jsonschema.Schema{Type: "string"}}
}

// textParam is a string; "" when it is not given.
func textParam(name, about string) param {
	return param{
		name: name, in: "query", about: about, schema: &jsonschema.Schema{Type: "string"}, unset: "",
		read: func(text string) (any, error) { return text, nil },
	}
}

// choiceParam is one of a few words, or several of them.
func choiceParam(name, about string, words ...string) param {
	p := textParam(name, about)
	for _, w := range words {
		p.schema.Enum = append(p.schema.Enum, w)
	}
	p.read = func(text string) (any, error) {
		if !slices.Contains(words, text) {
			last := len(words) - 1
			return nil, fmt.Errorf("%s=%s: use %s or %s", name, text, strings.Join(words[:last], ", "), words[last])
		}
		return text, nil
	}
	return p.many()
}

// many lets a text be given more than once; it is a []string then.
func (p param) many() param {
	p.schema = &jsonschema.Schema{Type: "array", Items: p.schema}
	p.list, p.unset = true, []string(nil)
	return p
}

// numberParam is an int from least to most; 0 as most means no limit.
func numberParam(name string, least, most, unset int, about string) param {
	limit := float64(least)
	p := param{name: name, in: "query", about: about, unset: unset, schema: &jsonschema.Schema{Type: "integer", Minimum: &limit}}
	span := fmt.Sprintf("from %d", least)
	if most > 0 {
		top := float64(most)
		p.schema.Maximum = &top
		span += fmt.Sprintf(" to %d", most)
	}
	if unset >= least {
		p.schema.Default = json.RawMessage(strconv.Itoa(unset))
	}
	p.read = func(text string) (any, error) {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || int(n) < least || most > 0 && int(n) > most {
			return nil, fmt.Errorf("%s=%s: write a number %s", name, text, span)
		}
		return int(n), nil
	}
	return p
}

// boolParam is a bool; false when it is not given.
func boolParam(name, about string) param {
	return param{
		name: name, in: "query", about: about, unset: false,
		schema: &jsonschema.Schema{Type: "boolean", Default: json.RawMessage("false")},
		read: func(text string) (any, error) {
			is, err := strconv.ParseBool(text)
			if err != nil {
				return nil, fmt.Errorf("%s=%s: use true or false", name, text)
			}
			return is, nil
		},
	}
}

// positionParam is a [broker.Position].
func positionParam(name string, unset broker.Position, about string) param {
	schema := &jsonschema.Schema{Type: "string"}
	if unset.IsStart() {
		schema.Default = json.RawMessage(`"start"`)
	}
	return param{
		name: name, in: "query", about: about + " `start`, `end`, an offset (`1234`), a time (`2026-01-31T12:00:00Z`) or an age (`24h`, `7d`).",
		schema: schema, unset: unset,
		read: func(text string) (any, error) {
			p, err := broker.ParsePosition(text, time.Now())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			return p, nil
		},
	}
}

// readArgs reads a query. Every parameter of the query is in the result; an empty
// one counts as not given. What is no parameter is refused, so that a slip does
// not change what is asked for.
func readArgs(params []param, query url.Values) (map[string]any, error) {
	args := map[string]any{}
	var known []string
	for i := range params {
		p := &params[i]
		if p.in != "query" {
			continue
		}
		known = append(known, p.name)
		value, err := p.value(query[p.name])
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "", "%v", err)
		}
		args[p.name] = value
	}
	for name := range query {
		if slices.Contains(known, name) {
			continue
		}
		if len(known) == 0 {
			return nil, refuse(http.StatusBadRequest, "", "there is no query parameter %q: this request takes none", name)
		}
		return nil, refuse(http.StatusBadRequest, among(name, known, "parameter"), "there is no query parameter %q: there are %s", name, strings.Join(known, ", "))
	}
	return args, nil
}

func (p *param) value(texts []string) (any, error) {
	texts = slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return t == "" })
	if len(texts) == 0 {
		return p.unset, nil
	}
	if len(texts) > 1 && !p.list {
		return nil, fmt.Errorf("%s is given %d times", p.name, len(texts))
	}
	for i, t := range texts {
		v, err := p.read(t)
		if err != nil || !p.list {
			return v, err
		}
		texts[i] = v.(string)
	}
	return texts, nil
}

// arg is a parameter of the query, which the route describes.
func arg[T any](q *call, name string) T { return q.args[name].(T) }
