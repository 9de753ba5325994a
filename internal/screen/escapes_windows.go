// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"os"

	"golang.org/x/sys/windows"
)

// enableEscapes makes the console understand escape sequences.
func enableEscapes(out *os.File) (undo func() error, err error) {
	console := windows.Handle(out.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(console, &mode); err != nil {
		return nil, err
	}
	wanted := mode | windows.ENABLE_PROCESSED_OUTPUT | windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING
	if err := windows.SetConsoleMode(console, wanted); err != nil {
		return nil, err
	}
	return func() error { return windows.SetConsoleMode(console, mode) }, nil
}
