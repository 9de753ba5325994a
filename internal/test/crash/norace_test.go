// SPDX-License-Identifier: Apache-2.0

//go:build !race

package crash

const defaultKills, defaultMessages = 20, 50_000
