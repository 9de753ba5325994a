// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/model/gomodel"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/report"
)

// load reads a pipeline file. Warnings are printed; the error is one of usage.
func (c *console) load(file string) (*pipeline.Pipeline, error) {
	p, problems, err := pipeline.CheckFile(file, c.kinds())
	if err != nil {
		return nil, usage("name a pipeline file, such as examples/support-desk/pipeline.yaml", "%v", err)
	}
	if problems.Errors() > 0 {
		return nil, problems
	}
	return p, report.Write(c.err, problems.Of(pipeline.Warning), c.colour(c.err))
}

// kinds says which kinds of model there are, and which models this program has.
func (c *console) kinds() pipeline.Option { return pipeline.WithKinds(c.models.Kinds()...) }

// loadToRun is load for a command that runs the services and gathers named, or
// all when none is. This program has to have their models.
func (c *console) loadToRun(file string, only []string) (*pipeline.Pipeline, error) {
	p, err := c.load(file)
	if err != nil {
		return nil, err
	}
	if err := knownServices(p, only); err != nil {
		return nil, err
	}
	for _, name := range p.Order() {
		m := p.Services[name].Model
		if m.Kind != gomodel.Name || c.models[m.Argument] != nil || len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		return nil, usage(fmt.Sprintf("run the file with the Go program that has %q in its millrace.Models, or run other services here with --only", m.Argument),
			"service %s: model %s comes from Go, and this program does not bring it", name, m.Argument)
	}
	return p, nil
}

// summarize counts problems: "pipeline.yaml has 2 errors".
func summarize(problems pipeline.Problems) error {
	s := plural(problems.Errors(), "error")
	if n := problems.Warnings(); n > 0 {
		s += " and " + plural(n, "warning")
	}
	if len(problems) > 0 && problems[0].File != "" {
		s = problems[0].File + " has " + s
	}
	return errors.New(s)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// completePipeline completes the first argument with YAML files.
func completePipeline(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeServices completes a list of the services and gathers of the pipeline
// file that is the first argument.
func completeServices(_ *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	p, err := pipeline.Load(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := word[:strings.LastIndexByte(word, ',')+1]
	var words []cobra.Completion
	for _, name := range append(p.Order(), p.Gathers()...) {
		words = append(words, before+name)
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
