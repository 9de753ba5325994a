// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/millrace-ml/millrace/internal/jsontext"
)

// read returns what a reader says, a line each: "line value key" or "line !reason".
func read(t *testing.T, in io.Reader, o Options) []string {
	t.Helper()
	r, err := NewReader(in, o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for record, err := range r.All() {
		switch {
		case err != nil:
			got = append(got, "error: "+err.Error())
		case record.Reason != "":
			got = append(got, fmt.Sprintf("%d !%s", record.Line, record.Reason))
		default:
			got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s %s", record.Line, record.Value, record.Key)))
		}
		if err == nil && record.Number != len(got) {
			t.Errorf("record %d has number %d", len(got), record.Number)
		}
	}
	return got
}

func TestABadRowIsNamedAndTheRestGoesOn(t *testing.T) {
	const limit = 64
	long := strings.Repeat("x", 3*limit)
	for name, c := range map[string]struct {
		in   string
		o    Options
		want []string
	}{
		"JSON lines": {
			"\ufeff{\"id\":1}\r\n\n{oops\n \"" + long + "\"\n{\"a\":\"\xff\"}\n [1, 2] \n{\"id\":",
			Options{Format: JSONL},
			[]string{
				`1 {"id":1}`, "3 !not JSON: invalid character 'o' looking for beginning of object key string at byte 1",
				"4 !longer than 64 bytes, the limit of a record", "5 !invalid UTF-8 at byte 6", "6 [1, 2]", "7 !not JSON: unexpected end at byte 6",
			},
		},
		"an array": {
			"[\n{\"id\":1}, {oops: [1]},\n\"" + long + "\" , oops, {\"a\":\n\"]\\\"}\"},\n7]\n",
			Options{},
			[]string{
				`2 {"id":1}`, "2 !not JSON: invalid character 'o' looking for beginning of object key string at byte 1",
				"3 !longer than 64 bytes, the limit of a record", "3 !not JSON: invalid character 'o' looking for beginning of value at byte 0", `3 {"a":"]\"}"}`, "5 7",
			},
		},
		"an array that goes wrong": {"[1\n2]", Options{}, []string{"1 1", "2 !after record 1 comes '2': there must be a comma, or a bracket at the array's end"}},
		"an array with a hole":     {"[1,,2]", Options{}, []string{"1 1", "1 !after record 1 comes a comma with no value behind it"}},
		"documents": {
			"{\n\"id\": [1,\n2]}\n\n{\"id\":\"]\"} 5 }\n{\"a\":",
			Options{},
			[]string{`1 {"id":[1,2]}`, `5 {"id":"]"}`, "5 5", "5 !not JSON: invalid character '}' looking for beginning of value at byte 0", "6 !record 5 has no end: not JSON: unexpected end at byte 5"},
		},
		"CSV": {
			"text,category\n\"say \"\"hi\"\",\nnow\",a\nb\n\"never closed,c\n\"" + long + "\",\n<d>,e\n\xff,f\n",
			Options{},
			[]string{
				`2 {"text":"say \"hi\",\nnow","category":"a"}`, "4 !has 1 fields, the header has 2", "5 !a quoted field is not closed",
				"6 !longer than 64 bytes, the limit of a record", `7 {"text":"<d>","category":"e"}`, "8 !invalid UTF-8 at byte 0 of the row",
			},
		},
		"TSV":  {"a\tb\n1\t\"x\"\n2\ty \"z\"\n", Options{Name: "x.TSV"}, []string{`2 {"a":"1","b":"x"}`, `3 {"a":"2","b":"y \"z\""}`}},
		"text": {"{\"a\"\r\n\n  b\t\n" + long, Options{Format: Text}, []string{`1 {"text":"{\"a\""}`, `3 {"text":"  b\t"}`, "4 !longer than 64 bytes, the limit of a record"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Limit = limit
			for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in)), iotest.DataErrReader(strings.NewReader(c.in))} {
				got := read(t, in, c.o)
				if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
					t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
			}
		})
	}
}

