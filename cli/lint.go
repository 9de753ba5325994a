// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/pipeline"
)

func newLintCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "lint PIPELINE...",
		Short: "Find what is wrong with pipeline files",
		Long: `Lint reads pipeline files as run does, loads their models, and prints all that is
wrong, each problem with its line and the likely fix. Nothing is run or written.
The exit code is 2 if a file has errors; warnings alone leave it 0.`,
		Example: `  millrace lint examples/support-desk/pipeline.yaml
  millrace lint --output json pipelines/*.yaml`,
		Args: arguments(1, -1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.lint(args) },
	}
}

func (c *console) lint(files []string) error {
	all := pipeline.Problems{} // not nil: JSON has a list
	var sound []string
	for _, file := range files {
		p, problems, err := pipeline.CheckFile(file, pipeline.Known{Builtins: builtin.Names()})
		if err != nil {
			return usage("", "%w", err)
		}
		if problems.Errors() == 0 {
			problems = append(problems, loadModels(file, p)...)
		}
		if len(problems) == 0 {
			sound = append(sound, fmt.Sprintf("%s: no problems: %s, %s", file, plural(len(p.Services), "service"), plural(len(p.Gather), "gather")))
		}
		all = append(all, problems...)
	}
	if err := c.printProblems(all, sound); err != nil {
		return err
	}
	if n := all.Errors(); n > 0 {
		return usage("", "%s in %s", plural(n, "error"), plural(len(files), "file"))
	}
	return nil
}

func (c *console) printProblems(all pipeline.Problems, sound []string) error {
	if c.json() {
		return c.printJSON(all)
	}
	if err := all.Print(c.out, c.colour(c.out)); err != nil {
		return err
	}
	for _, line := range sound {
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	return nil
}

// loadModels finds models that cannot be made of their options.
func loadModels(file string, p *pipeline.Pipeline) pipeline.Problems {
	var problems pipeline.Problems
	for _, name := range p.Order() {
		m := p.Services[name].Model
		if _, err := builtin.New(m.Builtin, m.Options, p.Dir); err != nil {
			problems = append(problems, pipeline.Problem{
				File: filepath.ToSlash(file), Severity: pipeline.Error,
				Message: fmt.Sprintf("service %s: %v", name, err),
			})
		}
	}
	return problems
}
