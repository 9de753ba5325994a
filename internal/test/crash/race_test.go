// SPDX-License-Identifier: Apache-2.0

//go:build race

package crash

// The race detector makes the program, which is this binary, many times slower.
const defaultKills, defaultMessages = 5, 5_000
