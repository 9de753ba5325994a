// SPDX-License-Identifier: Apache-2.0

package tagger

// maxFeatures bounds how many features a word has: the sums of weights must
// fit into a lane of scores.
const maxFeatures = 96

// window is how many words on either side of a word its features see.
const window = 2

// Numbers of templates. Those of a later group begin above those of the one
// before, whatever it has.
const (
	formTemplates    = 1
	lexiconTemplates = 40
	leftTemplates    = 100
	rightTemplates   = 120
	bothTemplates    = 140
)

// static appends the features that do not depend on tags given before. at is
// the index of the word in words, which has window words on either side.
func static(f []uint32, words []word, at int) []uint32 {
	w := &words[at]
	p, pp := &words[at-1], &words[at-2]
	n, nn := &words[at+1], &words[at+2]
	const t = formTemplates
	f = append(f,
		mix(t, 0),
		mix(t+1, w.form),
		mix(t+2, w.suffix1), mix(t+3, w.suffix2), mix(t+4, w.suffix3), mix(t+5, w.suffix4),
		mix(t+6, w.prefix2), mix(t+7, w.prefix3),
		mix(t+8, w.shape),
		mix2(t+9, w.capital, w.suffix3),
		mix(t+10, p.form), mix(t+11, n.form), mix(t+12, pp.form), mix(t+13, nn.form),
		mix2(t+14, p.form, w.form), mix2(t+15, w.form, n.form), mix2(t+16, p.form, n.form),
		mix2(t+17, p.suffix3, w.suffix3), mix2(t+18, w.suffix3, n.suffix3),
		mix(t+19, n.suffix3), mix(t+20, p.suffix3), mix(t+21, n.suffix2),
		mix3(t+22, p.capital, w.capital, n.capital),
		mix2(t+23, w.capital, w.form),
		mix2(t+24, nn.form, n.form), mix2(t+25, pp.form, p.form),
		mix(t+26, n.shape), mix(t+27, p.shape),
	)
	return fromLexicon(f, pp, p, w, n, nn)
}

// fromLexicon appends what the lexicon tells of a word and of those around it.
func fromLexicon(f []uint32, pp, p, w, n, nn *word) []uint32 {
	const t = lexiconTemplates
	f = append(f,
		mix(t, w.guess), mix(t+1, p.guess), mix(t+2, n.guess),
		mix2(t+3, p.guess, w.guess), mix2(t+4, w.guess, n.guess), mix2(t+5, p.guess, n.guess),
		mix3(t+6, p.guess, w.guess, n.guess),
		mix(t+7, nn.guess), mix(t+8, pp.guess),
		mix2(t+9, n.guess, nn.guess), mix2(t+10, pp.guess, p.guess),
		mix2(t+11, w.guess, w.capital),
		mix2(t+12, n.guess, w.form), mix2(t+13, p.guess, w.form),
		mix2(t+14, n.guess, w.suffix3), mix3(t+15, n.guess, nn.guess, w.suffix2),

		mix(t+16, w.coarse), mix(t+17, p.coarse), mix(t+18, n.coarse),
		mix2(t+19, p.coarse, w.coarse), mix2(t+20, w.coarse, n.coarse), mix2(t+21, p.coarse, n.coarse),

		mix(t+22, w.fine), mix(t+23, p.fine), mix(t+24, n.fine),
		mix2(t+25, p.fine, w.fine), mix2(t+26, w.fine, n.fine), mix2(t+27, p.fine, n.fine),
	)
	return f
}

// backward appends what a word's tag has to do with the tags t1 of the word
// after it and t2 of the one after that: the first pass goes from right to left.
func backward(f []uint32, words []word, at int, t1, t2 uint32) []uint32 {
	return towards(f, rightTemplates, &words[at], &words[at-1], t1, t2)
}

// forward appends what a word's tag has to do with the tags t1 of the word
// before it and t2 of the one before that.
func forward(f []uint32, words []word, at int, t1, t2 uint32) []uint32 {
	return towards(f, leftTemplates, &words[at], &words[at+1], t1, t2)
}

// towards sees the tags on one side and the word on the other.
func towards(f []uint32, t uint32, w, other *word, t1, t2 uint32) []uint32 {
	t12 := t1<<8 | t2
	return append(f,
		mix(t, t1), mix(t+1, t12),
		mix2(t+2, t1, w.form), mix2(t+3, t12, w.form),
		mix2(t+4, t1, w.suffix3), mix2(t+5, t1, other.form),
		mix3(t+6, t1, w.suffix2, other.suffix2),
		mix2(t+7, t1, w.capital<<8|other.capital),
		mix2(t+8, t12, w.suffix2),
	)
}

// both appends what the second pass sees of the first one's tags: h0 of the
// word, h1 and h2 of those after it, together with t1 of the word before.
func both(f []uint32, words []word, at int, t1, h0, h1, h2 uint32) []uint32 {
	w, p := &words[at], &words[at-1]
	const t = bothTemplates
	return append(f,
		mix(t, h0), mix(t+1, h1), mix(t+2, h1<<8|h2), mix(t+3, t1<<8|h1),
		mix2(t+4, h1, w.form), mix2(t+5, t1<<8|h1, w.form), mix2(t+6, t1<<8|h1, w.suffix3),
		mix2(t+7, h0, w.form), mix(t+8, t1<<16|h0<<8|h1),
		mix2(t+9, t1<<8|h1, w.guess),
		mix2(t+10, h1, p.form),
	)
}
