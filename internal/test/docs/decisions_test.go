// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEachDecisionHasItsOwnNumber(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs/adr/[0-9]*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	index, err := os.ReadFile(filepath.Join(root, "docs/adr/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		name := filepath.Base(file)
		if number := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(name, number) {
			t.Errorf("%s stands where %s is expected", name, number)
		}
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		title, _, _ := strings.Cut(string(page), "\n")
		number, _, _ := strings.Cut(strings.TrimPrefix(title, "# "), ".")
		if fmt.Sprintf("%04s", number) != name[:4] {
			t.Errorf("%s calls itself %q", name, title)
		}
		if entry := "[" + strings.TrimPrefix(title, "# ") + "](" + name + ")"; !strings.Contains(string(index), entry) {
			t.Errorf("the index lacks %s", entry)
		}
	}
}
