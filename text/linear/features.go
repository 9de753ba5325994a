// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"errors"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Options say what a model reads of a text. They are kept with the weights. The
// zero value of a field turns that kind of feature off.
type Options struct {
	// Buckets is the number of rows that features are hashed into, a power of two.
	Buckets int `json:"buckets"`
	// Words is the longest word n-gram.
	Words int `json:"words"`
	// CharMin and CharMax bound the character n-grams (in bytes), taken within
	// words that are marked with a space at both ends.
	CharMin int `json:"char_min"`
	CharMax int `json:"char_max"`
	// Negation adds the words that follow a "not" as features of their own.
	Negation bool `json:"negation"`
	// The kinds' weights: each is scaled to this length before it is regularised
	// with the others.
	WordWeight  float64 `json:"word_weight"`
	CharWeight  float64 `json:"char_weight"`
	NamedWeight float64 `json:"named_weight"`
	// ShapeWeight is that of how the text is built: its length and its marks.
	ShapeWeight float64 `json:"shape_weight"`
	// Dense is the length of the dense vector.
	Dense       int     `json:"dense"`
	DenseWeight float64 `json:"dense_weight"`
}

// DefaultOptions suit the texts of a customer or two sentences.
func DefaultOptions() Options {
	return Options{
		Buckets: 1 << 17,
		Words:   2,
		CharMin: 3, CharMax: 5,
		WordWeight: 1, CharWeight: 1, NamedWeight: 0.5, ShapeWeight: 0.5,
	}
}

const (
	maxBuckets = 1 << 24
	maxNgram   = 8
	maxDense   = 1 << 14
)

func (o Options) check() error {
	switch {
	case o.Buckets < 1 || o.Buckets > maxBuckets || o.Buckets&(o.Buckets-1) != 0:
		return errors.New("linear: Buckets must be a power of two, at most 2^24")
	case o.Words < 0 || o.Words > maxNgram:
		return errors.New("linear: Words must be from 0 to 8")
	case o.CharMin < 0 || o.CharMax > maxNgram || o.CharMin > o.CharMax || o.CharMax > 0 && o.CharMin == 0:
		return errors.New("linear: CharMin and CharMax must be from 1 to 8, or both 0")
	case o.Dense < 0 || o.Dense > maxDense:
		return errors.New("linear: Dense must be from 0 to 16384")
	}
	for _, w := range []float64{o.WordWeight, o.CharWeight, o.NamedWeight, o.ShapeWeight, o.DenseWeight} {
		if !(w >= 0 && w <= 1e6) {
			return errors.New("linear: weights must be from 0 to 1e6")
		}
	}
	return nil
}

// The kinds of hashed features.
const (
	words = iota
	chars
	named
	shapes
	kinds
)

// Vector holds a text's features. The zero value is empty and ready; Reset makes
// it so again and keeps the memory.
type Vector struct {
	groups [kinds][]uint32 // rows of the table, a feature that occurs twice twice
	// Dense is the dense vector, which the caller sets.
	Dense []float32
}

// Reset empties the vector.
func (v *Vector) Reset() {
	for g := range v.groups {
		v.groups[g] = v.groups[g][:0]
	}
	v.Dense = nil
}

// Len is the number of hashed features.
func (v *Vector) Len() (n int) {
	for g := range v.groups {
		n += len(v.groups[g])
	}
	return n
}

// Equal tells whether two vectors have the same hashed features in the same
// order, and the same dense vector.
func (v *Vector) Equal(w *Vector) bool {
	for g := range v.groups {
		if !slices.Equal(v.groups[g], w.groups[g]) {
			return false
		}
	}
	return slices.Equal(v.Dense, w.Dense)
}

// Cap is the memory, in features, that the vector holds on to.
func (v *Vector) Cap() (n int) {
	for g := range v.groups {
		n += cap(v.groups[g])
	}
	return n
}

// weight is the value of each feature of a kind: the kind's weight over the
// length of the vector that its features make.
func (v *Vector) weight(kind int, o Options) float32 {
	n := len(v.groups[kind])
	if n == 0 {
		return 0
	}
	w := [kinds]float64{o.WordWeight, o.CharWeight, o.NamedWeight, o.ShapeWeight}[kind]
	return float32(w / math.Sqrt(float64(n)))
}

// AddNamed adds a feature made of names in their order, such as a tag or a tag
// and a word. ASCII letters count as lower case.
func (v *Vector) AddNamed(o *Options, names ...string) {
	h := namedSeed
	for _, name := range names {
		for i := range len(name) {
			h = step(h, lower(name[i]))
		}
		h = step(h, 0)
	}
	v.groups[named] = append(v.groups[named], o.row(h))
}

// AddText adds the text's n-grams. It allocates only to grow the vector.
func (v *Vector) AddText(o *Options, text string) {
	r := reader{v: v, o: o}
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			r.ascii(c)
			continue
		}
		char, size := utf8.DecodeRuneInString(text[i:])
		i += size
		r.rune(char)
	}
	r.endWord()
	if o.ShapeWeight > 0 {
		r.shape.addTo(v, o)
	}
}

