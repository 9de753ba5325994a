// SPDX-License-Identifier: Apache-2.0

package settings

import "fmt"

// Option is a field of a struct of options whose zero value means the default: a
// size, or a length of time in nanoseconds.
type Option struct {
	Name  string
	Value int64
}

// NotNegative names the first of the options that is negative. It returns nil when
// none is.
func NotNegative(options ...Option) error {
	for _, o := range options {
		if o.Value < 0 {
			return fmt.Errorf("option %s is negative: give a positive one, or 0 for the default", o.Name)
		}
	}
	return nil
}
