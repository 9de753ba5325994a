// SPDX-License-Identifier: Apache-2.0

// Package lineage says who a record descends from. It is the one home of what
// Millrace writes beside a record's value: ids, the names of headers, and the
// names of the topics and consumer groups that belong to services.
//
// The one idea: a record's id is its path. A source record's id is the place
// where it stands, "tickets/3/1234" (topic, partition, offset); the record that
// service tagger makes of it is "tickets/3/1234/tagger", and what classifier
// makes of that is "tickets/3/1234/tagger/classifier". When a model answers an
// item with several values, the segments count them: "…/splitter:1of3". So ids
// are unique, the same however often a batch is predicted, readable, and any
// record tells its source without a look-up.
//
// # Headers
//
// All values are text. Those that Millrace sets begin with mr-, which no one
// else should use: publishers through the gateway cannot set them, and in topics
// that no service or gather of a pipeline writes they are not believed.
//
//	header           on                 set by           what it says
//	mr-id            results, letters   service          the record's id; absent on source and gathered records
//	mr-model         results            service          model and version that made it: "sentiment@1"
//	mr-status        results            service          failed or skipped: there is no value; absent when there is one
//	mr-error         results, letters   service          why the item failed
//	mr-attempts      results, letters   service          how often the item was predicted; absent on results when once
//	mr-dead-service  letters            service          the service that failed on the record
//	mr-dead-record   letters            service          place of the record: topic/partition/offset
//	mr-dead-model    letters            service          model and version that failed
//	mr-dead-stack    letters            service          stack of the panic, if it was one
//	mr-dead-cut      letters            service          the value's bytes, when it was left out for lack of room; then "key" and "headers" if those were too
//	mr-decision      decisions          deadletter       retried or dropped
//	mr-of            gathered records   gather           id of the source that it answers
//	mr-of-time       gathered records   gather           when that source was appended, RFC 3339
//	mr-revision      gathered records   gather           1 for the first answer to its source, 2 for the next
//	mr-joined        gathered records   gather           complete or partial
//	mr-low           gathered, notes    gather           offset of the first source of this partition that is not answered yet
//	mr-window        notes              gather           open: no source of this partition was answered yet; answered: one was
//	mr-number        source records     batch            number of the record in the input, from 1
//	traceparent      any record         publisher, all   W3C Trace Context
//	id               source records     publisher        the record's own id
//	event-time       source records     publisher        when it happened, RFC 3339; a record's time is when it was appended
//
// Notes are the records of a gather's [WindowTopic]; they have mr-of as well, for
// the first source that is not answered.
//
// A dead letter carries the headers of the record that failed, too. Copies to
// another broker keep all headers; the places in mr-id, mr-dead-record, mr-of and
// mr-low become those of the copy, or begin with [Gone].
package lineage
