// SPDX-License-Identifier: Apache-2.0

// Package redis is the broker on Redis or Valkey Streams.
package redis
