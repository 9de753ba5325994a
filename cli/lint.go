// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/model/gomodel"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/report"
)

func newLintCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "lint PIPELINE...",
		Short: "Find what is wrong with pipeline files",
		Long: `Lint reads pipeline files as run does, loads their models, and prints all that is
wrong, each problem with its line and the likely fix. Nothing is run or written.
Of a model that another program brings, {go: NAME}, it says so. The exit code is
2 if a file has errors; warnings and notes alone leave it 0.`,
		Example: `  millrace lint examples/support-desk/pipeline.yaml
  millrace lint --output json pipelines/*.yaml`,
		Args: arguments(1, -1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.lint(cmd.Context(), args) },
	}
}

func (c *console) lint(ctx context.Context, files []string) error {
	all := pipeline.Problems{} // not nil: JSON has a list
	var sound []string
	for _, file := range files {
		p, problems, err := pipeline.CheckFile(file, c.kinds())
		if err != nil {
			return usage("", "%w", err)
		}
		if problems.Errors() == 0 {
			problems = append(problems, c.loadModels(ctx, p)...)
		}
		if len(problems.Of(pipeline.Error, pipeline.Warning)) == 0 {
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
	if err := report.Write(c.out, all, c.colour(c.out)); err != nil {
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
func (c *console) loadModels(ctx context.Context, p *pipeline.Pipeline) pipeline.Problems {
	var problems pipeline.Problems
	for _, name := range p.Order() {
		if m := p.Services[name].Model; m.Kind == gomodel.Name && len(c.models) == 0 {
			continue // the program that brings it makes it
		}
		if _, err := c.models.Make(ctx, p, name, nil); err != nil {
			problems = append(problems, p.ModelProblem(name, err))
		}
	}
	return problems
}
