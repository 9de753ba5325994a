// SPDX-License-Identifier: Apache-2.0

// Package spelling guesses which name was meant.
package spelling

import "strings"

// longest is the length beyond which a name is not a slip of the keyboard.
const longest = 64

// Nearest finds the candidate that the fewest edits lead to, the first of
// several. At most a third of the letters may differ, or one of a short name.
func Nearest(written string, candidates []string) (string, bool) {
	if written == "" || len(written) > longest {
		return "", false
	}
	best, least := "", max(1, len(written)/3)+1
	for _, c := range candidates {
		if c == written || len(c) > longest {
			continue
		}
		if d := distance(strings.ToLower(written), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best, best != ""
}

// distance is the optimal string alignment distance of two texts, in bytes:
// insertions, deletions, changes and swaps of neighbours (F. J. Damerau, "A
// technique for computer detection and correction of spelling errors", 1964).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
