// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDesignNamesEveryPackage looks for each folder of Go files in DESIGN.md: by
// its path, or by that of a folder above it with "/…".
func TestTheDesignNamesEveryPackage(t *testing.T) {
	design, err := os.ReadFile(filepath.Join(root, "DESIGN.md"))
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("git", "ls-files", "*.go")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{".": true}
	for name := range strings.FieldsSeq(string(names)) {
		dir := path.Dir(name)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := os.Stat(filepath.Join(root, name)); err == nil && !mentions(string(design), dir) {
			t.Errorf("DESIGN.md does not say what %s is", dir)
		}
	}
	if len(seen) < 40 {
		t.Errorf("there are only %d packages", len(seen))
	}
}

// mentions reports whether a page names a folder.
func mentions(page, dir string) bool {
	if strings.Contains(page, "`"+dir+"`") {
		return true
	}
	for ; dir != "."; dir = path.Dir(dir) {
		if strings.Contains(page, "`"+dir+"/…`") {
			return true
		}
	}
	return false
}
