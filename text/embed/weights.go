// SPDX-License-Identifier: Apache-2.0

package embed

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/text/internal/lane"
	"github.com/millrace-ml/millrace/text/wordpiece"
)

// The weights derive from all-MiniLM-L6-v2 (Apache-2.0); see NOTICE beside them.
//
//go:embed minilm.bin
var minilm []byte

// Default is the model that comes with the package. It is read once.
var Default = sync.OnceValue(func() *Model {
	m, err := Read(minilm)
	if err != nil {
		panic("embed: the embedded weights: " + err.Error()) // they are part of the program, and tested
	}
	return m
})

// The file of weights, little endian:
//
//	"MRWPEMB2", dim, tokens, pairs and bytes uint32
//	the vocabulary: bytes bytes, a token a line
//	pairs × two uint32: the pairs' tokens
//	dim float32: the scales
//	(tokens + pairs) × dim bytes: the rows, each number n as n+128
//	CRC-32 (IEEE) of all that
const magic = "MRWPEMB2"

const (
	headerSize = len(magic) + 16
	maxDim     = 4096
	maxTokens  = 1 << 22
)

// ErrWeights is what every error of Read matches.
var ErrWeights = errors.New("not usable as weights of an embedder")

// Read makes a model of the contents of a file of weights, which it keeps and
// which must not change. Errors match [ErrWeights].
func Read(data []byte) (*Model, error) {
	m, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWeights, err)
	}
	return m, nil
}

func read(data []byte) (*Model, error) {
	if len(data) < headerSize+4 || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("the file does not begin with %s", magic)
	}
	field := func(i int) int { return int(binary.LittleEndian.Uint32(data[len(magic)+4*i:])) }
	dim, tokens, paired, spelled := field(0), field(1), field(2), field(3)
	if dim < 8 || dim > maxDim || dim%8 != 0 || tokens < 1 || tokens > maxTokens || paired > maxTokens {
		return nil, fmt.Errorf("it claims %d tokens and %d pairs of %d dimensions", tokens, paired, dim)
	}
	if want := headerSize + spelled + 8*paired + 4*dim + (tokens+paired)*dim + 4; len(data) != want {
		return nil, fmt.Errorf("it has %d bytes, its header says %d: it was cut off or is damaged", len(data), want)
	}
	body := data[:len(data)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(data[len(body):]) {
		return nil, errors.New("its checksum is wrong: it is damaged")
	}
	vocabulary := strings.Split(string(data[headerSize:headerSize+spelled]), "\n")
	if len(vocabulary) != tokens {
		return nil, fmt.Errorf("it spells %d tokens and has rows for %d", len(vocabulary), tokens)
	}
	tokenizer, err := wordpiece.New(vocabulary)
	if err != nil {
		return nil, err
	}
	rest := body[headerSize+spelled:]
	found, err := readPairs(rest[:8*paired], tokens)
	if err != nil {
		return nil, err
	}
	rest = rest[8*paired:]
	m := &Model{tokenizer: tokenizer, dim: dim, pairs: found, rows: rest[4*dim:], scales: make([]float32, dim)}
	for d := range m.scales {
		scale := math.Float32frombits(binary.LittleEndian.Uint32(rest[4*d:]))
		if !(scale >= 0 && scale <= math.MaxFloat32) {
			return nil, fmt.Errorf("the scale of dimension %d is %v", d, scale)
		}
		m.scales[d] = scale
	}
	m.scratch.New = func() any {
		return &scratch{sums: lane.New(dim)}
	}
	return m, nil
}
