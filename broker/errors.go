// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
)

// The errors that every driver returns; match them with errors.Is.
var (
	ErrClosed        = errors.New("broker is closed")
	ErrFenced        = errors.New("partitions now belong to another member of the group")
	ErrUnknownTopic  = errors.New("no such topic")
	ErrTopicConflict = errors.New("topics do not fit together")
	ErrGroupActive   = errors.New("group has active members")
	ErrTooLarge      = errors.New("record is too large")
	ErrFull          = errors.New("no room on the broker's disk")
	ErrInUse         = errors.New("data directory is in use")

	// ErrUnreachable means that no server answered for as long as a driver waits for
	// one when it is opened.
	ErrUnreachable = errors.New("the broker is out of reach")

	// ErrRejoin means that a member is of no use any more, but another one would be:
	// a topic was deleted and made again. Close it and Join.
	ErrRejoin = errors.New("the member has to join its group again")

	// ErrRefused means that the broker will not do it however often it is asked:
	// the login is wrong, something is not allowed, a group belongs to another
	// program.
	ErrRefused = errors.New("the broker refuses")
)

// TooLargeError is an [ErrTooLarge] that names the record.
type TooLargeError struct {
	Index   int  // in the call's records
	Size    int  // bytes, or the number of headers
	Limit   int  // likewise
	Headers bool // it has too many headers
}

func (e *TooLargeError) Error() string {
	unit := "bytes"
	if e.Headers {
		unit = "headers"
	}
	return fmt.Sprintf("record %d is too large: %d %s, the limit is %d", e.Index, e.Size, unit, e.Limit)
}

// Is makes the error match [ErrTooLarge].
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// ValidName reports whether a topic or group may have this name: 1 to 200 of
// the characters a-z A-Z 0-9 . _ -, not "." or "..". These are the names that
// every broker takes.
func ValidName(name string) error {
	if name == "" || len(name) > 200 || name == "." || name == ".." {
		return fmt.Errorf("name %q: use 1 to 200 of the characters a-z A-Z 0-9 . _ -", name)
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return fmt.Errorf("name %q: character %q is not allowed, use a-z A-Z 0-9 . _ -", name, c)
		}
	}
	return nil
}

// Lasting reports whether an error is one that trying again will not heal, of
// those that Poll, Settle and Join return; after [ErrRejoin] a new member may.
func Lasting(err error) bool {
	for _, lasting := range []error{ErrClosed, ErrRefused, ErrUnknownTopic, ErrTopicConflict, ErrRejoin} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	return false
}
