// SPDX-License-Identifier: Apache-2.0

package embed

import (
	"encoding/binary"
	"fmt"
)

// pairs finds the rows of pairs of tokens. It is a hash table with open
// addressing, since it is asked once a token.
type pairs struct {
	slots []pairSlot // its length is a power of two
	shift uint
}

type pairSlot struct {
	key uint64 // the tokens
	row uint32 // zero is an empty slot: row 0 is a token's
}

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func (p *pairs) row(a, b int32) (uint32, bool) {
	key := pairKey(a, b)
	for at := p.home(key); ; at++ {
		slot := &p.slots[at&uint64(len(p.slots)-1)]
		if slot.row == 0 {
			return 0, false
		}
		if slot.key == key {
			return slot.row, true
		}
	}
}

// home is where a key belongs: Fibonacci hashing.
func (p *pairs) home(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> p.shift }

// readPairs reads two token ids a pair; the pairs' rows follow the tokens'.
func readPairs(data []byte, tokens int) (pairs, error) {
	n := len(data) / 8
	p := pairs{slots: make([]pairSlot, 2), shift: 63}
	for len(p.slots) < 4*n {
		p.slots = make([]pairSlot, 2*len(p.slots))
		p.shift--
	}
	for i := range n {
		a, b := binary.LittleEndian.Uint32(data[8*i:]), binary.LittleEndian.Uint32(data[8*i+4:])
		if uint64(a) >= uint64(tokens) || uint64(b) >= uint64(tokens) {
			return p, fmt.Errorf("pair %d is of tokens %d and %d; there are %d", i, a, b, tokens)
		}
		if _, ok := p.row(int32(a), int32(b)); ok {
			return p, fmt.Errorf("pair %d (tokens %d and %d) is there twice", i, a, b)
		}
		key := pairKey(int32(a), int32(b))
		at := p.home(key)
		for p.slots[at&uint64(len(p.slots)-1)].row != 0 {
			at++
		}
		p.slots[at&uint64(len(p.slots)-1)] = pairSlot{key: key, row: uint32(tokens + i)}
	}
	return p, nil
}
