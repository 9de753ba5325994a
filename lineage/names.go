// SPDX-License-Identifier: Apache-2.0

package lineage

import "strings"

// Endings of the names of topics that belong to a service. A service's name must
// leave room for the longest.
const (
	deadEnding      = ".dead"
	decisionsEnding = deadEnding + ".decisions"
	windowEnding    = ".window"
)

// MaxEnding is how many bytes the name of a service's topic is longer than the
// service's own at most.
const MaxEnding = len(decisionsEnding)

// MaxWindowEnding is how many bytes the name of a [WindowTopic] is longer than
// that of the topic of answers.
const MaxWindowEnding = len(windowEnding)

// Gone begins the topic of a place that has no copy: retention had deleted what
// stood there, or its topic is not copied. No topic can have such a name, so what
// descends from it is not taken for the child of a record that has the place now.
const Gone = "old:"

// DeadTopic is the topic of a service's dead letters.
func DeadTopic(service string) string { return service + deadEnding }

// DeadOf is the service whose dead letters a topic holds. It goes by the name: a
// pipeline may have no such service.
func DeadOf(topic string) (service string, is bool) { return owner(topic, deadEnding) }

// DecisionsTopic is the topic of what was decided on a service's dead letters. It
// has one partition. The group of those who decide has the same name.
func DecisionsTopic(service string) string { return service + decisionsEnding }

// DecisionsOf is the service on whose dead letters a topic holds decisions.
func DecisionsOf(topic string) (service string, is bool) { return owner(topic, decisionsEnding) }

// WindowTopic is where the gather that answers in a topic notes where its windows
// began, which its answers cannot tell while there are none.
func WindowTopic(answers string) string { return answers + windowEnding }

func owner(topic, ending string) (service string, is bool) {
	service, is = strings.CutSuffix(topic, ending)
	if !is || service == "" {
		return "", false
	}
	return service, true
}

// GroupOf is the consumer group of a service or gather of a pipeline.
func GroupOf(pipeline, name string) string { return pipeline + "." + name }

// BatchOf is the consumer group that writes out a batch over a pipeline, and the
// topic in which it remembers how far it is. It is that of a service called batch,
// which a pipeline that batches run over cannot have.
func BatchOf(pipeline string) string { return GroupOf(pipeline, "batch") }
