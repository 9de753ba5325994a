// SPDX-License-Identifier: Apache-2.0

package outside

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// public are the packages that others can import, by the folder in the
// repository; the root's is ".".
func public(t *testing.T) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Name}} {{.ImportPath}}", "./...")
	list.Dir = "../../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for line := range strings.Lines(string(out)) {
		name, importPath, _ := strings.Cut(strings.TrimSpace(line), " ")
		folder := path.Clean("./" + strings.TrimPrefix(importPath, millrace))
		if name != "main" && !strings.Contains(folder+"/", "internal/") && !strings.HasPrefix(folder, "examples/") {
			folders = append(folders, folder)
		}
	}
	if len(folders) < 30 {
		t.Errorf("only %d packages are public: %v", len(folders), folders)
	}
	return folders
}

// prints is what an example says of its output that needs a server, which only
// this test gives it.
const prints = "// Prints: "

// TestEveryPublicPackageHasARunnableExample finds those whose example_test.go has
// none, or that none of which says what it prints.
func TestEveryPublicPackageHasARunnableExample(t *testing.T) {
	for _, folder := range public(t) {
		file := folder + "/example_test.go"
		text, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil {
			t.Errorf("package %s has no example: write %s", folder, file)
			continue
		}
		all := examplesOf(t, file, string(text))
		runs := 0
		for _, e := range all {
			if e.Output != "" || strings.Contains(string(text), prints) {
				runs++
			}
		}
		if len(all) == 0 || runs == 0 && folder != "broker/brokertest" { // it needs a test
			t.Errorf("%s: %d of %d examples say what they print", file, runs, len(all))
		}
	}
}

// examplesOf are the examples of a file, which has to be of an external test.
func examplesOf(t *testing.T, name, text string) []*doc.Example {
	t.Helper()
	file := parse(t, name, text)
	if !strings.HasSuffix(file.Name.Name, "_test") {
		t.Errorf("%s is of package %s: others see package %[2]s_test", name, file.Name.Name)
	}
	return doc.Examples(file)
}

func parse(t *testing.T, name, text string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var localServer = regexp.MustCompile(`(redis|kafka)://127\.0\.0\.1:\d+`)

// TestTheExamplesRunOutsideTheRepository makes packages of the examples in somebody
// else's module and runs all of them as one test, whose linking is what takes time.
func TestTheExamplesRunOutsideTheRepository(t *testing.T) {
	t.Parallel()
	m := newModule(t)
	beginKafka()
	servers := map[string]string{"redis": redis.Start(t, redis.Options{}).URL(), "kafka": onKafka(t)}
	// One of them reads a file of the repository's, which it names in its own folder.
	if err := os.CopyFS(filepath.Join(m.dir, "examples/support-desk"), os.DirFS("../../../examples/support-desk")); err != nil {
		t.Fatal(err)
	}
	var imports, table strings.Builder
	ran := 0
	for i, folder := range public(t) {
		text := read(t, folder+"/example_test.go")
		if strings.Contains(text, prints) {
			text = localServer.ReplaceAllStringFunc(text, func(url string) string { return servers[url[:5]] })
			text = strings.ReplaceAll(text, prints, "// Output: ")
		}
		pkg := fmt.Sprintf("p%d", i)
		m.write("examples/"+pkg+"/example.go", text)
		uses := "_"
		for _, e := range examplesOf(t, folder, text) {
			if e.Output == "" && !e.EmptyOutput {
				continue // compiling it is all
			}
			uses = pkg
			ran++
			fmt.Fprintf(&table, "\t{Name: %q, F: %s.Example%s, Output: %q, Unordered: %v},\n", folder+" Example"+e.Name, pkg, e.Name, e.Output, e.Unordered)
		}
		fmt.Fprintf(&imports, "\t%s %q\n", uses, name+"/examples/"+pkg)
	}
	m.write("examples/examples_test.go", `package examples

import (
	"flag"
	"os"
	"testing"

`+imports.String()+`)

func TestMain(*testing.M) {
	flag.Parse() // as M.Run does
	if !testing.RunExamples(func(string, string) (bool, error) { return true, nil }, examples) {
		os.Exit(1)
	}
}

var examples = []testing.InternalExample{
`+table.String()+"}\n")
	out := m.goTool("test", "-v", "-vet=off", quickly, "./examples")
	if n := strings.Count(out, "--- PASS: "); n != ran || ran < 30 {
		t.Errorf("%d of %d examples ran:\n%s", n, ran, out)
	}
}
