// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// decode reads a JSON value. Its error names the path to what is wrong.
func decode(data []byte, v any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("the value is empty, expected JSON")
	}
	err := json.Unmarshal(data, v)
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType):
		return fmt.Errorf("%s is a JSON %s, expected %v", at(data, wrongType.Offset), wrongType.Value, expected(wrongType.Type))
	case errors.As(err, &syntax):
		return fmt.Errorf("%s is not JSON: %w at byte %d", at(data, syntax.Offset), syntax, syntax.Offset)
	}
	return fmt.Errorf("the value cannot be read: %w", err)
}

// expected says what a Go type is in JSON.
func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Pointer:
		return expected(t.Elem())
	}
	return t.Kind().String() // of numbers the size counts
}

// step is an open object or array on the way to a value.
type step struct {
	object bool
	key    string // of an object, the last one read
	index  int    // of an array, values begun so far
	isKey  bool   // what comes next in an object is a key
}

// at names the value that ends at or contains the byte at offset: "lines[2].price",
// or "the value" for the whole.
func at(data []byte, offset int64) string {
	d := json.NewDecoder(bytes.NewReader(data))
	var way []step
	for {
		token, err := d.Token()
		if err != nil {
			return path(way)
		}
		closing := token == json.Delim('}') || token == json.Delim(']')
		if closing {
			way = way[:len(way)-1]
		}
		if len(way) > 0 && !closing {
			if top := &way[len(way)-1]; top.object && top.isKey {
				top.key, top.isKey = token.(string), false
				continue
			} else if !top.object {
				top.index++
			} else {
				top.isKey = true
			}
		}
		if d.InputOffset() >= offset {
			return path(way)
		}
		switch token {
		case json.Delim('{'):
			way = append(way, step{object: true, isKey: true})
		case json.Delim('['):
			way = append(way, step{})
		}
	}
}

func path(way []step) string {
	var b strings.Builder
	for _, s := range way {
		switch {
		case !s.object && s.index > 0:
			b.WriteString("[" + strconv.Itoa(s.index-1) + "]")
		case s.object && s.key != "":
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		}
	}
	if b.Len() == 0 {
		return "the value"
	}
	return b.String()
}
