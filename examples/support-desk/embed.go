// SPDX-License-Identifier: Apache-2.0

// Package supportdesk is the example as it comes with the program, for the demo
// and the measurements.
package supportdesk

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed *.yaml training*.jsonl
var files embed.FS

// Tickets are the sample messages, one JSON object a line.
//
//go:embed tickets.jsonl
var Tickets []byte

// Write writes the pipeline and what it refers to into a directory, and returns
// the pipeline file's path.
func Write(dir string) (string, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return "", fmt.Errorf("write the example: %w", err)
	}
	for _, entry := range entries {
		data, err := files.ReadFile(entry.Name())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, entry.Name()), data, 0o600)
		}
		if err != nil {
			return "", fmt.Errorf("write the example: %w", err)
		}
	}
	return filepath.Join(dir, "pipeline.yaml"), nil
}
