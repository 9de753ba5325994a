// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	yaml "github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"
)

const root = "../../../"

func TestTheCommittedSchemaIsFresh(t *testing.T) {
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(root + "docs/pipeline.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/pipeline.schema.json is not what the types say; run: go generate ./pipeline")
	}
}

func TestTheSchemaAcceptsGoodFiles(t *testing.T) {
	schema := resolve(t)
	for _, pattern := range []string{root + "examples/*/pipeline.yaml", "../../testdata/good/*.yaml"} {
		for _, file := range glob(t, pattern) {
			if err := schema.Validate(decode(t, file)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// The first line of each bad file says what a schema can find in it.
func TestTheSchemaRejectsWhatItCan(t *testing.T) {
	schema := resolve(t)
	for _, file := range glob(t, "../../testdata/bad/*.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(data), "\n")
		switch expect := strings.TrimPrefix(line, "# schema: "); expect {
		case "rejects":
			if schema.Validate(decode(t, file)) == nil {
				t.Errorf("%s: the schema accepts it", file)
			}
		case "accepts":
			if err := schema.Validate(decode(t, file)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		case "parses not as JSON":
		default:
			t.Errorf("%s: the first line is %q", file, line)
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	s, err := build()
	if err != nil {
		t.Fatal(err)
	}
	var look func(at string, s *jsonschema.Schema)
	look = func(at string, s *jsonschema.Schema) {
		for name, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s has no description", at, name)
			}
			look(at+"."+name, p)
			if p.AdditionalProperties != nil {
				look(at+"."+name+".*", p.AdditionalProperties)
			}
		}
		for _, form := range s.AnyOf {
			look(at, form)
		}
	}
	look("", s)
}

func resolve(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	data, err := os.ReadFile(root + "docs/pipeline.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// decode reads YAML as the values that JSON has.
func decode(t *testing.T, file string) any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var v any
	if err := json.Unmarshal(asJSON, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s (%v)", pattern, err)
	}
	return files
}
