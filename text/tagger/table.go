// SPDX-License-Identifier: Apache-2.0

package tagger

import "math/bits"

// row is a feature of the model: the weights of its 17 tags as bytes, with a
// bias that makes them positive, those of the first 16 tags in two words, and
// in the third the feature itself above the weight of the last tag. One access
// to memory finds and checks it. As the bias is the same for all tags, it does
// not change which tag's sum is the largest.
type row [3]uint64

const (
	bias      = 128
	alternate = 0x00ff00ff00ff00ff // every other byte
)

func makeRow(feature uint32, weights *[Tags]int8) row {
	var r row
	for tag, w := range weights {
		r[tag/8] |= uint64(int(w)+bias) << (8 * (tag % 8))
	}
	r[2] |= uint64(feature) << 32
	return r
}

func (r *row) feature() uint32 { return uint32(r[2] >> 32) }

// weight is the row's weight for a tag.
func (r *row) weight(tag int) int8 {
	return int8(int(uint8(r[tag/8]>>(8*(tag%8)))) - bias)
}

// scores are the sums of rows, in lanes of 16 bits: a word has at most
// maxFeatures features of at most 255 each, so no lane overflows.
type scores struct {
	even, odd [2]uint64 // tags 0, 2, 4, 6 and 8, 10, …; tags 1, 3, 5, 7 and 9, 11, …
	last      uint64
}

// add adds a row where mask has all bits set, nothing where it has none.
func (s *scores) add(r *row, mask uint64) {
	mask &= alternate
	s.even[0] += r[0] & mask
	s.odd[0] += r[0] >> 8 & mask
	s.even[1] += r[1] & mask
	s.odd[1] += r[1] >> 8 & mask
	s.last += r[2] & mask & 0xff
}

// best is the tag with the largest sum; of equal ones the first.
func (s *scores) best() Tag {
	best, most := Tag(0), -1
	for word := range 2 {
		even, odd := s.even[word], s.odd[word]
		for lane := range 4 {
			if n := int(uint16(even)); n > most {
				best, most = Tag(word*8+lane*2), n
			}
			if n := int(uint16(odd)); n > most {
				best, most = Tag(word*8+lane*2+1), n
			}
			even, odd = even>>16, odd>>16
		}
	}
	if int(s.last) > most {
		best = X
	}
	return best
}

// table finds features by open addressing, in three steps that are made for
// the processor. Most features of a word are unknown to the model, and no
// branch on it could be foreseen; so they are sifted first, without a branch,
// by a bitmap small enough to stay in a near cache. Then the first row that
// each may be in is looked at, again without a branch, so that many accesses to
// memory run at once. Few are left to be searched further.
type table struct {
	rows  []row
	sieve []uint64 // sieveBits for a row
	shift uint8    // of a hash to the sieve's size
}

// empty is the feature of unused rows; [mix] never makes it.
const empty = 0

const sieveBits = 8

func newTable(features int) table {
	features = max(features, 64)
	n := bits.Len(uint(features*sieveBits - 1))
	return table{
		rows:  make([]row, features*3/2),
		sieve: make([]uint64, 1<<(n-6)),
		shift: uint8(32 - n),
	}
}

// home is the row where the search for a feature begins.
func (t *table) home(feature uint32) int {
	return int(uint64(feature*0x9e3779b1) * uint64(len(t.rows)) >> 32)
}

// insert puts a feature into the table, which has room.
func (t *table) insert(feature uint32, weights *[Tags]int8) {
	i := t.home(feature)
	for t.rows[i].feature() != empty {
		if i++; i == len(t.rows) {
			i = 0
		}
	}
	t.rows[i] = makeRow(feature, weights)
	bit := feature * 0x85ebca6b >> t.shift
	t.sieve[bit>>6] |= 1 << (bit & 63)
}

// best is the tag for which the features' weights add up to most. It uses the
// features up.
func (t *table) best(features []uint32) Tag {
	var sum scores
	for _, f := range t.addHomes(&sum, t.sift(features)) {
		if r := t.search(f); r != nil {
			sum.add(r, ^uint64(0))
		}
	}
	return sum.best()
}

// sift moves the features that the model may know to the front and returns
// them.
func (t *table) sift(features []uint32) []uint32 {
	n := 0
	sieve, shift := t.sieve, t.shift&31
	for _, f := range features {
		bit := f * 0x85ebca6b >> shift
		features[n] = f
		n += int(sieve[int(bit>>6)&(len(sieve)-1)] >> (bit & 63) & 1)
	}
	return features[:n]
}

// addHomes adds those features that are where their search begins, and returns
// the others.
func (t *table) addHomes(sum *scores, features []uint32) []uint32 {
	n := 0
	for _, f := range features {
		r := &t.rows[t.home(f)]
		differ := uint64(r.feature() ^ f)
		other := (differ | -differ) >> 63 // 0 if it is the feature, else 1
		sum.add(r, other-1)
		features[n] = f
		n += int(other)
	}
	return features[:n]
}

// search returns a feature's row, nil if there is none.
func (t *table) search(feature uint32) *row {
	i := t.home(feature)
	for {
		r := &t.rows[i]
		switch r.feature() {
		case feature:
			return r
		case empty:
			return nil
		}
		if i++; i == len(t.rows) {
			i = 0
		}
	}
}
