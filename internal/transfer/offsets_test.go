// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"testing"

	"pgregory.net/rapid"
)

// Offsets are found as a list of them finds them, whatever gaps there are on
// either side.
func TestOffsetsAreThoseOfTheCopiedRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gap := rapid.SampledFrom([]int64{1, 1, 1, 2, 1_000_000})
		var o offsets
		copies := map[int64]int64{}
		from, to := rapid.Int64Range(0, 5).Draw(t, "first"), rapid.Int64Range(0, 5).Draw(t, "first copy")
		begin := from
		for range rapid.IntRange(0, 30).Draw(t, "records") {
			o.add(from, to)
			copies[from] = to
			from += gap.Draw(t, "gap")
			to += gap.Draw(t, "gap in the copy")
		}
		asked := rapid.Int64Range(0, begin+40).Draw(t, "asked")
		got, ok := o.at(asked)
		if want, there := copies[asked]; got != want || ok != there {
			t.Fatalf("%d is at %d, %v, want %d, %v", asked, got, ok, want, there)
		}
		var after int64
		for f, c := range copies {
			if f < asked {
				after = max(after, c+1)
			}
		}
		if got := o.after(asked); got != after {
			t.Fatalf("what comes after %d is %d, want %d", asked, got, after)
		}
	})
}

func TestOffsetsWithoutGapsTakeNoRoom(t *testing.T) {
	var o offsets
	for i := range int64(10_000) {
		o.add(100+i, i)
	}
	if len(o) != 1 {
		t.Errorf("they are %d runs", len(o))
	}
}
