// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// quietLibraries keeps the Redis client, which has one logger for the whole program,
// from writing a line to stderr for every connection that fails; what matters of it
// is in the broker's log. The driver does not do so: a program that Millrace is a
// part of may want these lines, or have a logger of its own there.
func quietLibraries() { redis.SetLogger(&logging.VoidLogger{}) }
