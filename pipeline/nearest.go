// SPDX-License-Identifier: Apache-2.0

package pipeline

import "strings"

// didYouMean is a hint that names the candidate nearest to what was written,
// or the empty text when none is near. Show tells how a candidate is shown.
func didYouMean(written string, candidates []string, show func(string) string) string {
	if best, ok := nearest(written, candidates); ok {
		return "did you mean " + show(best) + "?"
	}
	return ""
}

// nearest finds the candidate that fewest edits lead to; the first of several.
// At most a third of the letters may differ, or one letter of a short name.
func nearest(written string, candidates []string) (string, bool) {
	const longest = 64 // beyond, a name is not a slip of the keyboard
	if written == "" || len(written) > longest {
		return "", false
	}
	best, bestDistance := "", max(1, len(written)/3)+1
	for _, c := range candidates {
		if c == written || len(c) > longest {
			continue
		}
		d := editDistance(strings.ToLower(written), strings.ToLower(c))
		if d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best, best != ""
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours between two texts: the optimal string alignment distance
// (Damerau 1964, "A technique for computer detection and correction of
// spelling errors"), on bytes.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
