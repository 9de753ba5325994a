// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace-ml/millrace/internal/records"
)

func TestInputIsPublishedAsLines(t *testing.T) {
	const longest = 1 << 20
	for name, c := range map[string]struct {
		in     string
		format records.Format
		want   string
		err    string
	}{
		"a document with a slip": {"{\"a\":\n oops}\n", "", "", "line 1: not JSON: invalid character 'o' looking for beginning of value at byte 7"},
		"lines stay as they are": {"{\"a\":1}\n\n{bad\n", "", "{\"a\":1}\n\n{bad\n", ""},
		"a first line cut off":   {"{\"a\":\n{\"a\":1}\n", "", "{\"a\":\n{\"a\":1}\n", ""},
		"one line":               {`{"a":1}`, "", `{"a":1}`, ""},
		"numbers":                {"1\n2\n", "", "1\n2\n", ""},
		"not JSON":               {"my mini\nis dead\n", "", "my mini\nis dead\n", ""},
		"nothing":                {"", "", "", ""},
		"an array":               {" [ {\"a\":\n[1]},\n 2 ]\n", "", "{\"a\":[1]}\n\n2\n", ""},
		"an empty array":         {"[]", "", "", ""},
		"an array, then more":    {"[1]\n[2]", "", "1\n", "line 2: there is more after the array: write one array, or one record a line"},
		"an array without end":   {"[1,", "", "1\n", "line 1: the array has no end"},
		"objects over lines":     {"{\n \"a\": 1\n}\n{\"b\":2}\n", "", "{\"a\":1}\n\n\n{\"b\":2}\n", ""},
		"an object cut off":      {"{\"a\":\n", "", "", "line 1: record 1 has no end: not JSON: unexpected end at byte 5"},
		"after a mark":           {"\ufeff[1]", "", "1\n", ""},
		"text":                   {"say \"<hi>\"\r\n\n  x", records.Text, "{\"text\":\"say \\\"<hi>\\\"\"}\n\n{\"text\":\"  x\"}\n", ""},
		"text that is not UTF-8": {"a\nb\xff\n", records.Text, "{\"text\":\"a\"}\n", "line 2: invalid UTF-8 at byte 1"},
		"a line too long":        {"a\n" + strings.Repeat("x", longest+1), records.Text, "{\"text\":\"a\"}\n", "line 2: longer than 1048576 bytes, the limit of a record"},
		"a value too long":       {"[1,\"" + strings.Repeat("x", 3*longest) + "\"]", "", "1\n", "line 1: longer than 1048576 bytes, the limit of a record"},
		"a table":                {"id,text\n1,\"a\nb\"\n\n2,c\n", records.CSV, "\n{\"id\":\"1\",\"text\":\"a\\nb\"}\n\n\n{\"id\":\"2\",\"text\":\"c\"}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := records.Options{Format: c.format, Else: records.JSONL, Limit: longest}
			r, err := asLines(iotest.HalfReader(strings.NewReader(c.in)), o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if string(got) != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if message := errorText(err); message != c.err {
				t.Errorf("error %q, want %q", message, c.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
