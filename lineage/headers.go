// SPDX-License-Identifier: Apache-2.0

package lineage

import "strings"

// Names of headers; the package documentation says what they mean.
const (
	ID       = "mr-id"
	Model    = "mr-model"
	Status   = "mr-status" // StatusFailed or StatusSkipped
	Error    = "mr-error"
	Attempts = "mr-attempts"

	DeadService = "mr-dead-service"
	DeadRecord  = "mr-dead-record"
	DeadModel   = "mr-dead-model"
	DeadStack   = "mr-dead-stack"
	DeadCut     = "mr-dead-cut"

	Decision = "mr-decision" // DecisionRetried or DecisionDropped

	JoinOf       = "mr-of"
	JoinTime     = "mr-of-time"
	JoinRevision = "mr-revision"
	JoinStatus   = "mr-joined" // JoinComplete or JoinPartial
	JoinLow      = "mr-low"

	Window = "mr-window" // WindowOpen or WindowAnswered

	Number = "mr-number"

	Traceparent = "traceparent"
	SourceID    = "id"
	EventTime   = "event-time"
)

// reserved begins the names of headers that Millrace sets.
const reserved = "mr-"

// Values of Status. A record with a status has no value: it tells those
// downstream that none will come.
const (
	StatusFailed  = "failed"
	StatusSkipped = "skipped"
)

// Values of Decision.
const (
	DecisionRetried = "retried"
	DecisionDropped = "dropped"
)

// Values of JoinStatus.
const (
	JoinComplete = "complete"
	JoinPartial  = "partial"
)

// Values of Window.
const (
	WindowOpen     = "open"
	WindowAnswered = "answered"
)

// Reserved reports whether a header's name is one that Millrace sets. What such
// headers say is true of the record that they came with, not of a new one.
func Reserved(header string) bool { return strings.HasPrefix(header, reserved) }

// OfDeadLetter reports whether a header was added when a record became a dead
// letter; the others came with the record. (A record without an id got its
// place as one, which is the same.)
func OfDeadLetter(header string) bool {
	switch header {
	case DeadService, DeadRecord, DeadModel, DeadStack, DeadCut, Error, Attempts:
		return true
	}
	return false
}

// HoldsPlace reports whether a header's value names a place in a topic, which is
// another one in a copy of that topic. All are ids but JoinLow, which is an offset.
func HoldsPlace(header string) bool {
	switch header {
	case ID, DeadRecord, JoinOf, JoinLow:
		return true
	}
	return false
}
