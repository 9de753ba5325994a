// SPDX-License-Identifier: Apache-2.0

// Package redis is the broker on Redis or Valkey Streams, version 7.0 or newer.
//
// The one idea: a settle is one Lua script. It checks that the member still has
// its lease and that the group is where the member left it, adds the results,
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
//	{millrace}::publisher:…          the last call of a publisher, for a day
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
// When an answer does not come, a call is made again. A publisher and a member
// number their calls, and the script knows the last number, so a call that had
// been executed is not executed again. A member that does not know what became
// of a settle takes another lease before it goes on: what is still under way is
// refused then.
//
// # Groups
//
// Members show by a heartbeat that they are alive. Whoever calls group.lua sees
// to it that dead members are removed and overdue partitions are taken, by the
// server's clock. It adds an event to the group's stream when it has changed
// something; members read that stream together with their partitions, so they
// are woken and need not ask. A lease is a fencing token for all that a member
// owns: it is replaced when the member gains or loses a partition.
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
