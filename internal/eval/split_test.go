// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestASplitKeepsGroupsTogetherAndLeavesSomethingOfEachLabel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		share := rapid.Float64Range(0.05, 0.95).Draw(t, "share")
		labels, groups := make([]string, n), make([]string, n)
		for i := range labels {
			labels[i] = fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "label"))
			if g := rapid.IntRange(0, 60).Draw(t, "group"); g > 30 {
				groups[i] = fmt.Sprint("group ", g)
			}
		}
		held := split(labels, groups, share, 1)
		if !slices.Equal(held, split(labels, groups, share, 1)) {
			t.Fatal("the same seed gives another split")
		}
		side, left := map[string]bool{}, map[string]bool{}
		for i := range held {
			if before, ok := side[groups[i]]; ok && groups[i] != "" && before != held[i] {
				t.Fatalf("group %q is on both sides", groups[i])
			}
			side[groups[i]] = held[i]
			left[labels[i]] = left[labels[i]] || !held[i]
		}
		for label, ok := range left {
			if !ok {
				t.Fatalf("nothing of label %q is left to learn from", label)
			}
		}
	})
}

func TestASplitHoldsOutTheShareOfEveryLabel(t *testing.T) {
	labels := make([]string, 150)
	for i := range labels {
		labels[i] = []string{"a", "b", "b"}[i%3]
	}
	counts := map[string]int{}
	for i, held := range split(labels, make([]string, len(labels)), 0.2, 3) {
		if held {
			counts[labels[i]]++
		}
	}
	if counts["a"] != 10 || counts["b"] != 20 {
		t.Errorf("held out: %v", counts)
	}
}

func TestNearDuplicatesAreOneGroup(t *testing.T) {
	groups := nearDuplicates([]string{
		"My robot does not charge any more since Monday",
		"where is my parcel",
		"my robot does not charge any more since tuesday",
		"thanks",
		"my robot does not charge any more since the update",
		"thanks",
		"",
	})
	if groups[0] == "" || groups[0] != groups[2] || groups[0] != groups[4] || groups[3] == "" || groups[3] != groups[5] || groups[3] == groups[0] {
		t.Errorf("near-duplicates are apart: %q", groups)
	}
	if groups[1] != "" || groups[6] != "" {
		t.Errorf("texts like no other are in a group: %q", groups)
	}
}
