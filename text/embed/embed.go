// SPDX-License-Identifier: Apache-2.0

// Package embed turns a text into a vector whose direction says what the text
// is about, so that texts of like meaning have a high dot product.
//
// The one idea: nearly all that a small transformer makes of a short message can
// be had by adding up one learned vector a token. The table of those vectors is
// distilled once from such a transformer; afterwards a sentence costs a few
// hundred additions instead of hundreds of millions.
//
// # Method
//
// The text is split by package wordpiece. The rows of its tokens, and those of
// frequent pairs of neighbours ("not working", "top up"), are added, and the sum
// is scaled to length one. How much a token counts is in the length of its row.
// See scripts/distill-embedder for how the table is made: the teacher's answer
// to every token by itself, centred and weighted by frequency (Arora et al., "A
// Simple but Tough-to-Beat Baseline for Sentence Embeddings", 2017; Tulkens and
// van Dongen, "Model2Vec", 2024), is the starting point of a ridge regression
// onto the teacher's answers to whole texts. Texts with a label aim at a point
// between that answer and the mean of their label, which makes classes compact as
// in Wen et al., "A Discriminative Feature Learning Approach for Deep Face
// Recognition" (center loss), 2016. Principal components and eight bits a number
// make the table small.
//
// What was used, under which licence, and what it measures is in
// docs/models/embedder.md.
package embed

import (
	"math"
	"sync"

	"github.com/millrace-ml/millrace/text/internal/lane"
	"github.com/millrace-ml/millrace/text/wordpiece"
)

// Model embeds texts. It is immutable and safe for concurrent use.
type Model struct {
	tokenizer *wordpiece.Tokenizer
	dim       int
	pairs     pairs
	// rows holds a row of dim bytes for each token and then for each pair, each
	// number n as n+128.
	rows []byte
	// scales is what one step of each dimension's numbers is worth.
	scales  []float32
	scratch sync.Pool // of *scratch
}

// scratch is what one call of Embed works in.
type scratch struct {
	ids  []int32
	rows []uint32
	sums *lane.Sums
}

// Dim is the length of the vectors.
func (m *Model) Dim() int { return m.dim }

// Tokenizer is what the model splits texts with.
func (m *Model) Tokenizer() *wordpiece.Tokenizer { return m.tokenizer }

// Embed writes the text's vector into dst, which must have length Dim. The
// vector has length one, except that of a text without a single token, which is
// zero. Embed does not allocate once its scratch space is warm.
func (m *Model) Embed(dst []float32, text string) {
	s := m.scratch.Get().(*scratch)
	s.ids = m.tokenizer.AppendIDs(s.ids[:0], text)
	m.embed(dst, s)
	m.release(s)
}

func (m *Model) release(s *scratch) {
	if cap(s.ids) > maxScratch {
		s.ids, s.rows = nil, nil
	}
	m.scratch.Put(s)
}

// maxScratch bounds the token ids that are kept between calls: a megabyte of
// text must not stay in memory for the sake of the next ticket.
const maxScratch = 1 << 14

func (m *Model) embed(dst []float32, s *scratch) {
	if len(dst) != m.dim {
		panic("embed: dst must have the model's dimension")
	}
	s.rows = m.appendRows(s.rows[:0], s.ids)
	var norm float64
	for d, sum := range s.sums.Of(m.rows, s.rows) {
		v := float64(sum) * float64(m.scales[d])
		norm += v * v
		dst[d] = float32(v)
	}
	if norm == 0 {
		clear(dst)
		return
	}
	scale := float32(1 / math.Sqrt(norm))
	for d := range dst {
		dst[d] *= scale
	}
}

// appendRows names the rows of the tokens and of their pairs. Unknown tokens
// mean nothing.
func (m *Model) appendRows(rows []uint32, ids []int32) []uint32 {
	for i, id := range ids {
		if id != m.tokenizer.Unknown() {
			rows = append(rows, uint32(id))
		}
		if i > 0 {
			if row, ok := m.pairs.row(ids[i-1], id); ok {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// Dot is the dot product of two vectors of equal length: the cosine of the
// angle between two texts' vectors. Of unrelated texts it is about 0.1, from
// -0.1 to 0.3, so compare it with that of other texts, not with zero.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
