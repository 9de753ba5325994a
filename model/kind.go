// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/internal/settings"
	"github.com/millrace-ml/millrace/internal/spelling"
)

// Kind is a kind of model that a pipeline file can name:
//
//	model: {NAME: ARGUMENT, option: value, …}
//
// A package describes each kind, and the table in package model/kinds lists
// them; whatever else there is to know about a kind (how its options are read
// from YAML, the file's JSON Schema, what millrace lint checks) follows from the
// description. Name and New are required.
type Kind struct {
	// Name is the key that names the kind in the file, such as "builtin".
	Name string

	// About says what the argument is, in a sentence for the reader of a file.
	About string

	// Arguments lists the arguments there are. Nil takes any text.
	Arguments []string

	// Options makes a pointer to a zero struct that holds the options of a model
	// with that argument. Its tags are json (the name; with omitempty it is
	// optional), jsonschema (what it is, in a sentence), default, min, max and
	// example (a value as a file has it, for docs/pipeline.md). Its fields may be string, bool, int, float64, time.Duration, []string,
	// map[string]string, map[string]any, or pointers to the first five where
	// "not said" differs from zero. Nil, or a nil result: there are no options.
	Options func(argument string) any

	// Shape says what a model reads and writes, as far as it is known. Nil: not
	// at all.
	Shape func(Spec) Shape

	// Note says what is to be known about a model that only another program can
	// make: New will fail here. Nil: this program can make all models of the kind.
	Note func(argument string) string

	// New makes the model. The context ends the making only. The argument is one
	// of Arguments, and the options are complete. An error that lies in an option
	// is an [OptionError].
	//
	// A model that is an http.Handler too is served below the service's name.
	New func(context.Context, Spec) (Model, error)
}

// Spec says which model to make.
type Spec struct {
	Argument string
	Options  any          // what Kind.Options makes, filled in; nil when there are none
	Dir      string       // relative paths among the options start here: the pipeline file's folder
	Service  string       // the service that the model is for; may be empty
	Logger   *slog.Logger // never nil in Kind.New; nil means slog.Default() in Kind.Make
}

// Path is a path among the options, found from Dir. Empty stays empty.
func (s Spec) Path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.Dir, name)
}

// Shape says what a model's items and answers look like. Both are names of
// fields of a JSON object. Nil is "anything" and "not known".
type Shape struct {
	Reads  []string // fields that an item needs, unless it is a plain text
	Writes []string // fields that an answer has
}

// OptionError is an error that lies in an option's value.
type OptionError struct {
	Option string // its name
	Err    error
}

func (e *OptionError) Error() string { return fmt.Sprintf("option %s: %v", e.Option, e.Err) }
func (e *OptionError) Unwrap() error { return e.Err }

// Make makes a model of the kind. Options may be a struct of the type that
// [Kind.Options] makes or a pointer to one, with zero fields for defaults, or
// nil. They and the argument are checked.
func (k Kind) Make(ctx context.Context, s Spec) (Model, error) {
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	m, err := k.make(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("model {%s: %s}: %w", k.Name, s.Argument, err)
	}
	return m, nil
}

func (k Kind) make(ctx context.Context, s Spec) (Model, error) {
	if s.Argument == "" {
		return nil, errors.New("the argument is missing")
	}
	if k.Arguments != nil && !slices.Contains(k.Arguments, s.Argument) {
		return nil, fmt.Errorf("there is no such model; %s", Suggest(s.Argument, k.Arguments))
	}
	options, wrong := settings.Complete(k.FreshOptions(s.Argument), s.Options)
	if len(wrong) > 0 {
		w := wrong[0]
		if len(w.Path) == 0 {
			return nil, fmt.Errorf("it %s", w.Message)
		}
		return nil, &OptionError{w.Path[0], errors.New(strings.TrimSpace(strings.Join(w.Path[1:], ".") + " " + w.Message))}
	}
	s.Options = options
	m, err := k.New(ctx, s)
	if err != nil {
		return nil, err
	}
	return m, Check(m)
}

// FreshOptions is what Options makes, or nil when there are none.
func (k Kind) FreshOptions(argument string) any {
	if k.Options == nil {
		return nil
	}
	return k.Options(argument)
}

// Suggest says which of the known names was likely meant, or else which there
// are.
func Suggest(name string, known []string) string {
	if best, ok := spelling.Nearest(name, known); ok {
		return fmt.Sprintf("did you mean %s?", best)
	}
	if len(known) == 0 {
		return "there are none"
	}
	return "there are " + strings.Join(known, ", ")
}
