// SPDX-License-Identifier: Apache-2.0

package eval

import "testing"

func TestARowTellsWhetherItsTargetIsMet(t *testing.T) {
	tr := trial{data: "some data", config: Config{Model: "tagger"}, asked: []asked{{Accuracy, 0.9}, {MacroF1, 0.9}, {speedOf, 100}, {TagF1, 0}}}
	r := &Report{Speed: &Speed{Unit: "tokens", Of: "tagging", PerSecond: 99, Allocations: 2}}
	r.add(Accuracy, 0.9, 10)
	r.add(MacroF1, 0.899, 0)
	r.add(TagF1, 0.1, 0)
	want := map[string]string{Accuracy: "met", MacroF1: "not met", "tokens a second, tagging": "not met", allocationsOf: "", TagF1: ""}
	for _, row := range tr.rows(r) {
		got := ""
		if row.Met != nil {
			got = map[bool]string{true: "met", false: "not met"}[*row.Met]
		}
		if expected, ok := want[row.Measure]; !ok || got != expected || row.Value == nil {
			t.Errorf("%+v is %q", row, got)
		}
		delete(want, row.Measure)
	}
	if len(want) > 0 {
		t.Errorf("without rows: %v", want)
	}
}

func TestRowsWithoutTheirDataHaveNoValue(t *testing.T) {
	s := Suite{Desk: "../../examples/support-desk", Public: t.TempDir()}
	trials, err := s.trials()
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for i := range trials {
		if trials[i].public == nil {
			continue
		}
		found, err := s.try(t.Context(), &trials[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range found {
			rows++
			if row.Value != nil || row.Met != nil {
				t.Errorf("%+v", row)
			}
		}
	}
	if rows == 0 {
		t.Error("nothing of the suite wants public data")
	}
}

func TestASuiteWithoutTheMessagesSaysWhereToRunIt(t *testing.T) {
	if _, err := (&Suite{Desk: t.TempDir()}).Run(t.Context()); err == nil {
		t.Error("there was no error")
	}
}
