// SPDX-License-Identifier: Apache-2.0

package tagger

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	_ "embed"

	"github.com/millrace-ml/millrace/text/internal/lexicon"
)

//go:embed english.weights
var english []byte

//go:embed english.lexicon
var englishLexicon []byte

// englishWords is the lexicon that every tagger uses.
var englishWords = sync.OnceValues(func() (*lexicon.Lexicon, error) {
	return lexicon.Load(bytes.NewReader(englishLexicon))
})

// English returns the tagger that comes with the package. It is decoded once,
// when it is first asked for, in about a tenth of a second.
var English = sync.OnceValue(func() *Tagger {
	t, err := Load(bytes.NewReader(english))
	if err != nil {
		panic("tagger: the weights in the program are damaged: " + err.Error()) // a test loads them
	}
	return t
})

// magic begins a file of weights; its digit is the version of the format and
// of the features, which must be those the weights were learned with.
const magic = "millrace tagger 2\n"

// maxRows bounds a file, so that a damaged one does not fill the memory.
const maxRows = 1 << 22

// Save writes the weights: of either pass the features in ascending order as
// differences, then each tag's weights, all deflated.
func (t *Tagger) Save(w io.Writer) error {
	if _, err := io.WriteString(w, magic); err != nil {
		return fmt.Errorf("save tagger: %w", err)
	}
	z, err := flate.NewWriter(w, flate.DefaultCompression)
	if err != nil {
		return fmt.Errorf("save tagger: %w", err)
	}
	out := bufio.NewWriter(z)
	t.first.save(out)
	t.second.save(out)
	// The buffered writer keeps the first error for Flush.
	if err := errors.Join(out.Flush(), z.Close()); err != nil {
		return fmt.Errorf("save tagger: %w", err)
	}
	return nil
}

func (t *table) save(out *bufio.Writer) {
	var rows []row
	for _, r := range t.rows {
		if r.feature() != empty {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return int(int64(a.feature()) - int64(b.feature()))
	})
	var buf [binary.MaxVarintLen64]byte
	put := func(v uint64) { _, _ = out.Write(buf[:binary.PutUvarint(buf[:], v)]) }
	put(uint64(len(rows)))
	last := uint32(0)
	for _, r := range rows {
		put(uint64(r.feature() - last))
		last = r.feature()
	}
	for tag := range Tags {
		for _, r := range rows {
			_ = out.WriteByte(byte(r.weight(tag)))
		}
	}
}

// Load reads weights that Save wrote.
func Load(r io.Reader) (*Tagger, error) {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("load tagger: %w", err)
	}
	if string(head) != magic {
		return nil, fmt.Errorf("load tagger: this is not a file of tagger weights, or one of another version: it begins %q", head)
	}
	z := flate.NewReader(r)
	in := bufio.NewReader(z)
	words, err := englishWords()
	if err != nil {
		return nil, fmt.Errorf("load tagger: %w", err)
	}
	t := &Tagger{words: words}
	if err := t.first.load(in); err != nil {
		return nil, fmt.Errorf("load tagger: first pass: %w", err)
	}
	if err := t.second.load(in); err != nil {
		return nil, fmt.Errorf("load tagger: second pass: %w", err)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("load tagger: after the weights: %w", cmp.Or(err, errors.New("there is more")))
	}
	return t, nil
}

func (t *table) load(in *bufio.Reader) error {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return fmt.Errorf("number of features: %w", err)
	}
	if n > maxRows {
		return fmt.Errorf("%d features, at most %d can be", n, maxRows)
	}
	features := make([]uint32, n)
	last := uint64(0)
	for i := range features {
		d, err := binary.ReadUvarint(in)
		if err != nil {
			return fmt.Errorf("features: %w", err)
		}
		if last += d; d == 0 || last > 1<<32-1 {
			return errors.New("features: not in ascending order")
		}
		features[i] = uint32(last)
	}
	weights := make([]byte, Tags*len(features))
	if _, err := io.ReadFull(in, weights); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	*t = newTable(len(features))
	for i, f := range features {
		var w [Tags]int8
		for tag := range w {
			w[tag] = int8(weights[tag*len(features)+i])
		}
		t.insert(f, &w)
	}
	return nil
}
