// SPDX-License-Identifier: Apache-2.0

package jsontext

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDepthIsCountedOutsideOfStrings(t *testing.T) {
	for in, want := range map[string]int{
		`[[1]]`:               -1,
		`[[[1]]]`:             2,
		`["[[[", {"\"[[":1}]`: -1,
		`[[],[],[[`:           8,
	} {
		if got := deeper([]byte(in), 2); got != want {
			t.Errorf("deeper(%s, 2) = %d, want %d", in, got, want)
		}
	}
}

func TestAFaultSaysWhatIsWrongAndWhere(t *testing.T) {
	for in, want := range map[string]string{
		``:              "not JSON: unexpected end at byte 0",
		`{"a":`:         "not JSON: unexpected end at byte 5",
		`{oops`:         "not JSON: invalid character 'o' looking for beginning of object key string at byte 1",
		`1 2`:           "not JSON: invalid character '2' after top-level value at byte 2",
		"{\"a\":\"\xff": "invalid UTF-8 at byte 6",
		`[[[[]]]]`:      "more than 3 arrays and objects in each other at byte 3",
		`[[[]]]`:        "",
	} {
		got := ""
		if f := Check([]byte(in), 3); f != nil {
			got = f.Error()
		}
		if got != want {
			t.Errorf("Check(%s) says %q, want %q", in, got, want)
		}
	}
}

// Eight megabytes of brackets must neither overflow the stack nor take long.
func TestWhatIsNestedWithoutEndIsRefused(t *testing.T) {
	for _, open := range []string{"[", `{"a":`, `[{"":`} {
		b := bytes.Repeat([]byte(open), 8<<20/len(open))
		if Valid(b) || Check(b, IntakeDepth) == nil {
			t.Errorf("%s… is valid", open)
		}
		for range Elements(b) {
			t.Errorf("%s… has elements", open)
		}
		if got := Field(b, "a"); got != nil {
			t.Errorf("%s… has a field", open)
		}
	}
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	if !Valid([]byte(deep)) || Valid([]byte("["+deep+"]")) {
		t.Errorf("the limit is not %d", MaxDepth)
	}
}

func TestOfEqualFieldsTheLastCounts(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1,"b":2,"a": [3] }`: `[3]`,
		`{"\u0061":"x"}`:          `"x"`,
		`{"b":{"a":1}}`:           ``,
		`{"a":null}`:              `null`,
		` { "a" : { } } `:         `{ }`,
		`[{"a":1}]`:               ``,
		`{"a":1`:                  ``,
		`{"a":1,}`:                ``,
		`{"a":1,"b"}`:             ``,
		`{"a":1} 2`:               ``,
		"{\"a\":1}\x00":           ``,
		`{}`:                      ``,
	} {
		if got := string(Field([]byte(in), "a")); got != want {
			t.Errorf("Field(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestMembersAreInTheOrderOfTheObject(t *testing.T) {
	m := MembersOf([]byte(` { "a" : [1, {"x":2}] , "\u0062":"y" } `))
	var got []string
	for m.Next() {
		got = append(got, m.Name()+"="+string(m.Value()))
	}
	if strings.Join(got, " ") != `a=[1, {"x":2}] b="y"` || !m.Whole() {
		t.Errorf("the members are %q, whole: %v", got, m.Whole())
	}
	var none Members
	if none.Next() || none.Whole() {
		t.Error("the zero value has a member")
	}
}

func TestValidTakesNoMemory(t *testing.T) {
	b := []byte(`{"id":"T-1","tags":[["a","NN"],["b","VB"]],"score":-1.5e3,"text":"say \"hi\" \u00fc"}`)
	if n := testing.AllocsPerRun(100, func() {
		if !Valid(b) || Check(b, IntakeDepth) != nil || Field(b, "score") == nil {
			t.Fatal("it is valid")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is taken is JSON by the standard's parser, and is taken apart as by it.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		"", "{}", "[1, [2,\"]\"] ,{\"a\":[]}]", "\"\\\"[\"", "[", "{\"a\":\xff}", "[[[[[]]]]]", " [ ] ", "[1,]", "[-0.5e+1,01,1.]",
		"{\"a\":1,}", "{\"a\" \"b\"}", "\"\\u12g4\"", "tru", "nulll", "{\"\\u0061\":[true,false,null]}", "1\x00", "\"\t\"",
		`"\"\\\/\b\f\n\r\t\u00fC"`, `"\ud83d\uDE00\ud83d\ud83d\ude00\ude00\ud83dx"`, `"\`, `"\"`,
	} {
		f.Add([]byte(s))
	}
	const depth = 4
	f.Fuzz(func(t *testing.T, b []byte) {
		want := json.Valid(b) && utf8.Valid(b) && deeper(b, depth) < 0
		if fault := Check(b, depth); (fault == nil) != want {
			t.Fatalf("Check(%q) is %v; it is JSON: %v", b, fault, want)
		} else if fault != nil {
			if fault.Offset < 0 || fault.Offset > len(b) {
				t.Fatalf("offset %d of %d", fault.Offset, len(b))
			}
			_ = slices.Collect(Elements(b)) // must not panic
			Field(b, "a")
			return
		}
		checkLine(t, b)
		switch b = Trim(b); b[0] {
		case '[':
			checkElements(t, b)
		case '{':
			checkFields(t, b)
		case '"':
			checkText(t, b)
		}
	})
}

