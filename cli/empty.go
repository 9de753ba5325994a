// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// checkEmpty refuses arguments and flags that are given and empty, for all commands.
// They come of variables that a script has not set, and would mean what leaving them
// out does: another directory, all letters, no copy.
func checkEmpty(cmd *cobra.Command, args []string) error {
	if cmd.Name() == cobra.ShellCompRequestCmd {
		return nil // the word to complete may be empty
	}
	const hint = "give it a value, or leave it out; if it is a variable of the shell, it is not set"
	if i := slices.Index(args, ""); i >= 0 {
		return usage(hint, "%s: argument %d is empty", cmd.Name(), i+1)
	}
	for _, f := range visited(cmd.Flags().Visit) {
		if isEmpty(f.Value) {
			return usage(hint, "%s: --%s is empty", cmd.Name(), f.Name)
		}
	}
	return nil
}

// visited is what a visitor visits: of Flags().Visit the flags that were given.
func visited[T any](visit func(func(T))) []T {
	var all []T
	visit(func(t T) { all = append(all, t) })
	return all
}

// isEmpty reports whether a flag has no value, or a list of values of which one is
// empty.
func isEmpty(value fmt.Stringer) bool {
	list, is := value.(interface{ GetSlice() []string })
	if !is {
		return value.String() == ""
	}
	values := list.GetSlice()
	return len(values) == 0 || slices.Contains(values, "")
}
