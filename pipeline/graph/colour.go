// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"fmt"
	"strings"
)

// shade is how a kind of node is painted. Text on fill has a contrast of at
// least 4.5:1, as WCAG 2.2 asks for (success criterion 1.4.3).
type shade struct{ fill, stroke, text string }

type colour struct{ light, dark shade }

var colours = map[Kind]colour{
	Source:  {light: shade{"#0f766e", "#0f766e", "#ffffff"}, dark: shade{"#2dd4bf", "#2dd4bf", "#042f2e"}},
	Topic:   {light: shade{"#e9f7f5", "#5fb3a9", "#134e4a"}, dark: shade{"#10302d", "#2f8f84", "#c9f5ee"}},
	Service: {light: shade{"#eef1ff", "#8a97ea", "#2e2a7c"}, dark: shade{"#20244a", "#7580dd", "#e3e7ff"}},
	Gather:  {light: shade{"#fff4dc", "#dd9b27", "#73350d"}, dark: shade{"#3a2a0e", "#cf9127", "#ffebc2"}},
}

// sheet is what everything else is painted with.
var sheet = struct {
	light, dark struct{ paper, border, ink, faint, line string }
}{
	light: struct{ paper, border, ink, faint, line string }{"#ffffff", "#e3e8ef", "#1b2430", "#586374", "#8b97a8"},
	dark:  struct{ paper, border, ink, faint, line string }{"#12161d", "#2a323e", "#e8edf4", "#9aa7b8", "#66748a"},
}

func styleSheet() string {
	var b strings.Builder
	fmt.Fprintf(&b, "text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;text-anchor:middle}")
	fmt.Fprintf(&b, ".title{font-size:%gpx;font-weight:650;text-anchor:start}.name{font-size:%gpx;font-weight:600}.detail{font-size:%gpx}.small{font-size:%gpx;text-anchor:start}", titleSize, nameSize, smallSize, smallSize)
	b.WriteString(".shape{stroke-width:1.5}.edge{fill:none;stroke-width:1.6}.of{stroke-dasharray:5 4}")
	b.WriteString(shades(false))
	fmt.Fprintf(&b, "@media (prefers-color-scheme:dark){%s}", shades(true))
	return b.String()
}

func shades(dark bool) string {
	s := sheet.light
	if dark {
		s = sheet.dark
	}
	var b strings.Builder
	fmt.Fprintf(&b, ".sheet{fill:%s;stroke:%s}.title{fill:%s}.small{fill:%s}.edge{stroke:%s}.head{fill:%s}", s.paper, s.border, s.ink, s.faint, s.line, s.line)
	for _, k := range []Kind{Source, Topic, Service, Gather} {
		c := colours[k].light
		if dark {
			c = colours[k].dark
		}
		fmt.Fprintf(&b, ".%s .shape{fill:%s;stroke:%s}.%s text{fill:%s}", k, c.fill, c.stroke, k, c.text)
	}
	return b.String()
}
