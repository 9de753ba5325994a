// SPDX-License-Identifier: Apache-2.0

package tagger

import "math/bits"

// scores adds up the weights of a word's features. Each tag has a lane of 16
// bits, so that one feature's weights for all tags are added by five additions
// of 64 bits. Weights are stored with a bias that makes them positive; the bias
// is the same in all lanes, so the largest lane is still the best tag's. A word
// has at most maxFeatures features of at most 255 each: no lane overflows.
type scores [5]uint64

const bias = 128

// row is a feature of the model: the weights of its 17 tags, and in the last
// word's upper 32 bits the feature itself, so that one access to memory finds
// and checks it.
type row scores

// table finds features by open addressing. Its length is a power of two.
type table struct {
	rows  []row
	shift uint8
}

// empty is the feature of unused rows. A feature that hashes to it is moved.
const empty = 0

func newTable(features int) table {
	n := bits.Len(uint(max(features, 1) * 3 / 2))
	return table{rows: make([]row, 1<<n), shift: uint8(32 - n)}
}

func (r *row) feature() uint32 { return uint32(r[4] >> 32) }

// add adds a feature's weights to s. An unknown feature adds nothing at all,
// which favours no tag either.
func (t *table) add(s *scores, feature uint32) {
	i := int(feature * 0x9e3779b1 >> t.shift)
	for {
		r := &t.rows[i&(len(t.rows)-1)]
		f := r.feature()
		if f == feature {
			s[0] += r[0]
			s[1] += r[1]
			s[2] += r[2]
			s[3] += r[3]
			s[4] += r[4]
			return
		}
		if f == empty {
			return
		}
		i++
	}
}

// best is the tag for which the features' weights add up to most.
func (t *table) best(features []uint32) Tag {
	var sum scores
	for _, f := range features {
		t.add(&sum, f)
	}
	return sum.best()
}

// insert puts a feature with its weights into the table, which has room.
func (t *table) insert(feature uint32, weights *[Tags]int8) {
	i := int(feature * 0x9e3779b1 >> t.shift)
	for t.rows[i&(len(t.rows)-1)].feature() != empty {
		i++
	}
	var r row
	for tag, w := range weights {
		r[tag/4] |= uint64(int(w)+bias) << (16 * (tag % 4))
	}
	r[4] |= uint64(feature) << 32
	t.rows[i&(len(t.rows)-1)] = r
}

// best is the tag with the largest sum; of equal ones the first.
func (s *scores) best() Tag {
	best, most := Tag(0), -1
	for w := range 4 {
		v := s[w]
		for lane := range 4 {
			if n := int(uint16(v)); n > most {
				best, most = Tag(w*4+lane), n
			}
			v >>= 16
		}
	}
	if n := int(uint16(s[4])); n > most {
		best = X
	}
	return best
}

// weight is the row's weight for a tag.
func (r *row) weight(tag int) int8 {
	return int8(int(uint16(r[tag/4]>>(16*(tag%4)))) - bias)
}
