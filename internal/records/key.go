// SPDX-License-Identifier: Apache-2.0

package records

import (
	"fmt"

	"github.com/millrace-ml/millrace/internal/jsontext"
)

// Keys is the rule for what a record's key is, the same for records of JSON and
// of tables, whichever way they come in.
//
// The key is a field of the value, which is an object: the text of a string, or a
// number as it is written. Other things are no keys, as equal ones may be written
// in different ways. An empty text says that the record has no key; a cell of
// a table that has nothing in it is one.
type Keys struct {
	// Field names the field. A record without it, or in which it is neither text
	// nor a number, is refused. Empty: records have no keys, unless Usual is set.
	Field string

	// Usual, without a Field, takes the first of the fields key and id that is a
	// key. No record is refused then.
	Usual bool
}

// usual are the fields that Keys.Usual tries.
var usual = [...]string{"key", "id"}

// Of is the key of a record with this value, or nil if it has none. The value may
// be anything if a field is named, and is JSON otherwise.
func (k Keys) Of(value []byte) ([]byte, error) {
	if k.Field != "" {
		return named(value, k.Field)
	}
	if k.Usual {
		for _, name := range usual {
			if key, is := keyOf(jsontext.Field(value, name)); is && key != "" {
				return []byte(key), nil
			}
		}
	}
	return nil, nil
}

func named(value []byte, name string) ([]byte, error) {
	field := jsontext.Field(value, name)
	if field == nil {
		return nil, missing(value, name)
	}
	key, is := keyOf(field)
	if !is {
		return nil, fmt.Errorf("field %q is a key and must be text or a number, not %s", name, jsontext.Kind(field))
	}
	if key == "" {
		return nil, nil
	}
	return []byte(key), nil
}

func missing(value []byte, name string) error {
	switch {
	case !jsontext.Valid(value):
		return fmt.Errorf("the value is not JSON, so it has no field %q for the key", name)
	case jsontext.Kind(value) != "object":
		return fmt.Errorf("the value is not an object, so it has no field %q for the key", name)
	}
	return fmt.Errorf("there is no field %q for the key", name)
}

// keyOf is what a field says, if it is a key.
func keyOf(field []byte) (string, bool) {
	if text, is := jsontext.String(field); is {
		return text, true
	}
	return jsontext.Number(field)
}
