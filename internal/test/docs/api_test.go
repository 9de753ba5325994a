// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestNoPublicSignatureNamesAnInternalType looks at every exported declaration of
// every package that others can import: what it names of an internal package they
// could not write down.
func TestNoPublicSignatureNamesAnInternalType(t *testing.T) {
	looked := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "internal" || e.Name() == "testdata" || e.Name() == "cmd" || strings.HasPrefix(e.Name(), ".") && path != root):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			looked++
			return exported(t, path)
		}
		return nil
	})
	if err != nil || looked < 100 {
		t.Errorf("%d files: %v", looked, err)
	}
}

// exported looks at the exported declarations of a file.
func exported(t *testing.T, path string) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	internal := map[string]string{} // by the name that the file uses
	for _, i := range file.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return err
		}
		name := imported[strings.LastIndex(imported, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		if strings.Contains(imported+"/", "/internal/") {
			internal[name] = imported
		}
	}
	ast.FileExports(file) // leaves exported declarations, with their exported fields
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt, *ast.ImportSpec:
			return false
		case *ast.ValueSpec:
			n.Values = nil // their type is seen by the compiler only
		case *ast.SelectorExpr:
			if x, is := n.X.(*ast.Ident); is && internal[x.Name] != "" {
				t.Errorf("%s names %s.%s of %s", files.Position(n.Pos()), x.Name, n.Sel.Name, internal[x.Name])
			}
		}
		return true
	})
	return nil
}
