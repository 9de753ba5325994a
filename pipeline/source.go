// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/sanitize"
)

// spot is a place in a file, counted from 1, or in a pipeline that was built in
// Go, named; the zero value is no place.
type spot struct {
	line, column int
	path         string // as people write it
}

// source remembers where things stand in the file, by path. A path is the keys
// and indexes that lead to a value, joined by NUL, which no key contains.
type source struct {
	file   string
	data   []byte // nil of a pipeline that was built in Go
	env    func(string) (string, bool)
	lines  []string
	keys   map[string]spot // of mapping keys
	values map[string]spot
	// variable tells, for each text that came from a variable, how the file
	// writes it. Messages show that in its place, wherever the text turns up.
	variable map[string]string
}

func newSource(file string, data []byte) *source {
	return &source{
		file:     file,
		data:     data,
		lines:    strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n"),
		keys:     map[string]spot{},
		values:   map[string]spot{},
		variable: map[string]string{},
	}
}

// path joins keys and indexes.
func path(keys ...string) string { return strings.Join(keys, "\x00") }

// dotted is a path as people write it: services.tagger.from.
func dotted(p string) string {
	keys := strings.Split(p, "\x00")
	for i, k := range keys {
		keys[i] = quoteOdd(k)
	}
	return strings.Join(keys, ".")
}

// key is where the last key of the path stands, or that of the nearest parent
// that is in the file.
func (s *source) key(p string) spot { return s.find(p, s.keys, s.values) }

// value is where the value stands, or that of the nearest parent.
func (s *source) value(p string) spot { return s.find(p, s.values, s.keys) }

func (s *source) find(p string, in ...map[string]spot) spot {
	if s.data == nil {
		return spot{path: dotted(p)}
	}
	for {
		for _, m := range in {
			if at, ok := m[p]; ok {
				return at
			}
		}
		i := strings.LastIndexByte(p, 0)
		if i < 0 {
			return spot{line: 1, column: 1}
		}
		p = p[:i]
	}
}

// show is a topic, service or other name as messages show it.
func (s *source) show(name string) string {
	if written, ok := s.variable[name]; ok {
		return written
	}
	return quoteOdd(name)
}

// withoutVariables hides what came from variables in a text that others made. A
// short text is left, for it turns up by chance.
func (s *source) withoutVariables(text string) string {
	const short = 4
	for value, written := range s.variable {
		if len(value) > short {
			text = strings.ReplaceAll(text, value, written)
		}
	}
	return text
}

// figure is a number, size or duration as messages show it.
func (s *source) figure(v any) string {
	text := fmt.Sprint(v)
	if written, ok := s.variable[text]; ok {
		return written
	}
	return text
}

// quoteOdd quotes what is not a plain name.
func quoteOdd(s string) string {
	if broker.ValidName(s) == nil && len(s) <= shownLength {
		return s
	}
	return quote(s)
}

// shownLength is how much of a text a message shows.
const shownLength = 60

// quote hides passwords before it cuts the text: one that is cut is not known for such.
func quote(s string) string {
	s = sanitize.Passwords(s)
	if r := []rune(s); len(r) > shownLength {
		return strconv.Quote(string(r[:shownLength]) + "…")
	}
	return strconv.Quote(s)
}

// inFileOrder returns the keys of a section in the order of the file; those
// that are not in the file follow, sorted.
func inFileOrder[V any](s *source, section string, m map[string]V) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if s != nil {
			x, inX := s.keys[path(section, a)]
			y, inY := s.keys[path(section, b)]
			switch {
			case inX && inY:
				return cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.column, y.column), cmp.Compare(a, b))
			case inX:
				return -1
			case inY:
				return 1
			}
		}
		return cmp.Compare(a, b)
	})
}

// maxProblems is how many problems are reported for a file.
const maxProblems = 100

// report collects the problems of a source.
type report struct {
	src      *source
	problems Problems
	left     int // problems beyond maxProblems
}

func (r *report) errorf(at spot, hint, format string, args ...any) {
	r.add(Error, at, hint, fmt.Sprintf(format, args...))
}

func (r *report) warnf(at spot, hint, format string, args ...any) {
	r.add(Warning, at, hint, fmt.Sprintf(format, args...))
}

func (r *report) notef(at spot, format string, args ...any) {
	r.add(Note, at, "", fmt.Sprintf(format, args...))
}

func (r *report) add(severity Severity, at spot, hint, message string) {
	if len(r.problems) >= maxProblems {
		r.left++
		return
	}
	p := Problem{
		File: r.src.file, Line: at.line, Column: at.column, Path: at.path, Severity: severity,
		Message: sanitize.Passwords(message), Hint: sanitize.Passwords(hint),
	}
	if r.src.data != nil && at.line > 0 && at.line <= len(r.src.lines) {
		p.Source = sanitize.Passwords(r.src.lines[at.line-1])
	}
	r.problems = append(r.problems, p)
}

// sorted returns what was reported, in the order of the file.
func (r *report) sorted() Problems {
	r.problems.sort()
	if r.left > 0 {
		r.problems = append(r.problems, Problem{
			File: r.src.file, Severity: Error,
			Message: fmt.Sprintf("and %d more", r.left),
			Hint:    "fix these first",
		})
		r.left = 0
	}
	return r.problems
}
