// SPDX-License-Identifier: Apache-2.0

// Package redis is the broker on Redis or Valkey Streams, version 7.0 or newer.
//
// The one idea: a settle is one Lua script. It checks that the member still owns
// the partitions and that the group is where the member left it, adds the results,
// and moves the group. Redis runs a script as one unit and writes it to its
// append-only file as one, so both happen or neither does.
//
// # What is stored
//
// All keys of a namespace begin with the same hash tag, so on a cluster they are
// on one node, where a script can change them together.
//
//	{millrace}:tickets:3             a partition: a stream, an entry for each record
//	{millrace}::topics               a hash: name → partitions and retention, JSON
//	{millrace}::group:tagger         a hash: positions, members, leases (lua/group.lua)
//	{millrace}::events:tagger        a stream: members came, went, gave and took
//	{millrace}::groups               a set: their names
//	{millrace}::publisher:…          a lane: the last append and its answer, for a day
//	{millrace}::generation           a random name that the first topic brought
//	{millrace}::retention            whose turn it is to delete old records
//
// An entry's fields "key" and "value" are the record's, all others its headers.
// Others may add and read entries (XADD, XRANGE); one without a value has the
// JSON object of its fields as its value.
//
// # Offsets
//
// An offset is the entry's own id, milliseconds and number, in one number. So an
// entry that another client adds has one, times are in the offsets, and seeking
// by time costs nothing. Offsets have gaps; lag is counted by the number of
// entries that a stream ever got, which Redis keeps, as XINFO GROUPS does.
//
// # Calls that may be made twice
//
// When an answer does not come, a call is made again. Appends and settles have
// numbers, and the script knows the last one, so a call that had been executed is
// not executed again; the script of an append even knows what it answered. For
// that the calls come one after the other: a member's settles, and the appends of
// a lane, of which a client has many.
//
// A call that was given up may be under way still. A settle with a lower number
// than the last comes to nothing, and the lane of an append is not used again.
// Where it matters whether a settle took place, before records are polled again,
// the member sends it until there is an answer.
//
// # Groups
//
// Members show by a heartbeat that they are alive. Whoever calls group.lua sees
// to it that dead members are removed and overdue partitions are taken, by the
// server's clock. It adds an event to the group's stream when it has changed
// something; members read that stream together with their partitions, so they
// are woken and need not ask.
//
// A lease is a number that is given out once. A member has another one whenever it
// gained or lost a partition, and each of its partitions keeps the one with which
// it was gained. So there are two fences: a settle of batches is refused when the
// member has lost one of their partitions, even if it got it back; the settle of a
// join, which names its lease, when the member has lost any.
//
// A member gives a partition that another one waits for when nothing of it is open,
// and only while it polls: it tells the script of which partitions something is
// open. The type member describes its goroutines and locks.
//
// # Loss
//
// Redis can lose what it acknowledged: see docs/brokers/redis.md for when. A
// server that comes back empty has another generation, which every script
// checks. That is logged as an error, the topics are made again, groups begin at
// the start, and work goes on. A stream that ends before a group's position is
// reported likewise.
//
// # Reading
//
// Members and readers read with XREAD, which waits at the server when there is
// nothing. When much is coming in, the next read runs while the caller works.
// Memory is bounded by what the caller wants of a batch. The answer is parsed
// here, because the client library makes maps of entries; records share its
// memory.
package redis
