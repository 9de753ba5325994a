// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRecordsAreReadFromLinesArraysDocumentsAndText(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		text bool
		want string
		err  string
	}{
		"a document with a slip": {"{\"a\":\n oops}\n", false, "", "record 1, which begins at byte 0: invalid character 'o' looking for beginning of value"},
		"lines stay as they are": {"{\"a\":1}\n\n{bad\n", false, "{\"a\":1}\n\n{bad\n", ""},
		"one line":               {`{"a":1}`, false, `{"a":1}`, ""},
		"numbers":                {"1\n2\n", false, "1\n2\n", ""},
		"nothing":                {"", false, "", ""},
		"an array":               {" [ {\"a\": [1]},\n 2 ]\n", false, "{\"a\":[1]}\n2\n", ""},
		"an empty array":         {"[]", false, "", ""},
		"an array, then more":    {"[1]\n[2]", false, "1\n", "there is more after the array: write one array, or one record a line"},
		"an array without end":   {"[1,", false, "1\n", "record 2, which begins at byte 3, has no end"},
		"objects over lines":     {"{\n \"a\": 1\n}\n{\"b\":2}\n", false, "{\"a\":1}\n{\"b\":2}\n", ""},
		"an object cut off":      {"{\"a\":\n", false, "", "record 1, which begins at byte 0, has no end"},
		"after a mark":           {"\ufeff[1]", false, "1\n", ""},
		"text":                   {"say \"<hi>\"\r\n\n  x", true, "{\"text\":\"say \\\"<hi>\\\"\"}\n\n{\"text\":\"  x\"}\n", ""},
		"text that is not UTF-8": {"a\nb\xff\n", true, "{\"text\":\"a\"}\n", "line 2: invalid UTF-8"},
		"a line too long":        {"a\n" + strings.Repeat("x", longest+1), true, "{\"text\":\"a\"}\n", "line 2 has more than 8388608 bytes, the limit of a record"},
		"a value too long":       {"[\"" + strings.Repeat("x", 3*longest) + "\"]", false, "", "record 1, which begins at byte 1: the value has more than 8388608 bytes, the limit of a record"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := asLines(iotest.HalfReader(strings.NewReader(c.in)), c.text)
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
