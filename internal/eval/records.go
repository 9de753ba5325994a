// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/internal/spelling"
)

// table is the records of one or several files with the same columns.
type table []record

// record is a row of a table, or a line of JSON.
type record struct {
	file   string
	line   int
	fields map[string]any
}

// readRecords reads all records. A line that is none is an error: who measures
// wants to know what on.
func readRecords(files []string, format records.Format) (table, error) {
	var all table
	for _, file := range files {
		before := len(all)
		var err error
		if all, err = all.read(file, format); err != nil {
			return nil, err
		}
		if len(all) == before {
			return nil, wrong("the first line of a CSV or TSV file names its columns; JSON has one object a line", "%s holds no record", file)
		}
	}
	return all, nil
}

func (rs table) read(file string, format records.Format) (table, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, wrong("name a file of labelled data: CSV, TSV or JSON lines", "%w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, wrong("name a file in it", "%s is a directory", file)
	}
	in, err := records.NewReader(f, records.Options{Name: file, Format: format})
	if err != nil {
		return nil, wrong("", "%s: %w", file, err)
	}
	for e, err := range in.All() {
		if err != nil {
			return nil, wrong("", "%s: %w", file, err)
		}
		r := record{file: file, line: e.Line}
		if e.Reason != "" {
			return nil, r.wrong("", "%s", e.Reason)
		}
		if err := json.Unmarshal(e.Value, &r.fields); err != nil || r.fields == nil {
			return nil, r.wrong(`write {"text": "…", "label": "…"}`, "a record must be an object with named fields")
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// wrong is an error about the record.
func (r *record) wrong(hint, format string, args ...any) error {
	return wrong(hint, "%s, line %d: %w", r.file, r.line, fmt.Errorf(format, args...))
}

// column finds the column that holds something: the given one, or else the first
// of the usual ones that there is. Flag is how to name it.
func (rs table) column(flag, given string, usual ...string) (string, error) {
	there := map[string]bool{}
	for i := range rs {
		for name := range rs[i].fields {
			there[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(there))
	if given != "" {
		if there[given] {
			return given, nil
		}
		hint := "the columns are " + strings.Join(names, ", ")
		if best, ok := spelling.Nearest(given, names); ok {
			hint = fmt.Sprintf("did you mean %s?", best)
		}
		return "", wrong(hint, "%s has no column %q", rs[0].file, given)
	}
	for _, name := range usual {
		if there[name] {
			return name, nil
		}
	}
	return "", wrong(fmt.Sprintf("name it with --%s; the columns are %s", flag, strings.Join(names, ", ")),
		"%s has no column %s", rs[0].file, strings.Join(usual, " or "))
}

// text is a field that must be there and be a text.
func (r *record) text(column string) (string, error) {
	switch v := r.fields[column].(type) {
	case string:
		return v, nil
	case nil:
		return "", r.wrong("", "%s is missing", column)
	}
	return "", r.wrong("", "%s is no text", column)
}

// label is a field that names a label; empty when there is none.
func (r *record) label(column string) (string, error) {
	switch v := r.fields[column].(type) {
	case nil:
		return "", nil
	case string:
		return strings.TrimSpace(v), nil
	case float64, bool:
		return fmt.Sprint(v), nil
	}
	return "", r.wrong("write it as a text", "%s is no label", column)
}

// list is a field of several texts. In a table they stand between semicolons.
func (r *record) list(column string) ([]string, error) {
	switch v := r.fields[column].(type) {
	case nil:
		return nil, nil
	case string:
		var out []string
		for part := range strings.SplitSeq(v, ";") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
		return out, nil
	case []any:
		out := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, r.wrong("", "%s: item %d is no text", column, i+1)
			}
			out[i] = s
		}
		return out, nil
	}
	return nil, r.wrong("write a list, or in a table put semicolons between the items", "%s is no list", column)
}

// texts are the texts of all records.
func (rs table) texts(column string) ([]string, error) {
	out := make([]string, len(rs))
	for i := range rs {
		var err error
		if out[i], err = rs[i].text(column); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Usual names of columns.
var (
	textColumns  = []string{"text", "message", "body", "sentence", "content"}
	labelColumns = []string{"label", "category", "class", "intent"}
)

// labelled is a text with its label, which is empty when it has none.
type labelled struct {
	*record
	text, label string
}

// readLabelled reads texts with labels. The usual names of the label's column
// are tried after those which the model prefers.
func readLabelled(files []string, c *Config, preferred ...string) ([]labelled, error) {
	if len(files) == 0 {
		return nil, nil
	}
	rs, err := readRecords(files, c.Format)
	if err != nil {
		return nil, err
	}
	textColumn, err := rs.column("text", c.Text, textColumns...)
	if err != nil {
		return nil, err
	}
	labelColumn, err := rs.column("label", c.Label, append(slices.Clone(preferred), labelColumns...)...)
	if err != nil {
		return nil, err
	}
	texts, err := rs.texts(textColumn)
	if err != nil {
		return nil, err
	}
	out := make([]labelled, len(rs))
	for i := range rs {
		out[i] = labelled{record: &rs[i], text: texts[i]}
		if out[i].label, err = rs[i].label(labelColumn); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// allLabelled makes a missing label an error.
func allLabelled(rows []labelled) error {
	for i := range rows {
		if rows[i].label == "" {
			return rows[i].wrong("every text needs a label", "the label is missing")
		}
	}
	return nil
}

// known checks that every label is one of those that the model knows.
func known(rows []labelled, labels []string) error {
	for i := range rows {
		if rows[i].label == "" || slices.Contains(labels, rows[i].label) {
			continue
		}
		hint := "it knows " + strings.Join(labels[:min(len(labels), maxNamed)], ", ")
		if len(labels) > maxNamed {
			hint += fmt.Sprintf(" and %d more", len(labels)-maxNamed)
		}
		if best, ok := spelling.Nearest(rows[i].label, labels); ok {
			hint = fmt.Sprintf("did you mean %s?", best)
		}
		return rows[i].wrong(hint, "the model does not know the label %q", rows[i].label)
	}
	return nil
}

// maxNamed bounds how many labels a hint names.
const maxNamed = 12

// readWeights reads a file of weights.
func readWeights(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, wrong("name a file that millrace train made", "%w", err)
	}
	if len(data) == 0 {
		return nil, wrong("name a file that millrace train made", "%s: %w", file, errors.New("the file is empty"))
	}
	return data, nil
}
