// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// taggedText is a text that the tagger's topic brings back: the text, rebuilt
// from its tokens with spaces in the gaps so that offsets stay right, and the
// tokens with their tags. It is read into again and again.
type taggedText struct {
	text   []byte
	tokens []token.Token
	tags   []tagger.Tag
}

// maxRebuilt bounds a rebuilt text: tokens say where they stand, and a few
// bytes could otherwise ask for gigabytes of spaces.
const maxRebuilt = 16 << 20

// read reads a tagger's answer. Errors match model.ErrInvalid.
func (t *taggedText) read(value []byte) error {
	t.text, t.tokens, t.tags = t.text[:0], t.tokens[:0], t.tags[:0]
	s := scanner{data: value}
	if err := t.document(&s); err != nil {
		return model.Invalid(err)
	}
	return nil
}

func (t *taggedText) document(s *scanner) error {
	if len(s.data) == 0 {
		return errEmpty
	}
	if s.peek() != '{' {
		kind := s.kind()
		if err := s.skip(1); err != nil {
			return err
		}
		return fmt.Errorf(`the value is %s, expected a tagger's answer, {"tokens": […]}`, kind)
	}
	found := false
	from := s.pos
	err := s.object(func(name []byte) error {
		if string(name) != "tokens" {
			return s.skip(2)
		}
		if found {
			return errors.New(`field "tokens" is there twice`)
		}
		found = true
		if s.peek() != '[' {
			return fmt.Errorf(`field "tokens" is %s, expected an array`, s.kind())
		}
		return s.array(func() error { return t.token(s) })
	})
	if err == nil && !found {
		err = fmt.Errorf(`there is no field "tokens", which a tagger's answer has; %s`, fieldsOf(s.data[from:]))
	}
	if err == nil {
		err = s.finish()
	}
	return err
}

// token reads one token and appends it, checking that it follows the last.
func (t *taggedText) token(s *scanner) error {
	n := len(t.tokens)
	if s.peek() != '{' {
		return fmt.Errorf("token %d is %s, expected an object", n+1, s.kind())
	}
	before := len(t.text)
	start, end, tag := -1, -1, tagger.Tag(tagger.Tags)
	var word [64]byte
	text := word[:0]
	hasText := false
	err := s.object(func(name []byte) error {
		var err error
		switch string(name) {
		case "text":
			text, err = s.text(text[:0])
			hasText = true
		case "tag":
			tag, err = s.tag()
		case "start":
			start, err = s.integer()
		case "end":
			end, err = s.integer()
		default:
			err = s.skip(4)
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("token %d: %w", n+1, err)
	case !hasText, tag == tagger.Tags, start < 0, end < 0:
		return fmt.Errorf(`token %d: needs "text", "tag", "start" and "end"`, n+1)
	case start < before:
		return fmt.Errorf("token %d starts at byte %d, before the last one ends at %d", n+1, start, before)
	case end-start != len(text) || end == start:
		return fmt.Errorf("token %d goes from byte %d to %d, but its text has %d", n+1, start, end, len(text))
	case end > maxRebuilt:
		return fmt.Errorf("token %d ends at byte %d; a text may have %d", n+1, end, maxRebuilt)
	}
	for len(t.text) < start {
		t.text = append(t.text, ' ')
	}
	t.text = append(t.text, text...)
	t.tokens = append(t.tokens, token.Token{Start: start, End: end})
	t.tags = append(t.tags, tag)
	return nil
}

// tag reads a Universal POS tag.
func (s *scanner) tag() (tagger.Tag, error) {
	name, err := s.word()
	if err != nil {
		return 0, err
	}
	tag, ok := tagger.ParseTag(name)
	if !ok {
		return 0, fmt.Errorf("%.40q is not a Universal POS tag", name)
	}
	return tag, nil
}
