// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/model/builtin"
)

func built() Pipeline {
	return Pipeline{
		Name:   "desk",
		Topics: map[string]Topic{"tickets": {}},
		Services: map[string]Service{
			"tagger":   {From: Names{"tickets"}, To: "tags", Model: Model{Kind: "builtin", Argument: "tagger"}},
			"keywords": {From: Names{"tags"}, To: "keywords", Model: Model{Kind: "builtin", Argument: "keywords", Options: builtin.KeywordsOptions{Max: 3}}, Batch: Batch{Max: 8}},
			"urgency":  {From: Names{"tickets"}, To: "urgencies", Model: Model{Kind: "go", Argument: "urgency"}, Concurrency: 4},
		},
		Gather: map[string]Gather{"desk": {Of: "tickets", From: []string{"keywords", "urgencies"}, To: "desk"}},
	}
}

func TestAPipelineBuiltInGoIsThatOfItsFile(t *testing.T) {
	p, err := New(built(), known()...)
	if err != nil {
		t.Fatal(err)
	}
	q := parse(t, `
name: desk
topics: {tickets: {}}
services:
  tagger: {from: tickets, to: tags, model: {builtin: tagger}}
  keywords: {from: tags, to: keywords, model: {builtin: keywords, max: 3}, batch: {max: 8}}
  urgency: {from: tickets, to: urgencies, model: {go: urgency}, concurrency: 4}
gather:
  desk: {of: tickets, from: [keywords, urgencies], to: desk}
`)
	q.src, q.Dir = nil, ""
	equal(t, "pipeline", p, q)
	if got := built().Services["tagger"]; got.Concurrency != 0 {
		t.Error("the test's pipeline has defaults")
	}
}

// What was loaded without its kinds has lost its file in New, and could be read
// neither there nor later.
func TestAModelThatWasNotReadIsRefusedByNew(t *testing.T) {
	p, err := Parse("desk.yaml", []byte("name: desk\ntopics: {tickets: {}}\nservices: {tagger: {from: tickets, to: tags, model: {builtin: tagger, field: body}}}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, opts := range [][]Option{nil, known()} {
		got, err := New(*p, opts...)
		if got != nil || err == nil || !strings.Contains(err.Error(), "services.tagger.model was read from a file without knowing its kind") {
			t.Errorf("with %d options: %v", len(opts), err)
		}
		if _, err := p.Resolve(opts...); err != nil {
			t.Errorf("Resolve with %d options: %v", len(opts), err)
		}
	}
}

func TestNodesAreCalledByTheirArticle(t *testing.T) {
	for node, want := range map[ast.Node]string{&ast.AliasNode{}: "an alias", &ast.AnchorNode{}: "an anchor", &ast.TagNode{}: "a tag"} {
		if got := kindOf(node); got != want {
			t.Errorf("it is called %q, want %q", got, want)
		}
	}
}

func TestNewDoesNotChangeWhatItIsGiven(t *testing.T) {
	p := built()
	if _, err := New(p, known()...); err != nil {
		t.Fatal(err)
	}
	equal(t, "what was given", p, built())
}

func TestWhatIsWrongWithAPipelineBuiltInGoIsNamed(t *testing.T) {
	change := func(service string, f func(*Service)) func(*Pipeline) {
		return func(p *Pipeline) {
			s := p.Services[service]
			f(&s)
			p.Services[service] = s
		}
	}
	for want, wrong := range map[string]func(*Pipeline){
		"name: name is missing":                                                             func(p *Pipeline) { p.Name = "" },
		"name: a pipeline cannot be called":                                                 func(p *Pipeline) { p.Name = "a b" },
		"services: services is missing":                                                     func(p *Pipeline) { p.Services = nil },
		"services: there are no services":                                                   func(p *Pipeline) { p.Services = map[string]Service{} },
		"broker: kafka is not a broker":                                                     func(p *Pipeline) { p.Broker = "kafka" },
		"durability: durability cannot be fast":                                             func(p *Pipeline) { p.Durability = "fast" },
		"topics.tickets.partitions must be from 1 to 4096, not -":                           func(p *Pipeline) { p.Topics["tickets"] = Topic{Partitions: -1} },
		"services.tagger.to is missing":                                                     change("tagger", func(s *Service) { s.To = "" }),
		"services.tagger.model is missing":                                                  change("tagger", func(s *Service) { s.Model = Model{} }),
		"services.tagger.model has no argument":                                             change("tagger", func(s *Service) { s.Model.Argument = "" }),
		"services.tagger.concurrency must be from 1 to 4096, not":                           change("tagger", func(s *Service) { s.Concurrency = -3 }),
		"services.tagger.timeout must be more than nothing, not":                            change("tagger", func(s *Service) { s.Timeout = Duration(-time.Second) }),
		"services.tagger.timeout cannot be forever":                                         change("tagger", func(s *Service) { s.Timeout = Forever }),
		"services.tagger.batch.max must be from 1 to 65536, not":                            change("tagger", func(s *Service) { s.Batch.Max = 1 << 20 }),
		"services.tagger.start: later is not a place to start":                              change("tagger", func(s *Service) { s.Start = "later" }),
		"services.tagger.from: service tagger reads topic ticket":                           change("tagger", func(s *Service) { s.From = Names{"ticket"} }),
		"services.tagger.from has an empty item, number 2":                                  change("tagger", func(s *Service) { s.From = Names{"tickets", ""} }),
		"services.tagger.from is missing":                                                   change("tagger", func(s *Service) { s.From = Names{} }),
		"gather.desk.from is missing":                                                       func(p *Pipeline) { p.Gather["desk"] = Gather{Of: "tickets", From: []string{}, To: "desk"} },
		"services.keywords: service keywords and the pipeline's name are too long together": func(p *Pipeline) { p.Name = strings.Repeat("n", 192) },
		"gather.desk: gather desk and the pipeline's name are too long together":            func(p *Pipeline) { p.Name = strings.Repeat("n", 196) },
		"services.tagger.model has no kind; it is one of":                                   change("tagger", func(s *Service) { s.Model.Kind = "" }),
		"there is no builtin model taggr; did you mean tagger?":                             change("tagger", func(s *Service) { s.Model.Argument = "taggr" }),
		"there is no kind of model bultin; did you mean builtin?":                           change("tagger", func(s *Service) { s.Model.Kind = "bultin" }),
		"there is no go model urgncy; did you mean urgency?":                                change("urgency", func(s *Service) { s.Model.Argument = "urgncy" }),
		"services.keywords.model.max must be from 1 to 100, not":                            change("keywords", func(s *Service) { s.Model.Options = &builtin.KeywordsOptions{Max: 200} }),
		"takes options of the type builtin.KeywordsOptions, not ":                           change("keywords", func(s *Service) { s.Model.Options = builtin.TaggerOptions{} }),
		"gather.desk.deadline must be more than nothing": func(p *Pipeline) {
			p.Gather["desk"] = Gather{Of: "tickets", From: []string{"keywords"}, To: "desk", Deadline: -1}
		},
	} {
		p := built()
		wrong(&p)
		got, err := New(p, known()...)
		var problems Problems
		if got != nil || !errors.As(err, &problems) {
			t.Errorf("%s: no error", want)
			continue
		}
		if !slices.ContainsFunc(problems, func(p Problem) bool {
			return strings.Contains(p.String(), want) && p.Line == 0 && p.Path != ""
		}) {
			t.Errorf("want %q, got\n%v", want, err)
		}
	}
}
