// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"reflect"
	"strings"
	"text/template"
	"time"

	"github.com/millrace-ml/millrace/internal/settings"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
)

// page is the frame of the reference: all but the tables.
//
//go:embed page.md.tmpl
var page string

// section is a table of fields.
type section struct {
	At   string // the path that leads to them, such as "services.NAME"
	Rows []row
}

// row describes a field.
type row struct {
	Path, Type, Default, About, Example string
}

// kind is a kind of model, with the arguments it has.
type kind struct {
	Name, About string
	Models      []options // nil if the kind takes any argument
}

// options are those of the models with an argument.
type options struct {
	Argument      string
	Reads, Writes []string // fields
	Rows          []row
}

// reference makes the page.
func reference() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{"table": table, "code": code}).Parse(page)
	if err != nil {
		return nil, fmt.Errorf("parse the frame of the page: %w", err)
	}
	sections := sectionsOf("", reflect.TypeFor[pipeline.Pipeline]())
	byPath := map[string]section{}
	for _, s := range sections {
		byPath[s.At] = s
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{"Sections": byPath, "Kinds": kindsOf(kinds.All(nil))})
	if err != nil {
		return nil, fmt.Errorf("fill in the page: %w", err)
	}
	return b.Bytes(), nil
}

// sectionsOf are the fields of a struct, and, in sections of their own, those of
// the structs that it has by name.
func sectionsOf(at string, t reflect.Type) []section {
	s := section{At: at}
	var more []section
	for _, f := range settings.Fields(t) {
		of := t.Field(f.Index).Type
		path := strings.TrimPrefix(at+"."+f.Name, ".")
		s.Rows = append(s.Rows, describe(path, f, of))
		switch {
		case of.Kind() == reflect.Map && of.Elem().Kind() == reflect.Struct:
			more = append(more, sectionsOf(path+".NAME", of.Elem())...)
		case of.Kind() == reflect.Struct && of != reflect.TypeFor[pipeline.Model]():
			for _, inner := range settings.Fields(of) {
				s.Rows = append(s.Rows, describe(path+"."+inner.Name, inner, of.Field(inner.Index).Type))
			}
		}
	}
	return append([]section{s}, more...)
}

func kindsOf(all []model.Kind) []kind {
	var list []kind
	for _, k := range all {
		described := kind{Name: k.Name, About: k.About}
		for _, argument := range k.Arguments {
			described.Models = append(described.Models, optionsOf(k, argument))
		}
		list = append(list, described)
	}
	return list
}

func optionsOf(k model.Kind, argument string) options {
	o := options{Argument: argument}
	fresh := k.FreshOptions(argument)
	if fresh != nil {
		settings.Default(reflect.ValueOf(fresh).Elem())
	}
	if k.Shape != nil {
		shape := k.Shape(model.Spec{Argument: argument, Options: fresh})
		o.Reads, o.Writes = shape.Reads, shape.Writes
	}
	if fresh == nil {
		return o
	}
	t := reflect.TypeOf(fresh).Elem()
	for _, f := range settings.Fields(t) {
		o.Rows = append(o.Rows, describe(f.Name, f, t.Field(f.Index).Type))
	}
	return o
}

// describe makes the row of a field. What its description says of the default
// stands with the default.
func describe(path string, f settings.Field, t reflect.Type) row {
	r := row{Path: path, Type: typeOf(f, t), Default: code(f.Default), About: f.About, Example: f.Example}
	about, def, says := strings.Cut(f.About, "Default: ")
	switch {
	case f.Required:
		r.Default = "(required)"
	case says:
		r.About, r.Default = strings.TrimSuffix(strings.TrimSpace(about), "."), def
	case t == reflect.TypeFor[pipeline.Batch]():
		r.Default = code("auto")
	}
	return r
}

// typeOf says what may be written.
func typeOf(f settings.Field, t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[pipeline.Batch]():
		return "`auto`, or mapping"
	case reflect.TypeFor[pipeline.Model]():
		return "[model](#models)"
	case reflect.TypeFor[pipeline.Names]():
		return "name, or list of names"
	case reflect.TypeFor[pipeline.Size]():
		return "size"
	case reflect.TypeFor[pipeline.Duration](), reflect.TypeFor[time.Duration]():
		if f.Forever {
			return "duration, or `forever`"
		}
		return "duration"
	}
	switch t.Kind() {
	case reflect.Int:
		return "whole number" + rangeOf(f)
	case reflect.Float64:
		return "number" + rangeOf(f)
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.Slice:
		return "list of texts"
	case reflect.Map:
		if t.Elem().Kind() == reflect.Struct {
			return "mapping of names"
		}
		return "mapping"
	case reflect.Struct:
		return "mapping"
	}
	return "text"
}

func rangeOf(f settings.Field) string {
	if math.IsInf(f.Min, -1) && math.IsInf(f.Max, 1) {
		return ""
	}
	return " " + f.Range()
}

// table writes rows as a table of Markdown.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| field | type | default | meaning | example |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		for i, cell := range []string{code(r.Path), r.Type, r.Default, r.About, code(r.Example)} {
			if i == 0 {
				b.WriteString("|")
			}
			b.WriteString(" " + strings.ReplaceAll(cell, "|", "\\|") + " |")
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
