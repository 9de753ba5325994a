// SPDX-License-Identifier: Apache-2.0

// Package lexicon holds what is known of words beyond the treebank that a
// tagger learns from: three classes for each of some twenty thousand words.
//
// The one idea: words are stored as hashes, in the order of the hashes, so that
// the whole is small, is read in a moment, and answers with one access.
package lexicon

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// Classes of a word, each above 0; 0 stands for a word that is not known.
//
//	[0] the parts of speech it may have, as guessed from its embedding
//	[1] its group among 64 groups of words of similar use
//	[2] its group among some 2,500
type Classes [3]uint16

// Entry is a word and its classes.
type Entry struct {
	Hash    uint32
	Classes Classes
}

// Lexicon finds words. It does not change after it was made.
type Lexicon struct {
	entries []Entry // open addressing, length a power of two; hash 0 is free
	shift   uint8
	n       int
}

// New makes a lexicon. Of words with the same hash the first stays.
func New(entries []Entry) *Lexicon {
	n := bits.Len(uint(max(len(entries), 1) * 3 / 2))
	l := &Lexicon{entries: make([]Entry, 1<<n), shift: uint8(32 - n)}
	for _, e := range entries {
		if slot := l.slot(e.Hash); slot.Hash == 0 && e.Hash != 0 {
			*slot = e
			l.n++
		}
	}
	return l
}

// slot is where a word is, or would be.
func (l *Lexicon) slot(hash uint32) *Entry {
	i := int(hash * 0x9e3779b1 >> l.shift)
	for {
		e := &l.entries[i&(len(l.entries)-1)]
		if e.Hash == hash || e.Hash == 0 {
			return e
		}
		i++
	}
}

// Find returns a word's classes, zeros if it is not known.
func (l *Lexicon) Find(hash uint32) Classes { return l.slot(hash).Classes }

// Len is the number of words.
func (l *Lexicon) Len() int { return l.n }

// Hash is a word's hash: FNV-1a of its letters in lower case, digits as 0.
func Hash[T string | []byte](word T) uint32 {
	h := uint32(2166136261)
	for i := range len(word) {
		c := word[i]
		if '0' <= c && c <= '9' {
			c = '0'
		}
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

const magic = "millrace lexicon 1\n"

// maxEntries bounds a file, so that a damaged one does not fill the memory.
const maxEntries = 1 << 20

// Save writes the lexicon: hashes in ascending order as differences, then the
// classes, all deflated.
func (l *Lexicon) Save(w io.Writer) error {
	if _, err := io.WriteString(w, magic); err != nil {
		return fmt.Errorf("save lexicon: %w", err)
	}
	z, err := flate.NewWriter(w, flate.DefaultCompression)
	if err != nil {
		return fmt.Errorf("save lexicon: %w", err)
	}
	out := bufio.NewWriter(z)
	var buf [binary.MaxVarintLen64]byte
	// The buffered writer keeps the first error for Flush.
	put := func(v uint64) { _, _ = out.Write(buf[:binary.PutUvarint(buf[:], v)]) }
	entries := slices.DeleteFunc(slices.Clone(l.entries), func(e Entry) bool { return e.Hash == 0 })
	slices.SortFunc(entries, func(a, b Entry) int { return int(int64(a.Hash) - int64(b.Hash)) })
	put(uint64(len(entries)))
	last := uint32(0)
	for _, e := range entries {
		put(uint64(e.Hash - last))
		last = e.Hash
	}
	for k := range (Classes{}) {
		for _, e := range entries {
			put(uint64(e.Classes[k]))
		}
	}
	if err := errors.Join(out.Flush(), z.Close()); err != nil {
		return fmt.Errorf("save lexicon: %w", err)
	}
	return nil
}

// Load reads what Save wrote.
func Load(r io.Reader) (*Lexicon, error) {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("load lexicon: %w", err)
	}
	if string(head) != magic {
		return nil, fmt.Errorf("load lexicon: this is not a lexicon, or one of another version: it begins %q", head)
	}
	in := bufio.NewReader(flate.NewReader(r))
	n, err := binary.ReadUvarint(in)
	if err != nil || n > maxEntries {
		return nil, fmt.Errorf("load lexicon: %d words: %w", n, cmpErr(err, "too many"))
	}
	entries := make([]Entry, n)
	last := uint64(0)
	for i := range entries {
		d, err := binary.ReadUvarint(in)
		if last += d; err != nil || last > 1<<32-1 {
			return nil, fmt.Errorf("load lexicon: word %d: %w", i, cmpErr(err, "not in ascending order"))
		}
		entries[i].Hash = uint32(last)
	}
	for k := range (Classes{}) {
		for i := range entries {
			c, err := binary.ReadUvarint(in)
			if err != nil || c > 1<<16-1 {
				return nil, fmt.Errorf("load lexicon: class of word %d: %w", i, cmpErr(err, "too large"))
			}
			entries[i].Classes[k] = uint16(c)
		}
	}
	return New(entries), nil
}

// cmpErr is err, or what else is wrong.
func cmpErr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}
