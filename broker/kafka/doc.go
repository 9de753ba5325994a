// SPDX-License-Identifier: Apache-2.0

// Package kafka implements the broker contract on Apache Kafka and on what
// speaks its protocol.
//
// The one idea: a settle is one Kafka transaction that holds the results and
// the group's positions, and the group's coordinator checks the member's
// generation when it takes the positions. So both happen or neither, and a
// member that lost its partitions cannot settle (KIP-98, KIP-447). Everything
// reads committed records only.
//
// Where the files stand:
//
//	kafka.go      Open, Close and what all calls share
//	options.go    the URL, secrets, clients
//	topics.go     topics and their settings
//	metadata.go   which topics there are and who leads their partitions
//	append.go     Append
//	offsets.go    ends, positions as offsets
//	fetch.go      reading a range without a group
//	read.go       Read
//	groups.go     Groups, Lag, Seek, Join
//	member.go     membership of a group: joining, heartbeats, rebalances
//	shares.go     what a member owns, gains and lets go
//	balance.go    which member gets which partition
//	queue.go      records that were fetched and are not settled
//	consumer.go   Poll, Rewind, Close
//	settle.go     Settle
//	transactions.go which settle is carried out by whom, and again
//	producer.go   a transaction on the wire
//	errors.go     which errors heal
//
// Not obvious:
//
//   - The membership is Kafka's classic group protocol, spoken by this package
//     itself, cooperatively: members keep what they keep through a rebalance,
//     open batches or not, and only a partition that moves waits for its owner's
//     batches. Kafka does not know that two topics belong together; the members'
//     leader does, see balance.go.
//   - Three goroutines work on a consumer: the membership's, the caller's of Poll,
//     and the one that carries out a settle, which outlives its caller. They share
//     [member]'s mutex and nothing else; see there for what it guards, and for the
//     states of a share, and [settling] for those of a settle.
//   - A settle is about shares, not about the member: it goes on in a new
//     generation, and when another share was lost. The coordinator checks the
//     member only, so a share is not let go while a settle of it is under way.
//   - Transaction markers take offsets. Positions and lags skip them: a group
//     that has settled the last record has a lag of 0.
//   - A transaction is decided before its marker is in every partition. Reading
//     to the end therefore waits for transactions that began before the call; so
//     who sees a group's position sees the results too. What a killed member left
//     open takes until its time is over.
package kafka