// reader is the state of one pass over a text.
type reader struct {
	v    *Vector
	o    *Options
	word [maxWord]byte // lower-cased, digits as '0', without apostrophes
	len  int
	// history holds the last words' hashes, the latest first.
	history [maxNgram]uint32
	seen    int
	negated int // words that the last negation still covers
	shape   shape
}

// maxWord is what is read of a word; the rest of it is ignored.
const maxWord = 40

func (r *reader) ascii(c byte) {
	switch {
	case 'a' <= c && c <= 'z':
		r.shape.letter(c)
		r.add(c)
	case 'A' <= c && c <= 'Z':
		r.shape.letter(c)
		r.add(c + 'a' - 'A')
	case '0' <= c && c <= '9':
		r.shape.digits++
		r.add('0')
	case c == '\'':
		// "don't" and "dont" are one word.
	case c <= ' ':
		r.endWord()
		r.shape.mark(c)
	default:
		r.endWord()
		r.shape.mark(c)
		r.symbol(uint32(c))
	}
}

func (r *reader) rune(c rune) {
	switch {
	case c == '’' || c == '‘' || unicode.Is(unicode.Mn, c) || c == utf8.RuneError:
	case unicode.IsLetter(c) || unicode.IsDigit(c):
		var buf [utf8.UTFMax]byte
		for _, b := range buf[:utf8.EncodeRune(buf[:], unicode.ToLower(c))] {
			r.add(b)
		}
	case unicode.IsSpace(c):
		r.endWord()
	default:
		r.endWord()
		r.symbol(uint32(c))
	}
}

func (r *reader) add(c byte) {
	if r.len < maxWord {
		r.word[r.len] = c
		r.len++
	}
}

// symbol adds punctuation and emoji, which are features but take no part in
// n-grams. Those that end a clause end a negation.
func (r *reader) symbol(c uint32) {
	switch c {
	case '.', ',', '!', '?', ';', ':':
		r.negated = 0
	}
	if r.o.Words > 0 {
		r.emit(words, (symbolSeed^c)*prime)
	}
}

func (r *reader) endWord() {
	if r.len == 0 {
		return
	}
	r.shape.endWord()
	if r.o.Words > 0 {
		r.addWords()
	}
	if r.o.CharMax > 0 {
		r.addChars()
	}
	r.len = 0
}

func (r *reader) addWords() {
	hash := wordSeed
	for _, c := range r.word[:r.len] {
		hash = step(hash, c)
	}
	r.emit(words, hash)
	if r.o.Negation {
		if r.negated > 0 {
			r.negated--
			r.emit(words, (hash^negatedSeed)*prime)
		}
		if negates(r.word[:r.len]) {
			r.negated = negationReach
		}
	}
	gram := hash
	for n := range min(r.o.Words-1, r.seen) {
		gram = (gram*31 ^ r.history[n]) * prime
		r.emit(words, gram)
	}
	copy(r.history[1:], r.history[:])
	r.history[0] = hash
	r.seen = min(r.seen+1, maxNgram)
}

func (r *reader) addChars() {
	var marked [maxWord + 2]byte
	marked[0] = ' '
	copy(marked[1:], r.word[:r.len])
	marked[r.len+1] = ' '
	padded := marked[:r.len+2]
	least, most := r.o.CharMin, r.o.CharMax
	mask := uint32(r.o.Buckets - 1)
	rows := r.v.groups[chars]
	for start := range padded {
		gram := charSeed
		for i, c := range padded[start:min(start+most, len(padded))] {
			gram = step(gram, c)
			if i+1 >= least {
				rows = append(rows, spread(gram)&mask)
			}
		}
	}
	r.v.groups[chars] = rows
}

func (r *reader) emit(kind int, hash uint32) {
	r.v.groups[kind] = append(r.v.groups[kind], r.o.row(hash))
}

// negationReach is how many words a negation covers.
const negationReach = 4

// negates tells the words that turn what follows into its opposite, with their
// apostrophes gone.
func negates(word []byte) bool {
	switch string(word) {
	case "not", "no", "never", "without", "hardly", "cannot", "nothing", "nobody", "neither", "nor", "barely",
		"aint", "arent", "cant", "couldnt", "didnt", "doesnt", "dont", "hadnt", "hasnt", "havent", "isnt",
		"mustnt", "neednt", "shant", "shouldnt", "wasnt", "werent", "wont", "wouldnt":
		return true
	}
	return false
}

// Hashes are FNV-1a, spread over the rows by a last multiplication. The kinds
// start from different seeds and share the table.
const (
	prime       uint32 = 16777619
	wordSeed    uint32 = 2166136261
	charSeed    uint32 = 0x85ebca6b
	namedSeed   uint32 = 0xc2b2ae35
	symbolSeed  uint32 = 0x27d4eb2f
	negatedSeed uint32 = 0x165667b1
	shapeSeed   uint32 = 0x9e3779b1
)

func step(hash uint32, c byte) uint32 { return (hash ^ uint32(c)) * prime }

func spread(hash uint32) uint32 {
	hash ^= hash >> 15
	hash *= 0x2c1b3c6d
	return hash ^ hash>>12
}

func (o *Options) row(hash uint32) uint32 { return spread(hash) & uint32(o.Buckets-1) }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
