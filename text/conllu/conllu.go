// SPDX-License-Identifier: Apache-2.0

// Package conllu reads treebanks in the CoNLL-U format
// (https://universaldependencies.org/format.html).
//
// The one idea: a sentence is read together with where its words stand in its
// text, so that a tokenizer and a tagger can be measured on raw text. The
// layer of syntax is left to others: only word form, lemma, tags and features
// are kept.
package conllu

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Word is a syntactic word.
type Word struct {
	Form, Lemma, UPOS, XPOS, Feats string

	// Start and End are the word's bytes in the sentence's text, or those of the
	// whole multiword token if its words do not simply follow one another in it
	// ("du" for "de le"). Both are -1 if the text does not hold the word.
	Start, End int
}

// Sentence is a sentence. New begins a paragraph or document when it is set.
type Sentence struct {
	ID    string
	Text  string
	New   bool
	Words []Word
}

// Reader reads sentence after sentence. It is for one goroutine.
type Reader struct {
	lines *bufio.Scanner
	line  int
}

// maxLine bounds a line, so that garbage does not fill the memory.
const maxLine = 1 << 20

// NewReader reads from r.
func NewReader(r io.Reader) *Reader {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	return &Reader{lines: lines}
}

// ReadAll reads all sentences that are left.
func (r *Reader) ReadAll() ([]Sentence, error) {
	var all []Sentence
	for {
		s, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
}

// Read reads the next sentence. It returns io.EOF after the last one; other
// errors name the line.
func (r *Reader) Read() (Sentence, error) {
	var s parsed
	for r.lines.Scan() {
		r.line++
		line := r.lines.Text()
		if strings.TrimSpace(line) == "" {
			if len(s.Words) > 0 {
				return s.finish(), nil
			}
			continue
		}
		if err := s.add(line); err != nil {
			return Sentence{}, fmt.Errorf("line %d: %w", r.line, err)
		}
	}
	if err := r.lines.Err(); err != nil {
		return Sentence{}, fmt.Errorf("line %d: %w", r.line+1, err)
	}
	if len(s.Words) > 0 {
		return s.finish(), nil
	}
	return Sentence{}, io.EOF
}

// parsed is a sentence with what is needed to place its words.
type parsed struct {
	Sentence
	spans []span
	until int // the last word of the open multiword token
}

// span is a token of the text: one word, or several that share it.
type span struct {
	form  string
	words int
	space bool // white space may follow
}

func (s *parsed) add(line string) error {
	if strings.HasPrefix(line, "#") {
		s.comment(line)
		return nil
	}
	if !utf8.ValidString(line) {
		return errors.New("not valid UTF-8")
	}
	fields := strings.Split(line, "\t")
	if len(fields) != 10 {
		return fmt.Errorf("a word has 10 fields separated by tabs, this has %d", len(fields))
	}
	id := fields[0]
	if strings.Contains(id, ".") {
		return nil // an empty node of the enhanced graph is not in the text
	}
	if from, to, ok := strings.Cut(id, "-"); ok {
		return s.multiword(from, to, fields)
	}
	n, err := strconv.Atoi(id)
	if err != nil || n != len(s.Words)+1 {
		return fmt.Errorf("the word's id is %q, expected %d", id, len(s.Words)+1)
	}
	if n > s.until {
		s.spans = append(s.spans, span{fields[1], 1, spaceAfter(fields[9])})
	}
	s.Words = append(s.Words, Word{Form: fields[1], Lemma: fields[2], UPOS: fields[3], XPOS: fields[4], Feats: fields[5]})
	return nil
}

func (s *parsed) multiword(from, to string, fields []string) error {
	a, errA := strconv.Atoi(from)
	b, errB := strconv.Atoi(to)
	if errA != nil || errB != nil || a != len(s.Words)+1 || b < a || b-a > 100 {
		return fmt.Errorf("the range %s-%s is not that of the words which follow, expected %d-…", from, to, len(s.Words)+1)
	}
	s.until = b
	s.spans = append(s.spans, span{fields[1], b - a + 1, spaceAfter(fields[9])})
	return nil
}

func spaceAfter(misc string) bool {
	for item := range strings.SplitSeq(misc, "|") {
		if item == "SpaceAfter=No" {
			return false
		}
	}
	return true
}

func (s *parsed) comment(line string) {
	name, value, _ := strings.Cut(strings.TrimPrefix(line, "#"), "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case name == "sent_id":
		s.ID = value
	case name == "text":
		s.Text = value
	case strings.HasPrefix(name, "newdoc"), strings.HasPrefix(name, "newpar"):
		s.New = true
	}
}

// finish places the words in the text, which is built from them if the
// sentence does not name it.
func (s *parsed) finish() Sentence {
	if s.Text == "" {
		s.Text = s.joined()
	}
	at, word := 0, 0
	for _, sp := range s.spans {
		n := min(sp.words, len(s.Words)-word)
		words := s.Words[word : word+n]
		word += n
		i := strings.Index(s.Text[at:], sp.form)
		if i < 0 {
			for w := range words {
				words[w].Start, words[w].End = -1, -1
			}
			continue
		}
		start := at + i
		at = start + len(sp.form)
		place(words, sp.form, start)
	}
	return s.Sentence
}

// place gives the words of a token their bytes in it, or all of them the whole
// token if it is not made of their forms.
func place(words []Word, form string, start int) {
	var b strings.Builder
	for i := range words {
		b.WriteString(words[i].Form)
	}
	whole := b.String() != form
	at := start
	for i := range words {
		if whole {
			words[i].Start, words[i].End = start, start+len(form)
			continue
		}
		words[i].Start = at
		at += len(words[i].Form)
		words[i].End = at
	}
}

func (s *parsed) joined() string {
	var b strings.Builder
	for i, sp := range s.spans {
		b.WriteString(sp.form)
		if sp.space && i < len(s.spans)-1 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
