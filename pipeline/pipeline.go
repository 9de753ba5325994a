// SPDX-License-Identifier: Apache-2.0

// Package pipeline reads pipeline files: which services read which topics, run
// which models, write which topics, and what is joined at the end.
//
// The one idea: a file is accepted whole or not at all. Whatever could only
// fail later (a misspelled field, a topic that nobody writes, a join that can
// never be complete) is a [Problem] with line, column and the likely fix, and
// all of them are reported at once. So a [Pipeline] that [Load] returned can be
// run without checking it again: every default is filled in, every name is
// valid on every broker, the graph has no cycles, and topics that are read
// together have equally many partitions.
//
// The views ([Pipeline.Order], [Pipeline.Sources], [Pipeline.AllTopics], …) are
// derived from the exported fields alone and deterministic.
package pipeline

//go:generate go run ./internal/genschema -schema ../docs/pipeline.schema.json -page ../docs/pipeline.md

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Pipeline is a validated graph of topics, services and gathers. The struct
// tags are the one place that describes the file format: the decoder, the JSON
// Schema (docs/pipeline.schema.json) and the reference (docs/pipeline.md) are all
// made from them.
type Pipeline struct {
	Name       string             `json:"name" example:"support-desk" jsonschema:"Name of the pipeline, made of a-z A-Z 0-9 . _ -"`
	Broker     string             `json:"broker,omitempty" example:"kafka://localhost:9092" default:"embedded" jsonschema:"Where topics are kept: embedded (the default: in the data directory, nothing to install), kafka://host:port or redis://host:port (kafkas:// and rediss:// with TLS)"`
	Durability string             `json:"durability,omitempty" example:"os" jsonschema:"What the embedded broker does before a record is acknowledged: fsync writes it to the disk, os leaves that to the operating system, so that a power cut takes the last records, and is faster where the disk is slow. Default: fsync"`
	Topics     map[string]Topic   `json:"topics,omitempty" example:"{tickets: {partitions: 4}}" jsonschema:"Settings of topics. A topic that is published to from outside must be listed here; the topics that services write need not be"`
	Services   map[string]Service `json:"services" example:"{mood: {from: tickets, to: moods, model: {builtin: sentiment}}}" jsonschema:"The services by name. Each is one consumer group that reads topics, runs one model and writes one topic"`
	Gather     map[string]Gather  `json:"gather,omitempty" example:"{desk: {of: tickets, from: [moods], to: desk}}" jsonschema:"The joins by name. Each waits for the results that descend from one record and emits them as one"`

	// Dir is the directory of the file. Relative paths in model options are
	// meant relative to it. [Parse] takes it from its name argument; a pipeline
	// that is built in Go may set it.
	Dir string `json:"-"`

	src *source // where things stand in the file; nil for a pipeline built in Go
}

// Topic is what a file says about a topic.
type Topic struct {
	// Partitions is 0 only in pipelines that were built in Go; see
	// [Pipeline.AllTopics] for what is in force.
	Partitions int `json:"partitions,omitempty" example:"16" min:"1" max:"4096" jsonschema:"Number of partitions, the most consumers that can share the work. Default: 8; for the topic that a service or gather writes, as many as the topic it reads"`

	// Retention is 0 when the file does not say, see [Pipeline.AllTopics].
	Retention      Duration `json:"retention,omitempty" example:"7d" forever:"true" jsonschema:"How long records are kept, such as 24h or 7d, or forever. Default: forever; for the topic that a service or gather writes, as long as the topic it reads"`
	RetentionBytes Size     `json:"retention_bytes,omitempty" example:"512MiB" jsonschema:"How many bytes each partition keeps, such as 512MiB; the oldest records go first. Default: no limit"`
}

