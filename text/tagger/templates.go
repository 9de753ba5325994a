// SPDX-License-Identifier: Apache-2.0

package tagger

// maxFeatures is the number of templates, rounded up.
const maxFeatures = 64

// window is how many words on either side of a word its features see.
const window = 2

// static appends the features that do not depend on tags given before. at is
// the index of the word in words, which has window words on either side.
func static(f []uint32, words []word, at int) []uint32 {
	w := &words[at]
	p, pp := &words[at-1], &words[at-2]
	n, nn := &words[at+1], &words[at+2]
	f = append(f,
		mix(1, 0),
		mix(2, w.form),
		mix(3, w.suffix1), mix(4, w.suffix2), mix(5, w.suffix3), mix(6, w.suffix4),
		mix(7, w.prefix2), mix(8, w.prefix3),
		mix(9, w.shape),
		mix2(10, w.capital, w.suffix3),
		mix(11, p.form), mix(12, n.form), mix(13, pp.form), mix(14, nn.form),
		mix2(15, p.form, w.form), mix2(16, w.form, n.form), mix2(17, p.form, n.form),
		mix2(18, p.suffix3, w.suffix3), mix2(19, w.suffix3, n.suffix3),
		mix(20, n.suffix3), mix(21, p.suffix3), mix(22, n.suffix2),
		mix3(23, p.capital, w.capital, n.capital),
		mix2(24, w.capital, w.form),
		mix2(25, nn.form, n.form), mix2(26, pp.form, p.form),
		mix(27, n.shape), mix(28, p.shape),
	)
	for k := range w.cluster {
		if w.cluster[k] == 0 {
			continue
		}
		t := uint32(32 + 8*k)
		f = append(f,
			mix(t, w.cluster[k]), mix(t+1, p.cluster[k]), mix(t+2, n.cluster[k]),
			mix2(t+3, p.cluster[k], w.cluster[k]), mix2(t+4, w.cluster[k], n.cluster[k]),
			mix2(t+5, p.cluster[k], n.cluster[k]),
		)
	}
	return f
}

// dynamic appends the features that depend on the tags t1 of the word before
// and t2 of the one before that.
func dynamic(f []uint32, words []word, at int, t1, t2 uint32) []uint32 {
	w, n := &words[at], &words[at+1]
	t12 := t1<<8 | t2
	return append(f,
		mix(100, t1), mix(101, t12),
		mix2(102, t1, w.form), mix2(103, t12, w.form),
		mix2(104, t1, w.suffix3), mix2(105, t1, n.form),
		mix3(106, t1, w.suffix2, n.suffix2),
		mix2(107, t1, w.capital<<8|n.capital),
		mix2(108, t12, w.suffix2),
	)
}
