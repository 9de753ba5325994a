// SPDX-License-Identifier: Apache-2.0

package spelling

import "testing"

func TestSuggestionsAreNear(t *testing.T) {
	names := []string{"tickets", "tags", "sentiments", "from", "to"}
	for written, want := range map[string]string{
		"ticktes": "tickets", "Tickets": "tickets", "tag": "tags", "form": "from", "sentimants": "sentiments",
		"embeddings": "", "x": "", "": "", "tickets": "",
	} {
		if got, ok := Nearest(written, names); got != want || ok != (want != "") {
			t.Errorf("Nearest(%q) = %q, want %q", written, got, want)
		}
	}
}

func TestDistancesCountEdits(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"", "abc"}: 3, {"abc", ""}: 3, {"abc", "abc"}: 0, {"abc", "abd"}: 1, {"abc", "ab"}: 1,
		{"abc", "acb"}: 1, {"kitten", "sitting"}: 3, {"ca", "abc"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("distance(%q, %q) = %d, want %d", pair[0], pair[1], got, want)
		}
	}
}
