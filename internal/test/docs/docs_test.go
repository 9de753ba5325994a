// SPDX-License-Identifier: Apache-2.0

// Package docs checks that the documentation tells the truth: every shell block
// of the README and the pages is run, every Go block is compiled, every YAML block
// is linted, samples are those of a real run, every link leads somewhere, the
// design names every package, and decisions are numbered and listed.
package docs

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../.."

// block is a fenced block of a page. Its info string is the language, and perhaps
// the name of the file that the reader is to write: "go main.go".
type block struct {
	page, language, file string
	line                 int
	text                 string
}

func pages(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	for _, dir := range []string{"docs", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".md") {
				rel, _ := filepath.Rel(root, path)
				pages = append(pages, rel)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

func blocks(t *testing.T, page string) []block {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	var in *block
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch fence, language, _ := strings.Cut(strings.TrimSpace(line), "```"); {
		case !strings.HasPrefix(strings.TrimSpace(line), "```") || fence != "":
			if in != nil {
				in.text += line + "\n"
			}
		case in == nil:
			language, file, _ := strings.Cut(language, " ")
			in = &block{page: page, language: language, file: file, line: n}
		default:
			all = append(all, *in)
			in = nil
		}
	}
	if in != nil {
		t.Errorf("%s:%d: the block is not closed", page, in.line)
	}
	return all
}
