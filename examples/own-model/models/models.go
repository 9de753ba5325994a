// SPDX-License-Identifier: Apache-2.0

// Package models has the models of the example.
package models

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/model"
)

// All are the models, by the names that pipeline.yaml has for them.
func All() millrace.Models {
	return millrace.Models{
		"urgency": model.JSON("urgency@1", urgency),
		"reply":   model.Each("reply@1", reply),
	}
}

// Ticket is what a record holds, as JSON.
type Ticket struct {
	Customer string `json:"customer"`
	Plan     string `json:"plan"`
	Text     string `json:"text"`
}

// Urgency is the answer of urgency.
type Urgency struct {
	Score float64 `json:"score"` // from 0 to 1
	Now   bool    `json:"now"`
}

// plans are what each plan adds to a ticket's score.
var plans = map[string]float64{"free": 0, "gold": 0.3}

// urgency sees a whole batch at once, as a model on a GPU wants it. A plan that it
// does not know fails the one ticket, and trying again would not help.
func urgency(_ context.Context, tickets []Ticket) ([]Urgency, error) {
	answers, failed := make([]Urgency, len(tickets)), model.Errors{}
	for i, t := range tickets {
		plan, known := plans[t.Plan]
		if !known {
			failed[i] = model.Invalid(fmt.Errorf("there is no plan %q", t.Plan))
			continue
		}
		score := min(1, plan+0.25*float64(strings.Count(t.Text, "!")))
		answers[i] = Urgency{score, score > 0.5}
	}
	return answers, failed
}

// reply sees one ticket, and several run at once: in its place may be a call of a
// model behind an API.
func reply(_ context.Context, t Ticket) (string, error) {
	if t.Text == "" {
		return "", model.ErrSkip
	}
	return fmt.Sprintf("Dear %s, we look into it.", t.Customer), nil
}
