// SPDX-License-Identifier: Apache-2.0

package records

import (
	"runtime"
	"strings"
	"testing"
)

// A row of a million fields takes little more than its text.
func TestARowOfManyFieldsIsRefusedBeforeItIsTakenApart(t *testing.T) {
	const many = 4 << 20
	for format, separator := range map[Format]string{CSV: ",", TSV: "\t"} {
		for name, in := range map[string]string{
			"the names": strings.Repeat("a"+separator, many/2) + "a\n",
			"a row":     "a" + separator + "b\n1" + strings.Repeat(separator, many) + "\n1" + separator + "2\n",
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := NewReader(strings.NewReader(in), Options{Format: format})
			if err != nil {
				t.Fatal(err)
			}
			var got []Record
			var fault error
			for record, err := range r.All() {
				if err != nil {
					fault = err
					break
				}
				got = append(got, record)
			}
			runtime.ReadMemStats(&after)
			switch {
			case name == "the names" && (fault == nil || !strings.Contains(fault.Error(), "line 1, which names the columns, has more than 10000 fields")):
				t.Errorf("%s of %s: %v", name, format, fault)
			case name == "a row" && (fault != nil || len(got) != 2 || got[0].Reason != "has more than 10000 fields" || string(got[1].Value) != `{"a":"1","b":"2"}`):
				t.Errorf("%s of %s: %v, %d records", name, format, fault, len(got))
			}
			if made := after.TotalAlloc - before.TotalAlloc; made > 4*uint64(len(in)) {
				t.Errorf("%s of %s: %d bytes took %d", name, format, len(in), made)
			}
		}
	}
	// Separators in quotes are none.
	in := "a,b\n\"" + strings.Repeat(",", 20_000) + "\",2\n"
	if got, err := Values(strings.NewReader(in), Options{Format: CSV}); err != nil || len(got) != 1 {
		t.Errorf("%d records, %v", len(got), err)
	}
}
