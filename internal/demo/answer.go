// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Answer is what the desk knows about a message: the gathered record.
type Answer struct {
	ID       string
	Customer string
	Channel  string
	Text     string

	Complete bool
	Revision int           // from 1; more when a part came late and amended the answer
	Latency  time.Duration // from the message to this answer; 0 if it is not known

	Sentiment string   // negative, neutral or positive; empty if it is not there
	Class     string   // such as help_needed; empty if it is not there
	Keywords  []string // most telling first
	Products  []string // names of the catalogue
	Checklist Checklist

	Lacking []Lack // parts that are not there, sorted by service

	Time   time.Time       // when it was appended to the gather's topic
	Record json.RawMessage // as it stands there
}

// Checklist is the help that suits a message best. The zero value is none.
type Checklist struct {
	ID    string
	Title string
	Score float64 // 0 … 1
}

// Lack is a part that an answer goes without.
type Lack struct {
	Service string
	Status  string // failed or missing
	Error   string
}

// Lacks reports whether the answer goes without the service's part.
func (a *Answer) Lacks(service string) bool {
	return slices.ContainsFunc(a.Lacking, func(l Lack) bool { return l.Service == service })
}

// gathered is the JSON of a gathered record, with the parts of the example's
// pipeline.
type gathered struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Revision int    `json:"revision"`
	Source   sample `json:"source"`
	Parts    struct {
		Sentiment  part[labelled] `json:"sentiment"`
		Classifier part[labelled] `json:"classifier"`
		Keywords   part[struct {
			Keywords []struct{ Text string }
			Products []string
		}] `json:"keywords"`
		Checklist part[struct{ Matches []Checklist }] `json:"checklist"`
	} `json:"parts"`
}

type part[T any] struct {
	Status string `json:"status"`
	Value  T      `json:"value"`
	Error  string `json:"error"`
}

type labelled struct{ Label string }

func parseAnswer(r *broker.Record) (Answer, error) {
	var g gathered
	if err := json.Unmarshal(r.Value, &g); err != nil {
		return Answer{}, fmt.Errorf("read the answer %s[%d] at %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	p := &g.Parts
	a := Answer{
		ID: g.ID, Customer: g.Source.Customer, Channel: g.Source.Channel, Text: g.Source.Text,
		Complete: g.Status == "complete", Revision: g.Revision,
		Sentiment: p.Sentiment.Value.Label, Class: p.Classifier.Value.Label,
		Products: p.Keywords.Value.Products, Time: r.Time, Record: r.Value,
	}
	for _, k := range p.Keywords.Value.Keywords {
		a.Keywords = append(a.Keywords, k.Text)
	}
	if m := p.Checklist.Value.Matches; len(m) > 0 {
		a.Checklist = m[0]
	}
	a.lacking("checklist", p.Checklist.Status, p.Checklist.Error)
	a.lacking("classifier", p.Classifier.Status, p.Classifier.Error)
	a.lacking("keywords", p.Keywords.Status, p.Keywords.Error)
	a.lacking("sentiment", p.Sentiment.Status, p.Sentiment.Error)
	return a, nil
}

func (a *Answer) lacking(service, status, why string) {
	if status == "failed" || status == "missing" {
		a.Lacking = append(a.Lacking, Lack{service, status, why})
	}
}
