// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// options reads a model's options strictly. Each getter names an option, its
// default and its bounds; the first thing wrong is kept for problem, so that a
// constructor reads as the list of its options. Options that no getter named
// are wrong too.
type options struct {
	given map[string]any
	known []string
	err   error
}

func newOptions(given map[string]any) *options { return &options{given: given} }

// take notes that an option exists and returns what was given for it.
func (o *options) take(name string) (any, bool) {
	o.known = append(o.known, name)
	v, ok := o.given[name]
	return v, ok && v != nil
}

func (o *options) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf(format, args...)
	}
}

// text is an option that is a string and not empty.
func (o *options) text(name, fallback string) string {
	v, ok := o.take(name)
	if !ok {
		return fallback
	}
	s, ok := v.(string)
	if !ok || s == "" {
		o.fail("option %s must be a text, not %s", name, describe(v))
		return fallback
	}
	return s
}

// file is a text that names a file, found from dir. It is empty when absent.
func (o *options) file(name, dir string) string {
	path := o.text(name, "")
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// texts is an option that is a list of strings, none of them empty.
func (o *options) texts(name string) []string {
	v, ok := o.take(name)
	if !ok {
		return nil
	}
	if list, ok := v.([]string); ok {
		return slices.Clone(list)
	}
	list, ok := v.([]any)
	if !ok {
		o.fail("option %s must be a list of texts, not %s", name, describe(v))
		return nil
	}
	out := make([]string, 0, len(list))
	for i, item := range list {
		s, ok := item.(string)
		if !ok || strings.TrimSpace(s) == "" {
			o.fail("option %s: item %d must be a text, not %s", name, i+1, describe(item))
			return nil
		}
		out = append(out, s)
	}
	return out
}

// number is an option between low and high, both included.
func (o *options) number(name string, fallback, low, high float64) float64 {
	v, ok := o.take(name)
	if !ok {
		return fallback
	}
	f, ok := asNumber(v)
	if !ok || math.IsNaN(f) || f < low || f > high {
		o.fail("option %s must be a number from %v to %v, not %s", name, low, high, describe(v))
		return fallback
	}
	return f
}

// integer is a whole number between low and high, both included.
func (o *options) integer(name string, fallback, low, high int) int {
	v, ok := o.take(name)
	if !ok {
		return fallback
	}
	f, ok := asNumber(v)
	if !ok || f != math.Trunc(f) || f < float64(low) || f > float64(high) {
		o.fail("option %s must be a whole number from %d to %d, not %s", name, low, high, describe(v))
		return fallback
	}
	return int(f)
}

// problem is the first thing wrong with the options: a value, or else a name
// that is not known. Ask after the last getter.
func (o *options) problem() error {
	if o.err != nil {
		return o.err
	}
	for _, name := range slices.Sorted(maps.Keys(o.given)) {
		if !slices.Contains(o.known, name) {
			if len(o.known) == 0 {
				return fmt.Errorf("option %s is not known; this model has no options", name)
			}
			return fmt.Errorf("option %s is not known%s", name, suggest(name, o.known))
		}
	}
	return nil
}

// asNumber accepts every numeric type that YAML and JSON decoders make.
func asNumber(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	}
	return 0, false
}

// describe says what a decoded value is, with the value where it is short.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		if v == "" {
			return "an empty text"
		}
		return fmt.Sprintf("the text %.40q", v)
	case bool:
		return fmt.Sprint(v)
	case []any, []string:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	if _, ok := asNumber(v); ok {
		return fmt.Sprintf("the number %v", v)
	}
	return fmt.Sprintf("a %T", v)
}

// suggest ends a message about an unknown name: the nearest known one if it is
// near enough to be a slip, else all of them.
func suggest(name string, known []string) string {
	best, bestDistance := "", 1+max(2, len(name)/3)
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	known = slices.Sorted(slices.Values(known))
	return "; there are " + strings.Join(known, ", ")
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// version names a model together with the settings its answers depend on:
// "tagger@1", or "keywords@1.5c1f03aa" when there are settings.
func version(name string, settings ...string) string {
	if len(settings) == 0 {
		return name
	}
	h := fnv.New32a()
	for _, s := range settings {
		// Writing to a hash cannot fail.
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	return fmt.Sprintf("%s.%08x", name, h.Sum32())
}
