// SPDX-License-Identifier: Apache-2.0

package redis

import "strconv"

// keys names what is stored. All names of a namespace have one hash tag, so
// that on a cluster they are on one node, where a script can change them as one.
type keys struct{ prefix string } // {namespace}:

func newKeys(namespace string) keys { return keys{"{" + namespace + "}:"} }

// stream is the key of a partition: {millrace}:tickets:3.
func (k keys) stream(topic string, partition int32) string {
	return k.prefix + topic + ":" + strconv.Itoa(int(partition))
}

// The others have a double colon, which no stream's key has.

func (k keys) generation() string         { return k.prefix + ":generation" }
func (k keys) topics() string             { return k.prefix + ":topics" }
func (k keys) groups() string             { return k.prefix + ":groups" }
func (k keys) group(name string) string   { return k.prefix + ":group:" + name }
func (k keys) events(group string) string { return k.prefix + ":events:" + group }
func (k keys) publisher(id string) string { return k.prefix + ":publisher:" + id }
func (k keys) retention() string          { return k.prefix + ":retention" }

// The fields of a group's hash; lua/group.lua says what they mean.

func positionField(topic string, partition int32) string {
	return "p:" + topic + ":" + strconv.Itoa(int(partition))
}

func ownerField(partition int32) string { return "o:" + strconv.Itoa(int(partition)) }
