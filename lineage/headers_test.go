// SPDX-License-Identifier: Apache-2.0

package lineage

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The table of the package documentation is what people read: it names every
// header, and no other.
func TestTheDocumentationNamesEveryHeader(t *testing.T) {
	documented := headersOfTheDocumentation(t)
	declared := headersOfTheSource(t)
	if len(declared) < 10 || !slices.Equal(documented, declared) {
		t.Errorf("documented: %v\ndeclared:   %v", documented, declared)
	}
}

func headersOfTheDocumentation(t *testing.T) []string {
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(f.Doc.Text()) {
		if row, is := strings.CutPrefix(line, "\t"); is && !strings.HasPrefix(row, "header ") {
			names = append(names, strings.Fields(row)[0])
		}
	}
	slices.Sort(names)
	return names
}

// headersOfTheSource are the constants of the first declaration in headers.go.
func headersOfTheSource(t *testing.T) []string {
	f, err := parser.ParseFile(token.NewFileSet(), "headers.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		c, is := d.(*ast.GenDecl)
		if !is || c.Tok != token.CONST {
			continue
		}
		var names []string
		for _, spec := range c.Specs {
			name, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	return nil
}

func TestNamesOfTopicsTellTheirService(t *testing.T) {
	for topic, want := range map[string][2]string{
		DeadTopic("tagger"):         {"tagger", ""},
		DecisionsTopic("tagger"):    {"", "tagger"},
		DeadTopic("tagger.dead"):    {"tagger.dead", ""},
		"tags":                      {"", ""},
		".dead":                     {"", ""},
		".dead.decisions":           {"", ""},
		"tagger.dead.decisions.new": {"", ""},
	} {
		dead, isDead := DeadOf(topic)
		decisions, isDecisions := DecisionsOf(topic)
		if got := [2]string{dead, decisions}; got != want || isDead != (dead != "") || isDecisions != (decisions != "") {
			t.Errorf("%s: dead letters of %q (%v), decisions on those of %q (%v)", topic, dead, isDead, decisions, isDecisions)
		}
	}
	if got := len(DecisionsTopic("tagger")) - len("tagger"); got != MaxEnding || len(DeadTopic("tagger")) > len(DecisionsTopic("tagger")) {
		t.Errorf("the longest ending has %d bytes, MaxEnding is %d", got, MaxEnding)
	}
}

func TestOnlyHeadersOfMillraceAreReserved(t *testing.T) {
	for _, name := range headersOfTheSource(t) {
		own := name != Traceparent && name != SourceID && name != EventTime
		if Reserved(name) != own {
			t.Errorf("Reserved(%s) is %v", name, !own)
		}
	}
}
