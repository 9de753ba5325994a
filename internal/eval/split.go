// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// holds tells which rows are held out: every n-th as they come, or a share of
// each label with groups together.
func (c *Config) holds(rows []labelled, groups []string) []bool {
	if c.Every > 0 {
		held := make([]bool, len(rows))
		for i := c.Every - 1; i < len(rows); i += c.Every {
			held[i] = true
		}
		return held
	}
	labels := make([]string, len(rows))
	for i := range rows {
		labels[i] = rows[i].label
	}
	return split(labels, groups, c.Holdout, c.Seed)
}

// split holds out about a share of each label and tells which. What is in one
// group stays together; an empty group is one of its own. The same seed gives
// the same split.
func split(labels, groups []string, share float64, seed uint64) (held []bool) {
	members := map[string][]int{}
	var order []string
	for i := range labels {
		group := groups[i]
		if group == "" {
			group = strconv.Itoa(i)
		}
		if members[group] == nil {
			order = append(order, group)
		}
		members[group] = append(members[group], i)
	}
	quota := map[string]int{}
	for _, label := range labels {
		quota[label]++
	}
	for label, n := range quota {
		quota[label] = int(math.Round(share * float64(n)))
		if quota[label] == n {
			quota[label]-- // something must be left to learn from
		}
	}
	random := rand.New(rand.NewPCG(seed, 0x73706c6974))
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	held = make([]bool, len(labels))
	for _, group := range order {
		need := map[string]int{}
		for _, i := range members[group] {
			need[labels[i]]++
		}
		fits := true
		for label, n := range need {
			fits = fits && n <= quota[label]
		}
		if !fits {
			continue
		}
		for _, i := range members[group] {
			held[i] = true
			quota[labels[i]]--
		}
	}
	return held
}

// alike is the share of common word pairs from which on two texts are
// near-duplicates. With a third, short questions about one thing chain up to
// groups of thousands.
const alike = 1.0 / 2

// nearDuplicates gives texts that share much of their wording one group, and
// texts that are like no other none. Two are alike when half of their word
// pairs are the same (Jaccard's index), and so are texts that are both like a
// third one.
func nearDuplicates(texts []string) []string {
	parent := make([]int, len(texts))
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	sizes := make([]int, len(texts))
	holders := map[string][]int32{} // texts so far that have a word pair
	common := make([]int, len(texts))
	for i, text := range texts {
		pairs := wordPairs(text)
		sizes[i] = len(pairs)
		var touched []int32
		for pair := range pairs {
			for _, j := range holders[pair] {
				if common[j] == 0 {
					touched = append(touched, j)
				}
				common[j]++
			}
			holders[pair] = append(holders[pair], int32(i))
		}
		for _, j := range touched {
			if both := common[j]; float64(both) >= alike*float64(sizes[i]+sizes[j]-both) {
				parent[root(i)] = root(int(j))
			}
			common[j] = 0
		}
	}
	members := make([]int, len(texts))
	for i := range texts {
		members[root(i)]++
	}
	groups := make([]string, len(texts))
	for i := range texts {
		if r := root(i); members[r] > 1 {
			groups[i] = strconv.Itoa(r)
		}
	}
	return groups
}

// wordPairs are the pairs of neighbouring words; a text of one word has that.
func wordPairs(text string) map[string]bool {
	words := strings.Fields(strings.ToLower(text))
	pairs := map[string]bool{}
	for i := 1; i < len(words); i++ {
		pairs[words[i-1]+" "+words[i]] = true
	}
	if len(words) == 1 {
		pairs[words[0]] = true
	}
	return pairs
}
