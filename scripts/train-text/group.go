// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// group puts messages that share much of their wording into one group and tells
// how many groups there are. Two are alike when a third of their word pairs are
// the same (Jaccard's index).
func group(messages []message) int {
	const alike = 1.0 / 3
	pairs := make([]map[string]bool, len(messages))
	for i, m := range messages {
		pairs[i] = wordPairs(m.Text)
	}
	parent := make([]int, len(messages))
	for i := range parent {
		parent[i] = i
	}
	var root func(i int) int
	root = func(i int) int {
		if parent[i] != i {
			parent[i] = root(parent[i])
		}
		return parent[i]
	}
	for i := range messages {
		for j := range i {
			if jaccard(pairs[i], pairs[j]) >= alike {
				parent[root(i)] = root(j)
			}
		}
	}
	groups := 0
	for i := range messages {
		messages[i].group = fmt.Sprint(root(i))
		if root(i) == i {
			groups++
		}
	}
	return groups
}

func wordPairs(text string) map[string]bool {
	words := strings.Fields(strings.ToLower(text))
	pairs := map[string]bool{}
	for i := 1; i < len(words); i++ {
		pairs[words[i-1]+" "+words[i]] = true
	}
	return pairs
}

func jaccard(a, b map[string]bool) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	both := 0
	for pair := range a {
		if b[pair] {
			both++
		}
	}
	return float64(both) / float64(len(a)+len(b)-both)
}
