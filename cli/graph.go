// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/pipeline/graph"
)

func newGraphCommand(c *console) *cobra.Command {
	var format choice
	var ascii bool
	cmd := &cobra.Command{
		Use:   "graph PIPELINE",
		Short: "Draw a pipeline as text, Mermaid or SVG",
		Long: `Graph draws what a pipeline file describes: topics, the services between them, and
the gathers at the end.`,
		Example: `  millrace graph examples/support-desk/pipeline.yaml
  millrace graph pipeline.yaml --format svg > pipeline.svg`,
		Args:              arguments(1, 1),
		ValidArgsFunction: completePipeline,
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := c.load(args[0])
			if err != nil {
				return err
			}
			g := graph.Of(p)
			switch {
			case c.json():
				return c.printJSON(g)
			case format.value == "mermaid":
				return g.Mermaid(c.out)
			case format.value == "svg":
				return g.SVG(c.out)
			}
			return g.Text(c.out, graph.TextOptions{ASCII: ascii, Width: width(c.out)})
		},
	}
	format.value = "text"
	choose(cmd, &format, false, "format", "draw as", "text", "mermaid", "svg")
	cmd.Flags().BoolVar(&ascii, "ascii", false, "draw text with ASCII characters only")
	return cmd
}
