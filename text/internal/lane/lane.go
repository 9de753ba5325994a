// SPDX-License-Identifier: Apache-2.0

// Package lane adds up rows of bytes, which is where the text models that are
// tables of learned numbers spend their time.
//
// The one idea: a 64-bit word holds four sums of 16 bits, so eight numbers of a
// row are added by two additions ("SIMD within a register", Fisher and Dietz
// 1998). A lane holds 257 bytes of 255 before it must be emptied.
package lane

import "encoding/binary"

// Zero is the byte that stands for the number 0: a number n from -127 to 127 is
// the byte n+Zero.
const Zero = 128

const (
	perWord  = 8
	capacity = 257 // 257 * 255 = 65535
	low      = 0x00ff00ff00ff00ff
)

// Sums adds rows of a table of equal width. The zero value is not usable; it is
// not safe for concurrent use.
type Sums struct {
	width     int
	even, odd []uint64
	totals    []int64
}

// New makes sums for rows of that many bytes, a multiple of eight.
func New(width int) *Sums {
	if width%perWord != 0 {
		panic("lane: the width must be a multiple of eight")
	}
	return &Sums{
		width:  width,
		even:   make([]uint64, width/perWord),
		odd:    make([]uint64, width/perWord),
		totals: make([]int64, width),
	}
}

// Width rounds a number of columns up to a width that New accepts.
func Width(columns int) int { return (columns + perWord - 1) / perWord * perWord }

// Of returns the sums of the numbers in the named rows of the table, column by
// column. They are valid until the next call.
func (s *Sums) Of(table []byte, rows []uint32) []int64 {
	clear(s.totals)
	bias := int64(Zero) * int64(len(rows))
	for len(rows) > 0 {
		part := rows[:min(len(rows), capacity)]
		rows = rows[len(part):]
		if s.width == perWord {
			s.even[0], s.odd[0] = addNarrow(table, part)
		} else {
			s.add(table, part)
		}
		s.spill()
	}
	for i := range s.totals {
		s.totals[i] -= bias
	}
	return s.totals
}

func (s *Sums) add(table []byte, rows []uint32) {
	clear(s.even)
	clear(s.odd)
	even := s.even
	odd := s.odd[:len(even)]
	for _, r := range rows {
		row := table[int(r)*s.width:][:s.width]
		for i := range even {
			eight := binary.LittleEndian.Uint64(row[8*i : 8*i+8])
			even[i] += eight & low
			odd[i] += eight >> 8 & low
		}
	}
}

// addNarrow is add for rows of a single word, which stays in registers.
func addNarrow(table []byte, rows []uint32) (even, odd uint64) {
	for _, r := range rows {
		eight := binary.LittleEndian.Uint64(table[int(r)*perWord:])
		even += eight & low
		odd += eight >> 8 & low
	}
	return even, odd
}

func (s *Sums) spill() {
	for i := range s.even {
		e, o := s.even[i], s.odd[i]
		eight := s.totals[perWord*i:][:perWord]
		for l := 0; l < perWord; l += 2 {
			eight[l] += int64(e & 0xffff)
			eight[l+1] += int64(o & 0xffff)
			e >>= 16
			o >>= 16
		}
	}
}
