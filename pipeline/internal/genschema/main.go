// SPDX-License-Identifier: Apache-2.0

// Command genschema writes what follows from the types of package pipeline, their
// tags, and the kinds of model: the JSON Schema of pipeline files, and the page
// that describes them to people:
//
//	go run ./pipeline/internal/genschema -schema docs/pipeline.schema.json -page docs/pipeline.md
//
// Editors use the schema to complete and check a file while it is written. What a
// schema cannot say (who writes a topic, cycles, …) only millrace lint finds.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	schema := flag.String("schema", "docs/pipeline.schema.json", "where the JSON Schema goes")
	page := flag.String("page", "docs/pipeline.md", "where the page goes")
	flag.Parse()
	if err := write(*schema, generate); err != nil {
		fmt.Fprintln(os.Stderr, "genschema:", err)
		os.Exit(1)
	}
	if err := write(*page, reference); err != nil {
		fmt.Fprintln(os.Stderr, "genschema:", err)
		os.Exit(1)
	}
}

// write puts what is made into a file.
func write(file string, make func() ([]byte, error)) error {
	data, err := make()
	if err != nil {
		return fmt.Errorf("make %s: %w", file, err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
