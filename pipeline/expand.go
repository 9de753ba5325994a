// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"
)

// expand replaces ${VAR} and ${VAR:-default} in a scalar; $${ stands for ${.
// A default is taken when the variable is missing or empty, as in a shell. It
// may not contain a closing brace. What was put in is not looked at again.
//
// It returns whether there was a variable, and what is wrong: names of missing
// variables or bad syntax, each with a hint.
func expand(s string, env func(string) (string, bool)) (text string, variable bool, wrong []expandError) {
	if !strings.Contains(s, "${") {
		return s, false, nil
	}
	var b strings.Builder
	for s != "" {
		if strings.HasPrefix(s, "$${") {
			b.WriteString("${")
			s = s[3:]
			continue
		}
		if !strings.HasPrefix(s, "${") {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		inner, rest, closed := strings.Cut(s[2:], "}")
		if !closed {
			wrong = append(wrong, expandError{"${ is not closed by }", "write $${ for a plain ${"})
			break
		}
		s = rest
		name, fallback, hasFallback := strings.Cut(inner, ":-")
		if !validVariable(name) {
			wrong = append(wrong, expandError{
				fmt.Sprintf("%s is not a variable's name", quote("${"+inner+"}")),
				"write ${VAR} or ${VAR:-default}, and $${ for a plain ${",
			})
			continue
		}
		variable = true
		value, set := env(name)
		switch {
		case hasFallback && value == "":
			value = fallback
		case !set:
			wrong = append(wrong, expandError{
				fmt.Sprintf("variable %s is not set", name),
				fmt.Sprintf("set it in the environment, or give a default: ${%s:-…}", name),
			})
		}
		b.WriteString(value)
	}
	return b.String(), variable, wrong
}

type expandError struct{ message, hint string }

func validVariable(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && len(name) <= 200
}
