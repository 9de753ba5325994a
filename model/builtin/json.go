// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/millrace-ml/millrace/model"
)

// appendText appends the text of a ticket to dst: the string in the named field
// of a JSON object, or a JSON string as it is. The text may be empty. Errors
// match model.ErrInvalid and say what is wrong with the value; dst is returned
// with its length unchanged then.
func appendText(dst, value []byte, field string) ([]byte, error) {
	s := scanner{data: value}
	out, err := s.ticket(dst, field)
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		return out[:len(dst)], model.Invalid(err)
	}
	return out, nil
}

var errEmpty = errors.New("the value is empty, expected JSON")

func (s *scanner) ticket(dst []byte, field string) ([]byte, error) {
	switch s.peek() {
	case '"':
		return s.text(dst)
	case '{':
		return s.member(dst, field)
	case 0:
		if s.pos >= len(s.data) {
			return dst, errEmpty
		}
	}
	// Garbage is not JSON first of all; only then is it the wrong kind of JSON.
	kind := s.kind()
	if err := s.skip(1); err != nil {
		return dst, err
	}
	return dst, fmt.Errorf("the value is %s, expected an object with a field %q or a string", kind, field)
}

// member appends the string in the named field. Of equal names the last one
// counts, as in encoding/json.
func (s *scanner) member(dst []byte, field string) ([]byte, error) {
	start, found, wrong := len(dst), false, ""
	from := s.pos
	err := s.object(func(name []byte) error {
		if string(name) != field {
			return s.skip(2)
		}
		found, wrong = true, ""
		dst = dst[:start]
		if s.peek() != '"' {
			wrong = s.kind()
			return s.skip(2)
		}
		var err error
		dst, err = s.text(dst)
		return err
	})
	switch {
	case err != nil:
		return dst, err
	case !found:
		return dst, fmt.Errorf("there is no field %q; %s", field, fieldsOf(s.data[from:]))
	case wrong != "":
		return dst, fmt.Errorf("field %q is %s, expected a string", field, wrong)
	}
	return dst, nil
}

// fieldsOf names the fields of an object that has been read before, the first
// few of them.
func fieldsOf(object []byte) string {
	const most = 10
	var names []string
	more := 0
	s := scanner{data: object}
	_ = s.object(func(name []byte) error { // has been read without error
		if len(names) < most {
			names = append(names, fmt.Sprintf("%.40q", name))
		} else {
			more++
		}
		return s.skip(2)
	})
	switch {
	case len(names) == 0:
		return "the object has no fields"
	case more > 0:
		return fmt.Sprintf("it has %s and %d more", strings.Join(names, ", "), more)
	}
	return "it has " + strings.Join(names, ", ")
}
