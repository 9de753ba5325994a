// SPDX-License-Identifier: Apache-2.0

// Package outside tests that Millrace is a library: a module in a folder outside
// the repository builds and runs the example with models of its own, on every
// broker, and the examples of every public package. So what is public can be used
// without what is internal, and a program compiles no driver that it does not name.
package outside
