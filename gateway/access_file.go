// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
)

const (
	maxAccessBytes = 1 << 20
	leastToken     = 16 // bytes of a token
)

// readGrants reads a file of tokens:
//
//	tokens:
//	  - name: shop
//	    sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
//	    rights: [publish]
//	    topics: [tickets]
//
// No error repeats what stands in the file, as it might be a token.
func readGrants(file string) ([]grant, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %w", err)
	}
	if len(data) > maxAccessBytes {
		return nil, fmt.Errorf("read the tokens: %s has more than %d bytes", file, maxAccessBytes)
	}
	grants, err := parseGrants(data)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %s:%w", file, err)
	}
	return grants, nil
}

// fault is an error with the place in the file.
func fault(n ast.Node, format string, args ...any) error {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			n = m.Values[0].Key
		}
	case *ast.MappingValueNode:
		n = m.Key
	}
	p := n.GetToken().Position
	return fmt.Errorf("%d:%d: %s", p.Line, p.Column, fmt.Sprintf(format, args...))
}

func parseGrants(data []byte) (grants []grant, err error) {
	defer func() {
		if recover() != nil { // the parser has been seen to panic
			err = errors.New("1:1: this is not YAML")
		}
	}()
	file, err := yamlparser.ParseBytes(data, 0)
	if err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
			p := e.GetToken().Position
			return nil, fmt.Errorf("%d:%d: this is not YAML, or a field is there twice: check the indentation, brackets and quotes", p.Line, p.Column)
		}
		return nil, errors.New("1:1: this is not YAML")
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, errors.New("1:1: write one document that begins with tokens:")
	}
	root := file.Docs[0].Body
	fields, err := fieldsOf(root, "tokens")
	if err != nil {
		return nil, err
	}
	list, is := fields["tokens"].(*ast.SequenceNode)
	if !is || len(list.Values) == 0 {
		return nil, fault(root, "tokens is a list with at least one entry: - {name: …, sha256: …, rights: […]}")
	}
	for _, n := range list.Values {
		g, err := grantOf(n)
		if err != nil {
			return nil, err
		}
		for i := range grants {
			if grants[i].name == g.name || grants[i].hash == g.hash {
				return nil, fault(n, "entry %d has the name or the token of entry %d", len(grants)+1, i+1)
			}
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// grantOf reads an entry of the list.
func grantOf(n ast.Node) (g grant, err error) {
	fields, err := fieldsOf(n, "name", "token", "sha256", "rights", "topics", "services")
	if err != nil {
		return g, err
	}
	if fields["name"] == nil || fields["rights"] == nil || (fields["token"] == nil) == (fields["sha256"] == nil) {
		return g, fault(n, "an entry has a name, rights, and either token or sha256")
	}
	if g.name, err = wordOf(fields["name"]); err != nil {
		return g, err
	}
	if g.hash, err = hashOf(fields); err != nil {
		return g, err
	}
	rights, err := wordsOf(fields["rights"])
	if err != nil {
		return g, err
	}
	for _, word := range rights {
		if !slices.Contains(allRights, right(word)) {
			return g, fault(fields["rights"], "the rights are publish, read, work and admin")
		}
		g.rights = append(g.rights, right(word))
	}
	for name, into := range map[string]*[]string{"topics": &g.topics, "services": &g.services} {
		if fields[name] == nil {
			continue
		}
		g.limited = true
		if *into, err = wordsOf(fields[name]); err != nil {
			return g, err
		}
	}
	return g, nil
}

// hashOf is that of the token.
func hashOf(fields map[string]ast.Node) (hash [sha256.Size]byte, err error) {
	if n := fields["token"]; n != nil {
		token, err := wordOf(n)
		if err != nil {
			return hash, err
		}
		if len(token) < leastToken || strings.ContainsAny(token, " \t\n") {
			return hash, fault(n, "a token has at least %d characters and no blanks, such as what openssl rand -hex 32 prints", leastToken)
		}
		return sha256.Sum256([]byte(token)), nil
	}
	n := fields["sha256"]
	text, err := wordOf(n)
	if err != nil {
		return hash, err
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(hash) {
		return hash, fault(n, "sha256 has 64 hexadecimal digits, as printf %%s \"$TOKEN\" | sha256sum prints them")
	}
	return [sha256.Size]byte(b), nil
}

// fieldsOf are those of a mapping, all of which must be known.
func fieldsOf(n ast.Node, known ...string) (map[string]ast.Node, error) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		return nil, fault(n, "here stands a mapping with %s", strings.Join(known, ", "))
	}
	fields := map[string]ast.Node{}
	for _, v := range values {
		name := v.Key.GetToken().Value
		if !slices.Contains(known, name) {
			return nil, fault(v.Key, "there is no such field: there are %s", strings.Join(known, ", "))
		}
		if fields[name] != nil {
			return nil, fault(v.Key, "%s is there twice", name)
		}
		fields[name] = v.Value
	}
	return fields, nil
}

// wordOf is a text that is not empty.
func wordOf(n ast.Node) (string, error) {
	text, is := n.(*ast.StringNode)
	if !is || text.Value == "" {
		return "", fault(n, "here stands a text; put it in quotes")
	}
	return text.Value, nil
}

// wordsOf is a list of texts that is not empty.
func wordsOf(n ast.Node) ([]string, error) {
	list, is := n.(*ast.SequenceNode)
	if !is || len(list.Values) == 0 {
		return nil, fault(n, "here stands a list that is not empty, such as [a, b]")
	}
	var words []string
	for _, v := range list.Values {
		word, err := wordOf(v)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	return words, nil
}
