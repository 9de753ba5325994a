// SPDX-License-Identifier: Apache-2.0

package outside

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// example is the program that the documentation shows.
const example = "examples/own-model"

// programs are the example's, built in a module outside the repository.
type programs struct {
	serve    string // its own main
	commands string // Millrace's commands for its models
	fixed    string // these, after a model was taught what it failed on
}

// build copies the example into a module of somebody else's and builds it.
func build(t *testing.T) programs {
	t.Helper()
	m := newModule(t)
	bin := func(name string) string { return filepath.Join(m.dir, "bin", name) }
	copyTo := func(folder, old, new string) {
		for _, path := range []string{"main.go", "commands/main.go", "models/models.go"} {
			text := strings.ReplaceAll(read(t, example+"/"+path), millrace+"/"+example, name+"/"+folder)
			m.write(folder+"/"+path, strings.ReplaceAll(text, old, new))
		}
	}
	copyTo("own", "", "")
	known := `"gold": 0.3`
	if !strings.Contains(read(t, example+"/models/models.go"), known) {
		t.Fatal("the example has changed: teach its model a plan in another way")
	}
	copyTo("fixed", known, known+`, "platinum": 0.6`)
	m.goTool("vet", "./own/...")
	m.goTool("build", quickly, "-o", bin("serve"), "./own")
	m.goTool("build", quickly, "-o", bin("commands"), "./own/commands")
	m.goTool("build", quickly, "-o", bin("fixed"), "./fixed/commands")
	return programs{bin("serve"), bin("commands"), bin("fixed")}
}

func TestAProgramOutsideTheRepositoryRunsItsOwnModelsOnEveryBroker(t *testing.T) {
	t.Parallel()
	beginKafka()
	programs := build(t)
	for broker, url := range map[string]func(*testing.T) string{
		"embedded": func(*testing.T) string { return "embedded" },
		"redis":    func(t *testing.T) string { return redis.Start(t, redis.Options{}).URL() },
		"kafka":    onKafka,
	} {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			d := desk{t, t.TempDir(), []string{"BROKER=" + url(t), "LISTEN=127.0.0.1:0"}}
			module{t, d.dir}.write("pipeline.yaml", read(t, example+"/pipeline.yaml"))
			d.fails(programs)
			d.heals(programs)
		})
	}
}

// fails runs the program: tickets are answered, but for one that its model fails
// on, which becomes a dead letter.
func (d desk) fails(p programs) {
	d.Helper()
	if got := d.call(p.commands, "lint", "pipeline.yaml"); !strings.Contains(got, "no problems: 2 services, 1 gather") {
		d.Errorf("lint prints %s", got)
	}
	s := d.start(p.serve)
	s.publish("tickets",
		`{"customer":"ann","plan":"gold","text":"it burns!"}`,
		`{"customer":"bob","plan":"platinum","text":"it burns!"}`,
		`{"customer":"eve","plan":"free","text":"how are you?"}`)
	for _, a := range s.answers("3") {
		urgency, reply := a.Parts["urgency"], a.Parts["reply"]
		want := map[string]string{
			"ann": `complete ok {"score":0.55,"now":true} "Dear ann, we look into it."`,
			"bob": `partial failed null "Dear bob, we look into it."`,
			"eve": `complete ok {"score":0,"now":false} "Dear eve, we look into it."`,
		}[a.Source.Customer]
		if got := fmt.Sprintf("%s %s %s %s", a.Status, urgency.Status, valueOf(urgency.Value), reply.Value); got != want || a.Revision != 1 {
			d.Errorf("revision %d for %s: %s, want %s", a.Revision, a.Source.Customer, got, want)
		}
	}
	s.get("/healthz")
	s.get("/readyz")
	for _, line := range []string{
		`millrace_records_total{service="urgency"} 3`, `millrace_dead_letters_total{service="urgency"} 1`, `millrace_dead_letters_total{service="reply"} 0`,
	} {
		if got := s.get("/metrics"); !strings.Contains(got, line+"\n") {
			d.Errorf("the metrics lack %s:\n%s", line, got)
		}
	}
	// Another process finds what the running one keeps.
	if l := d.letters(p.commands); len(l) != 1 || l[0].State != deadletter.Open || l[0].Error != `there is no plan "platinum"` || l[0].Attempts != 1 {
		d.Errorf("the dead letters are %+v", l)
	}
	s.stop()
}

// heals has the model that has learned answer the dead letter, once, and the
// gather amend its answer.
func (d desk) heals(p programs) {
	d.Helper()
	for _, want := range []string{`"letters": 1`, "[]"} {
		if got := d.call(p.fixed, "dead", "retry", "urgency", "-p", "pipeline.yaml", "--yes", "--output", "json"); !strings.Contains(got, want) {
			d.Errorf("retry prints %s, want %s", got, want)
		}
	}
	if l := d.letters(p.fixed, "--all"); len(l) != 1 || l[0].State != deadletter.Retried {
		d.Errorf("the dead letters are %+v", l)
	}
	s := d.start(p.fixed, "run", "pipeline.yaml", "--listen", "127.0.0.1:0")
	all := s.answers("4")
	i := slices.IndexFunc(all, func(a answer) bool { return a.Revision == 2 })
	if i < 0 {
		d.Fatalf("no answer is amended: %+v", all)
	}
	if a := all[i]; a.Source.Customer != "bob" || a.Status != "complete" || string(a.Parts["urgency"].Value) != `{"score":0.85,"now":true}` {
		d.Errorf("the amended answer is %+v", a)
	}
	s.stop()
}

func valueOf(v json.RawMessage) string {
	if v == nil {
		return "null"
	}
	return string(v)
}

// letters are what the command lists.
func (d desk) letters(program string, flags ...string) []deadletter.Letter {
	d.Helper()
	var letters []deadletter.Letter
	list := d.call(program, append([]string{"dead", "list", "-p", "pipeline.yaml", "--output", "json"}, flags...)...)
	if err := json.Unmarshal([]byte(list), &letters); err != nil {
		d.Fatalf("%v: %s", err, list)
	}
	return letters
}

// TestTheProgramHasAtMostTwentyLines counts those of all functions of main.go but
// for blank ones.
func TestTheProgramHasAtMostTwentyLines(t *testing.T) {
	text := read(t, example+"/main.go")
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "main.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text, "\n")
	n := 0
	for _, d := range file.Decls {
		f, is := d.(*ast.FuncDecl)
		if !is {
			continue
		}
		for _, line := range lines[files.Position(f.Body.Lbrace).Line : files.Position(f.Body.Rbrace).Line-1] {
			if strings.TrimSpace(line) != "" {
				n++
			}
		}
	}
	if n < 5 || n > 20 {
		t.Errorf("the program's functions have %d lines", n)
	}
	if !strings.Contains(read(t, example+"/README.md"), text[strings.Index(text, "func main"):]) {
		t.Error("README.md does not show the program as it is")
	}
}
