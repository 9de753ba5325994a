// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/broker"
)

// resp reads an answer in the Redis protocol, version 2
// (https://redis.io/docs/latest/develop/reference/protocol-spec/), without
// copying: records are parts of the answer. The client library would make a map
// of an entry's fields, which have an order and may repeat.
type resp struct {
	rest []byte
}

var errResp = errors.New("the server's answer cannot be read")

// header reads a line that begins with kind and goes on with a number.
func (r *resp) header(kind byte) (int, error) {
	end := bytes.IndexByte(r.rest, '\r')
	if end < 2 || end+2 > len(r.rest) || r.rest[0] != kind {
		return 0, fmt.Errorf("%w: want %q, got %.40q", errResp, kind, r.rest)
	}
	line := r.rest[1:end]
	r.rest = r.rest[end+2:]
	if string(line) == "-1" {
		return -1, nil
	}
	n, ok := parseDigits(line)
	if !ok || n > 1<<31 {
		return 0, fmt.Errorf("%w: the length %.40q", errResp, line)
	}
	return int(n), nil
}

// array returns an array's length; a nil one has none.
func (r *resp) array() (int, error) {
	n, err := r.header('*')
	if n > len(r.rest) {
		return 0, fmt.Errorf("%w: it ends early", errResp)
	}
	return max(n, 0), err
}

// bytes returns a string.
func (r *resp) bytes() ([]byte, error) {
	n, err := r.header('$')
	if err != nil || n < 0 {
		return nil, err
	}
	if len(r.rest) < n+2 {
		return nil, fmt.Errorf("%w: it ends early", errResp)
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n+2:]
	return b, nil
}

// serverError is an error that the server answered with.
type serverError string

func (e serverError) Error() string { return string(e) }

// RedisError makes it one of the client library's kind.
func (serverError) RedisError() {}

// chunk is what was read of one stream.
type chunk struct {
	after   id // where it begins
	records []broker.Record
	bytes   int
	full    bool   // there may be more
	beyond  string // the id of the entry after the records, if it is no offset
}

// parseStreams reads the answer of XREAD and calls take with the key of each
// stream, which reads its entries.
func parseStreams(answer []byte, take func(key []byte, r *resp) error) error {
	r := &resp{answer}
	if len(answer) > 0 && answer[0] == '-' {
		line, _, _ := bytes.Cut(answer[1:], []byte("\r\n"))
		return serverError(line)
	}
	n, err := r.array()
	if err != nil {
		return err
	}
	for range n {
		if _, err := r.array(); err != nil {
			return err
		}
		key, err := r.bytes()
		if err != nil {
			return err
		}
		if err := take(key, r); err != nil {
			return fmt.Errorf("stream %s: %w", key, err)
		}
	}
	return nil
}

// entries reads a stream's entries, says how many there are and calls take for
// each, up to the first whose id is beyond, which it returns.
func (r *resp) entries(begin func(n int), take func(at id, fields [][]byte)) (foreign string, err error) {
	n, err := r.array()
	if err != nil {
		return "", err
	}
	begin(n)
	var fields [][]byte
	for range n {
		if _, err := r.array(); err != nil {
			return "", err
		}
		text, err := r.bytes()
		if err != nil {
			return "", err
		}
		at, err := parseID(text)
		switch {
		case errors.Is(err, errBeyond):
			foreign = cmp.Or(foreign, string(text))
		case err != nil:
			return "", err
		}
		if fields, err = r.strings(fields[:0]); err != nil {
			return "", err
		}
		if foreign == "" {
			take(at, fields)
		}
	}
	return foreign, nil
}

// strings appends an array of strings.
func (r *resp) strings(list [][]byte) ([][]byte, error) {
	n, err := r.array()
	if err != nil {
		return nil, err
	}
	for range n {
		b, err := r.bytes()
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}
