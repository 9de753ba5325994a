// SPDX-License-Identifier: Apache-2.0

package tagger

// Tag is a part of speech, one of the Universal POS tags
// (https://universaldependencies.org/u/pos/).
type Tag uint8

// The Universal POS tags. The zero value is ADJ.
const (
	ADJ Tag = iota
	ADP
	ADV
	AUX
	CCONJ
	DET
	INTJ
	NOUN
	NUM
	PART
	PRON
	PROPN
	PUNCT
	SCONJ
	SYM
	VERB
	X
)

// Tags is the number of tags.
const Tags = 17

var names = [Tags]string{
	"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
	"PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
}

// String is the tag's name, as in treebanks.
func (t Tag) String() string {
	if t < Tags {
		return names[t]
	}
	return "?"
}

// ParseTag returns the tag of that name.
func ParseTag[T string | []byte](name T) (Tag, bool) {
	for t := range names {
		if names[t] == string(name) {
			return Tag(t), true
		}
	}
	return 0, false
}
