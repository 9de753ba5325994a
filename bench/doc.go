// SPDX-License-Identifier: Apache-2.0

// Package peers measures Millrace's settle loop on real Kafka and Redis servers
// beside what else one would write: a loop directly with the client, and
// Watermill's adapter.
//
// It is a module of its own, so that Millrace does not depend on what it is
// compared with. "make bench-brokers" prints the table.
package peers
