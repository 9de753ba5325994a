// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strings"
)

//go:embed composed.txt
var patterns []byte

// Sentences that say nothing of what a message is about. An empty one is as
// likely as not.
var (
	openings = []string{"hi", "Hello,", "hey", "Good morning,", "Dear Sir or Madam,", "Dear team,", "hi there", "um hi", "yes hello", "so", "hey guys", "Hello Rowan team,"}
	closings = []string{"Regards, Jo", "thanks", "Kind regards", "please advise", "!!!", "Best, M. Weber", ":)", "Sent from my phone", "Thank you", "pls", "🙏", "Yours, Ann Price"}
)

// grammar holds the patterns of composed.txt.
type grammar struct {
	lists    map[string][]string
	patterns []message
}

func readGrammar(content []byte) (*grammar, error) {
	g := &grammar{lists: map[string][]string{}}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, entries, ok := strings.Cut(line, " = "); ok && !strings.Contains(name, " ") {
			g.lists[name] = strings.Split(entries, " ; ")
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("composed.txt, line %d: expected a class, a sentiment and a sentence", n)
		}
		g.patterns = append(g.patterns, message{Class: fields[0], Sentiment: fields[1], Text: fields[2]})
	}
	return g, lines.Err()
}

// compose makes messages of every pattern, the same ones every time.
func (g *grammar) compose(each int, seed uint64) []message {
	random := rand.New(rand.NewPCG(seed, 7))
	var out []message
	for _, p := range g.patterns {
		for range each {
			m := p
			m.Text = dress(random, g.expand(random, p.Text))
			out = append(out, m)
		}
	}
	return out
}

// expand fills the names in braces, of which entries may have some of their own.
func (g *grammar) expand(random *rand.Rand, text string) string {
	for {
		before, rest, ok := strings.Cut(text, "{")
		if !ok {
			return text
		}
		name, after, _ := strings.Cut(rest, "}")
		list := g.lists[name]
		text = before + list[random.IntN(len(list))] + after
	}
}

// dress writes a sentence as people do: in a chat without capitals and marks,
// or as a letter with a greeting.
func dress(random *rand.Rand, text string) string {
	if random.IntN(2) == 0 {
		text = strings.ToUpper(text[:1]) + text[1:]
		if !strings.HasSuffix(text, "?") && !strings.HasSuffix(text, "!") {
			text += "."
		}
	} else if random.IntN(2) == 0 {
		text = strings.NewReplacer("?", "", "!", "", ",", "").Replace(text)
	}
	if random.IntN(3) == 0 {
		text = openings[random.IntN(len(openings))] + " " + text
	}
	if random.IntN(3) == 0 {
		text += " " + closings[random.IntN(len(closings))]
	}
	return text
}
