// SPDX-License-Identifier: Apache-2.0

// Package parity tests that a pipeline is the same on every broker, against real
// servers: the same file gives the same answers, in one process or several; it
// goes on where it was when it is moved from one to another; and programs that
// know nothing of Millrace publish to it and read its answers.
//
// With MILLRACE_PARITY_CSV the messages are the rows of that CSV file, which has
// a column text; with MILLRACE_LONG they are all messages of the example;
// otherwise they are 500 of those. scripts/check.sh runs them without the race
// detector, as several processes with real models take minutes with it.
package parity