func TestTheFormatIsToldByTheNameOrElseByTheFirstLines(t *testing.T) {
	for _, c := range []struct {
		name, in string
		other    Format
		want     Format
	}{
		{"x.csv", "[1]", "", CSV},
		{"x.TSV", "[1]", "", TSV},
		{"x.jsonl", "[1]", "", JSONL},
		{"x.ndjson", "[1]", "", JSONL},
		{"x.json", "[1]", "", JSON},
		{"x.json", "{}\n{}", "", JSONL},
		{"x.json", "oops", "", JSONL},
		{"-", "", "", JSONL},
		{"-", "\ufeff\n \n [1]", "", JSON},
		{"-", "{\"a\":1}\n", "", JSONL},
		{"-", "{\"a\":\n1}\n", "", JSON},
		{"-", "{\n\n\"a\":1}\n", "", JSON},
		{"-", "{\"a\":\n{\"a\":1}\n", "", JSONL},
		{"-", "{oops\n1}\n", "", JSONL},
		{"-", "12\n", "", JSONL},
		{"-", `"text"`, "", JSONL},
		{"-", `"text","label"`, "", CSV},
		{"-", "text,label\n", "", CSV},
		{"-", "text,label\n", JSONL, JSONL},
	} {
		r, err := NewReader(iotest.OneByteReader(strings.NewReader(c.in)), Options{Name: c.name, Else: c.other})
		if err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r.Rest())
		if r.Format() != c.want || err != nil || string(rest) != c.in {
			t.Errorf("%s, which begins %q, is %s, want %s; the rest is %q, %v", c.name, c.in, r.Format(), c.want, rest, err)
		}
	}
	if _, err := NewReader(strings.NewReader(""), Options{Format: "xml"}); err == nil {
		t.Error("a format that there is not is taken")
	}
}

func TestAReaderDoesNotWaitForMoreThanARecord(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "{\"id\":1}\n")
	in, err := NewReader(r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if record, err := in.Next(); err != nil || string(record.Value) != `{"id":1}` {
		t.Errorf("%+v, %v", record, err)
	}
}

func TestATableNeedsDifferentNames(t *testing.T) {
	for in, want := range map[string]string{
		"a,\n":       "error: line 1: column 2 has no name: the first line of a csv file names the columns",
		"\na,b,a\nx": `error: line 2: two columns are called "a"`,
	} {
		if got := read(t, strings.NewReader(in), Options{Format: CSV}); len(got) != 1 || got[0] != want {
			t.Errorf("%q: %v, want %s", in, got, want)
		}
	}
}

func TestAFaultOfTheInputIsAnErrorAndSaysWhere(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, c := range []struct {
		in     string
		format Format
		want   string
	}{
		{"{}\n{}\n", JSONL, "read the input after line 2: disk on fire"},
		{"[1,\n", JSON, "read the input after line 2: disk on fire"},
		{"[1,\n\"", JSON, "read the input after line 2: disk on fire"},
		{"a,b\n1,2\n", CSV, "read the input after line 2: disk on fire"},
	} {
		r, err := NewReader(io.MultiReader(strings.NewReader(c.in), iotest.ErrReader(broken)), Options{Format: c.format})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, broken) || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.format, err, c.want)
		}
	}
	if _, err := NewReader(iotest.ErrReader(broken), Options{}); !errors.Is(err, broken) {
		t.Errorf("while the format is found out: %v", err)
	}
}

