// SPDX-License-Identifier: Apache-2.0

// Command genschema writes the JSON Schema of pipeline files, made from the
// types of package pipeline and their tags:
//
//	go run ./pipeline/internal/genschema -o docs/pipeline.schema.json
//
// Editors use it to complete and check a file while it is written. What a
// schema cannot say (who writes a topic, cycles, …) only millrace lint finds.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "docs/pipeline.schema.json", "the file to write")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "genschema:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	data, err := generate()
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, data, 0o644); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	return nil
}
