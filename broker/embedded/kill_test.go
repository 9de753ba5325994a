// SPDX-License-Identifier: Apache-2.0

package embedded

// runChild runs what a test has started this binary for, if it has.
func runChild() bool { return false }