// Each of these makes a reader that looks for the end of a record again and again
// take minutes. What is the same length and well formed is the measure.
func TestReadingTakesLinearTime(t *testing.T) {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	took := func(in string, format Format) time.Duration {
		r, err := NewReader(strings.NewReader(in), Options{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for err == nil {
			_, err = r.Next()
		}
		return time.Since(began)
	}
	measure := took("a\n"+fill("b\n"), CSV)
	for name, c := range map[string]struct {
		in     string
		format Format
	}{
		"quotes that are not closed": {"a\n" + fill("\"a\n"+strings.Repeat("b\n", 1200)), CSV},
		"a row of many lines":        {"a\n\"" + fill("b\n"), CSV},
		"open brackets":              {fill("["), JSON},
		"open brackets on lines":     {fill("[\n"), JSON},
		"objects in objects":         {fill("{\"a\":\n"), ""},
		"garbage after brackets":     {strings.Repeat("[", 100) + "t" + fill("x"), JSONL},
		"a string without an end":    {`"` + fill(`\"`), JSON},
	} {
		if d := took(c.in, c.format); d > 20*measure+time.Second {
			t.Errorf("%s: a megabyte takes %v, where one of plain rows takes %v", name, d, measure)
		}
	}
}

func TestTheRuleForKeys(t *testing.T) {
	named, usual := Keys{Field: "customer"}, Keys{Usual: true}
	for _, c := range []struct {
		keys      Keys
		value     string
		want, err string
	}{
		{named, `{"customer":"c-1","id":"T-1"}`, "c-1", ""},
		{named, `{"customer":12}`, "12", ""},
		{named, `{"customer":-1.50e3}`, "-1.50e3", ""},
		{named, `{"customer":"\u00fc"}`, "ü", ""},
		{named, `{"customer":""}`, "", ""},
		{named, `{"customer":null}`, "", `field "customer" is a key and must be text or a number, not null`},
		{named, `{"customer":true}`, "", `field "customer" is a key and must be text or a number, not boolean`},
		{named, `{"customer":["c-1"]}`, "", `field "customer" is a key and must be text or a number, not array`},
		{named, `{"id":"T-1"}`, "", `there is no field "customer" for the key`},
		{named, `"c-1"`, "", `the value is not an object, so it has no field "customer" for the key`},
		{named, `{oops`, "", `the value is not JSON, so it has no field "customer" for the key`},
		{usual, `{"id":"T-1","key":"k"}`, "k", ""},
		{usual, `{"id":7,"key":""}`, "7", ""},
		{usual, `{"id":"T-1","key":{}}`, "T-1", ""},
		{usual, `{"id":[]}`, "", ""},
		{usual, `[1]`, "", ""},
		{Keys{}, `{"id":"T-1","key":"k"}`, "", ""},
	} {
		key, err := c.keys.Of([]byte(c.value))
		message := ""
		if err != nil {
			message = err.Error()
		}
		if string(key) != c.want || message != c.err || key != nil && c.want == "" {
			t.Errorf("%+v of %s: %q, %s; want %q, %s", c.keys, c.value, key, message, c.want, c.err)
		}
	}
	got := read(t, strings.NewReader("id,customer\n1,c-1\n2,\n"), Options{Format: CSV, Keys: named})
	if want := `2 {"id":"1","customer":"c-1"} c-1|3 {"id":"2","customer":""}`; strings.Join(got, "|") != want {
		t.Errorf("of a table: %q, want %q", got, want)
	}
	got = read(t, strings.NewReader("{\"id\":1}\n{\"customer\":2}"), Options{Keys: named})
	if want := `1 !there is no field "customer" for the key|2 {"customer":2} 2`; strings.Join(got, "|") != want {
		t.Errorf("of lines: %q, want %q", got, want)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("text,b\n\"a\",c\n\"\n"), "csv")
	f.Add([]byte("{\"id\":1}\n[\n"), "jsonl")
	f.Add([]byte("[{\"id\":\n1},[2]]\n"), "")
	f.Add([]byte("{\n\"id\":1}\n{}"), "")
	f.Add([]byte("a\tb\n1\t\"2\n"), "tsv")
	f.Add([]byte("a\xff\n\nb"), "text")
	f.Fuzz(func(t *testing.T, data []byte, format string) {
		const limit = 1 << 12
		r, err := NewReader(bytes.NewReader(data), Options{Format: Format(format), Limit: limit})
		if err != nil {
			return
		}
		last := 1
		for record, err := range r.All() {
			if err != nil {
				return
			}
			if record.Line < last || record.Line > 1+bytes.Count(data, []byte{'\n'}) {
				t.Fatalf("line %d after %d", record.Line, last)
			}
			last = record.Line
			if record.Reason == "" && (!json.Valid(record.Value) || !jsontext.Valid(record.Value) || bytes.ContainsAny(record.Value, "\r\n") || len(record.Value) > limit) {
				t.Fatalf("accepted %q", record.Value)
			}
		}
		if r.Read() != int64(len(data)) && r.Format() != CSV && r.Format() != TSV && r.Format() != JSON {
			t.Fatalf("read %d bytes of %d", r.Read(), len(data))
		}
	})
}
