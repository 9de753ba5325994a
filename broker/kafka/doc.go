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
//	publish.go    Publish, and where a record goes
//	offsets.go    ends, positions as offsets
//	fetch.go      reading a range without a consumer
//	read.go       Read
//	groups.go     Groups, Lag, Seek, Join
//	member.go     membership of a group: joining, heartbeats, rebalances
//	balance.go    which member gets which partition
//	queue.go      records that were fetched and not yet polled
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
//     open batch or not, and only a partition that moves waits for its owner's
//     batch. Kafka does not know that two topics belong together; the members'
//     leader does, see balance.go.
//   - Transaction markers take offsets. Positions and lags skip them: a group
//     that has settled the last record has a lag of 0.
//   - A transaction is decided before its marker is in every partition. Reading
//     to the end therefore waits for transactions that began before the call; so
//     who sees a group's position sees the results too. What a killed member left
//     open takes until its time is over.
package kafka
