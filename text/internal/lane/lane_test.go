// SPDX-License-Identifier: Apache-2.0

package lane_test

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/text/internal/lane"
)

func TestSumsEqualThoseOfPlainAddition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, width := range []int{8, 16, 80, 256} {
		const height = 50
		table := make([]byte, width*height)
		for i := range table {
			table[i] = byte(random.UintN(256))
		}
		sums := lane.New(width)
		for _, n := range []int{0, 1, 256, 257, 258, 3000} {
			rows := make([]uint32, n)
			want := make([]int64, width)
			for i := range rows {
				rows[i] = random.Uint32N(height)
				for c := range want {
					want[c] += int64(table[int(rows[i])*width+c]) - lane.Zero
				}
			}
			got := sums.Of(table, rows)
			for c := range want {
				if got[c] != want[c] {
					t.Fatalf("width %d, %d rows: column %d sums to %d, want %d", width, n, c, got[c], want[c])
				}
			}
		}
	}
}

func TestLanesHoldTheLargestBytes(t *testing.T) {
	table := []byte{255, 255, 255, 255, 255, 255, 255, 255}
	for _, sum := range lane.New(8).Of(table, make([]uint32, 1000)) {
		if sum != 127*1000 {
			t.Fatalf("a column of 1000 times 127 sums to %d", sum)
		}
	}
}
