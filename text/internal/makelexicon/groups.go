// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
)

// directions are the vectors about their mean, with length 1.
func directions(vectors [][]float32) [][]float32 {
	mean := make([]float32, dimensions)
	for _, v := range vectors {
		for d, x := range v {
			mean[d] += x / float32(len(vectors))
		}
	}
	out := make([][]float32, len(vectors))
	for i, v := range vectors {
		out[i] = make([]float32, dimensions)
		for d, x := range v {
			out[i][d] = x - mean[d]
		}
		normalise(out[i])
	}
	return out
}

// normalise scales v to length 1 and tells whether it could.
func normalise(v []float32) bool {
	var sum float32
	for _, x := range v {
		sum += x * x
	}
	if sum == 0 {
		return false
	}
	scale := 1 / float32(math.Sqrt(float64(sum)))
	for d := range v {
		v[d] *= scale
	}
	return true
}

// groups sorts the vectors into 64 groups by direction, each of these into at
// most eight, and those into at most five.
func groups(vectors [][]float32, random *rand.Rand) (coarse, fine []int) {
	all := make([]int, len(vectors))
	for i := range all {
		all[i] = i
	}
	coarse = kmeans(vectors, all, 64, random)
	return coarse, split(vectors, split(vectors, coarse, 8, random), 5, random)
}

// split splits every group into at most k, of four words or more on average.
func split(vectors [][]float32, group []int, k int, random *rand.Rand) []int {
	members := make(map[int][]int)
	last := 0
	for i, g := range group {
		members[g] = append(members[g], i)
		last = max(last, g)
	}
	out := make([]int, len(group))
	next := 0
	for g := range last + 1 {
		ids := members[g]
		if len(ids) == 0 {
			continue
		}
		parts := min(k, (len(ids)+3)/4)
		for j, part := range kmeans(vectors, ids, parts, random) {
			out[ids[j]] = next + part
		}
		next += parts
	}
	return out
}

// kmeans is spherical k-means over the vectors with the given indexes.
func kmeans(vectors [][]float32, ids []int, k int, random *rand.Rand) []int {
	const rounds = 12
	centres := make([][]float32, k)
	for c := range centres {
		centres[c] = append([]float32(nil), vectors[ids[random.IntN(len(ids))]]...)
	}
	out := make([]int, len(ids))
	for range rounds {
		for j, i := range ids {
			out[j] = nearest(centres, vectors[i])
		}
		for c := range centres {
			clear(centres[c])
		}
		for j, i := range ids {
			for d, x := range vectors[i] {
				centres[out[j]][d] += x
			}
		}
		for c := range centres {
			if !normalise(centres[c]) {
				copy(centres[c], vectors[ids[random.IntN(len(ids))]])
			}
		}
	}
	return out
}

func nearest(centres [][]float32, v []float32) int {
	best, most := 0, float32(-2)
	for c, centre := range centres {
		var sum float32
		for d, x := range v {
			sum += x * centre[d]
		}
		if sum > most {
			best, most = c, sum
		}
	}
	return best
}
