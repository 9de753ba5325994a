// SPDX-License-Identifier: Apache-2.0

package gather

// LimitIndex bounds how many answers that may be amended are remembered.
func (g *Gather) LimitIndex(n int) { g.maxIndexed = n }