// Service is one consumer group that runs one model.
type Service struct {
	From        Names    `json:"from" example:"[tickets, mails]" jsonschema:"The topic to read, or a list of topics"`
	To          string   `json:"to" example:"answers" jsonschema:"The topic to write. Each topic has one writer"`
	Model       Model    `json:"model" example:"{builtin: sentiment, field: body}" jsonschema:"The model to run"`
	Batch       Batch    `json:"batch,omitzero" example:"{max: 64, wait: 20ms}" jsonschema:"How many records one prediction takes: auto (the default) for what has accumulated while the model was busy, or limits"`
	Latency     Duration `json:"latency,omitempty" example:"50ms" jsonschema:"How long a record should wait for its answer at most, such as 50ms, a target for batch: auto. It is read and checked, but does not change batches yet"`
	Concurrency int      `json:"concurrency,omitempty" example:"16" default:"1" min:"1" max:"4096" jsonschema:"How many calls of the model may be in flight at once in this process"`
	Retry       Retry    `json:"retry,omitzero" example:"{attempts: 5, backoff: 1s}" jsonschema:"What happens when a prediction fails"`
	Timeout     Duration `json:"timeout,omitempty" example:"2m" default:"30s" jsonschema:"How long one call of the model may take"`
	Start       string   `json:"start,omitempty" example:"24h" default:"beginning" jsonschema:"Where the service begins in a topic that is new to it: beginning, end, or an age such as 24h"`
}

// Retry says how often and how fast a failed prediction is tried again.
type Retry struct {
	Attempts int      `json:"attempts,omitempty" example:"5" default:"3" min:"1" max:"100" jsonschema:"How often an item fails alone, or with an error of its own, before it becomes a dead letter, and how often a batch that fails as a whole is tried before it is halved. Without a known reason an item fails twice at least"`
	Backoff  Duration `json:"backoff,omitempty" example:"1s" default:"100ms" jsonschema:"How long to wait before the second attempt. It doubles with each further one and is jittered"`
	Patience Duration `json:"patience,omitempty" example:"1h" jsonschema:"How long to wait for a model that answers nothing, before what it does not answer becomes dead letters. Default: as long as it takes"`
}

// Gather joins the results that descend from one record.
type Gather struct {
	Of       string   `json:"of" example:"tickets" jsonschema:"The topic whose records are answered: one that is published to from outside, or that another gather writes"`
	From     []string `json:"from" example:"[moods, tags]" jsonschema:"The result topics to wait for. Each is a part of the answer, named after the service that writes it"`
	To       string   `json:"to" example:"answers" jsonschema:"The topic to write the joined records to"`
	Deadline Duration `json:"deadline,omitempty" example:"10s" default:"5s" jsonschema:"How long after the record was published its answer is emitted at the latest, with the parts there are"`
	Start    string   `json:"start,omitempty" example:"end" default:"beginning" jsonschema:"Where the gather begins when it is new: beginning, end, or an age such as 24h"`
}

// MaxFileBytes is the largest pipeline file that is read.
const MaxFileBytes = 1 << 20

// Load reads a pipeline file, taking variables from the environment. An error
// in the file is [Problems]. Options say which models there are; see [WithKinds]
// for what is left open without them.
func Load(path string, opts ...Option) (*Pipeline, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, os.LookupEnv, opts...)
}

// Parse reads the bytes of a pipeline file. Name is the file's name in errors,
// and its directory becomes the pipeline's Dir. Env looks variables up for
// ${VAR} and ${VAR:-default}; nil knows none. The error is [Problems], and the
// options are those of [Load].
func Parse(name string, data []byte, env func(string) (string, bool), opts ...Option) (*Pipeline, error) {
	p, problems := Check(name, data, env, opts...)
	if problems.Errors() > 0 {
		return nil, problems
	}
	return p, nil
}

// BrokerURL is what opens the pipeline's broker: Broker, with the durability as
// a parameter.
func (p *Pipeline) BrokerURL() string {
	if p.Durability == "" {
		return p.Broker
	}
	return p.Broker + "?durability=" + p.Durability
}

// DataDir is where the embedded broker keeps the pipeline's topics unless somebody
// says otherwise: "millrace-data/NAME".
func (p *Pipeline) DataDir() string { return filepath.Join(DataParent, p.Name) }

// DataParent is the folder of all [Pipeline.DataDir].
const DataParent = "millrace-data"

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read pipeline file %s: there is no such file: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	defer f.Close()
	// One byte more than the limit, so that Check sees that it is passed.
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read pipeline file %s: %w", path, err)
	}
	return data, nil
}

// dirOf is the directory that relative paths of a file are resolved against.
func dirOf(name string) string { return filepath.Dir(name) }
