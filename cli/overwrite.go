// SPDX-License-Identifier: Apache-2.0

package cli

import "os"

// checkApart refuses to write a file that the command reads, under whatever names:
// opening it for writing would empty it before it is read. "-" stands for standard
// output and input. It is called before anything is opened for writing or made.
func (c *console) checkApart(written string, read ...string) error {
	to := fileInfo(written, c.out)
	if to == nil || !to.Mode().IsRegular() {
		return nil // there is nothing to lose in a new file, a terminal or a pipe
	}
	for _, name := range read {
		if from := fileInfo(name, c.in); from != nil && os.SameFile(from, to) {
			return usage("write to another file", "%s would be written over %s, which is read: both are the same file",
				called(written, "standard output"), called(name, "standard input"))
		}
	}
	return nil
}

// called is what a file is called in messages.
func called(name, standard string) string {
	if name == "-" {
		return standard
	}
	return name
}

// fileInfo is about a file, or for "-" about the standard stream if that is a file.
// It is nil for what is not there or cannot be looked at: opening it says why.
func fileInfo(name string, standard any) os.FileInfo {
	if name != "-" {
		info, err := os.Stat(name)
		if err != nil {
			return nil
		}
		return info
	}
	f, is := standard.(*os.File)
	if !is {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	return info
}