func checkLine(t *testing.T, b []byte) {
	line := AppendLine(nil, b)
	if !sameJSON(line, b) || bytes.ContainsAny(line, "\r\n") {
		t.Fatalf("%q on one line is %q", b, line)
	}
}

func checkElements(t *testing.T, b []byte) {
	var want []json.RawMessage
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	got := slices.Collect(Elements(b))
	if len(got) != len(want) {
		t.Fatalf("%q has %d elements, want %d", b, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("element %d of %q is %q, want %q", i, b, got[i], want[i])
		}
	}
}

func checkFields(t *testing.T, b []byte) {
	var want map[string]json.RawMessage
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if got := Field(b, name); !bytes.Equal(got, value) {
			t.Fatalf("field %q of %q is %q, want %q", name, b, got, value)
		}
	}
	members := map[string]json.RawMessage{}
	m := MembersOf(b)
	for m.Next() {
		members[m.Name()] = m.Value()
	}
	if !maps.EqualFunc(members, want, func(x, y json.RawMessage) bool { return bytes.Equal(x, y) }) {
		t.Fatalf("the members of %q are %q, want %q", b, members, want)
	}
	if got := Field(b, "\x00no such name"); got != nil && want["\x00no such name"] == nil {
		t.Fatalf("%q has a field that it has not", b)
	}
}

func checkText(t *testing.T, b []byte) {
	var want string
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if got, is := String(b); !is || got != want {
		t.Fatalf("the text of %q is %q, want %q", b, got, want)
	}
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "say \"hi\"\\", "a\x00\x1f\x7f\r\n\t", "<&>\u2028ü😀", "\xff\xc3", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := AppendString([]byte("x"), s)[1:]
		if !bytes.Equal(quoted, AppendString(nil, []byte(s))) {
			t.Fatalf("%q is quoted in two ways", s)
		}
		if !Valid(quoted) || bytes.ContainsAny(quoted, "\r\n") {
			t.Fatalf("%q is quoted as %q", s, quoted)
		}
		var want string
		standard, _ := json.Marshal(s) // puts U+FFFD for each byte that is not UTF-8, too
		if err := json.Unmarshal(standard, &want); err != nil {
			t.Fatal(err)
		}
		if got, is := String(quoted); !is || got != want {
			t.Fatalf("%q comes back as %q", s, got)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	value := []byte(`{"id":"T-1","customer":"C-204","text":"` + strings.Repeat("My dishwasher does not drain. ", 8) + `","vector":[` + strings.Repeat("0.1234,", 128) + `1]}`)
	for name, f := range map[string]func([]byte) bool{"Valid": Valid, "encoding": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			for b.Loop() {
				if !f(value) {
					b.Fatal()
				}
			}
		})
	}
}
