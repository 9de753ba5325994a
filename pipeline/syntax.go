// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"strings"
	"unicode/utf8"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits that keep a hostile file from costing more than a moment: the parser
// needs time that grows with the square of keys in a mapping and of the depth,
// and a stack that grows with the depth; aliases multiply nodes.
const (
	maxTokens = 20_000
	maxDepth  = 64
	maxIndent = 512 // columns; each level of a block is indented further
	maxNodes  = 50_000
)

// parseYAML returns the root of the file's only document. When it is nil, why
// has been reported.
func parseYAML(r *report, data []byte) (root ast.Node) {
	// The parser has been seen to panic on inputs that fuzzers found.
	defer func() {
		if recover() != nil {
			r.errorf(spot{line: 1, column: 1}, "check the indentation, brackets and quotes", "this is not YAML")
			root = nil
		}
	}()
	if len(data) > MaxFileBytes {
		r.errorf(spot{}, "is it a pipeline file?", "the file is larger than %s", Size(MaxFileBytes))
		return nil
	}
	if at, ok := invalidUTF8(data); ok {
		r.errorf(at, "save the file as UTF-8", "the file is not UTF-8 text")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if !affordable(r, tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		reportSyntax(r, err)
		return nil
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType && d.Body.Type() != ast.NullType {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		r.errorf(spot{line: 1, column: 1}, "begin with: name: my-pipeline", "the file is empty")
		return nil
	case 1:
		return docs[0]
	}
	r.errorf(spotOf(docs[1]), "keep one pipeline in a file", "a second document begins here")
	return nil
}

// affordable reports files that would cost too much to parse. It bounds the
// depth from above: by open brackets, and by what can nest within a line.
func affordable(r *report, tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.errorf(spot{}, "is it a pipeline file?", "the file has more than %d words and signs", maxTokens)
		return false
	}
	open, inLine, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, inLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			open++
		case token.MappingEndType, token.SequenceEndType:
			open = max(0, open-1)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			if open == 0 {
				inLine++
			}
		}
		indented := startsLine(t) && t.Position.Column > maxIndent && t.Type != token.CommentType
		if open > maxDepth || inLine > maxDepth || indented {
			r.errorf(spot{line: t.Position.Line, column: t.Position.Column}, "", "this is nested too deeply")
			return false
		}
	}
	return true
}

func startsLine(t *token.Token) bool {
	return t.Prev == nil || t.Prev.Position.Line != t.Position.Line
}

func invalidUTF8(data []byte) (spot, bool) {
	if utf8.Valid(data) {
		return spot{}, false
	}
	at := spot{line: 1, column: 1}
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		if c == utf8.RuneError && n == 1 {
			break
		}
		at.column++
		if c == '\n' {
			at = spot{line: at.line + 1, column: 1}
		}
		data = data[n:]
	}
	return at, true
}

func reportSyntax(r *report, err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) || syntax.GetToken() == nil {
		r.errorf(spot{line: 1, column: 1}, "check the indentation, brackets and quotes", "this is not YAML: %s", firstLine(err.Error()))
		return
	}
	t := syntax.GetToken()
	at := spot{line: t.Position.Line, column: t.Position.Column}
	hint := "check the indentation, brackets and quotes here and in the line before"
	if at.line > 0 && at.line <= len(r.src.lines) {
		switch line := r.src.lines[at.line-1]; {
		case strings.Contains(line, "${"):
			hint = `within braces or brackets a variable needs quotes: "${VAR}"`
		case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
			hint = "indent with blanks, not with tabs"
		}
	}
	r.errorf(at, hint, "this is not YAML: %s", firstLine(syntax.GetMessage()))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// spotOf is where a node begins. (The token of a block mapping is its first
// colon, that of a pair its own.)
func spotOf(n ast.Node) spot {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return spotOf(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return spotOf(n.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return spot{line: t.Position.Line, column: t.Position.Column}
	}
	return spot{line: 1, column: 1}
}

// pairs returns the entries of a mapping.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// keyText is a mapping key as the file writes it.
func keyText(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.MappingKeyNode:
		if n.Value != nil {
			return keyText(n.Value)
		}
	case *ast.MergeKeyNode:
		return "", errors.New("merge keys (<<) are not understood; use an alias for the whole value")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, nil
	}
	return "", errors.New("a key must be a plain word")
}

// kindOf says what a node is, for messages.
func kindOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.StringNode:
		return quote(n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	}
	what, article := strings.ToLower(n.Type().String()), "a"
	if strings.ContainsRune("aeiou", rune(what[0])) {
		article = "an"
	}
	return article + " " + what
}
