// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/broker"
)

// sample is a message that a customer writes.
type sample struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Channel  string `json:"channel"`
	Text     string `json:"text"`
}

// readSamples reads one message a line.
func readSamples(data []byte) ([]sample, error) {
	var all []sample
	for n, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var s sample
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("sample message %d: %w", n+1, err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, errors.New("there are no sample messages")
	}
	return all, nil
}

// record is the sample as it is published in a round, from 0. In the first it
// is as it was written; in later ones its id tells the round.
func (s sample) record(topic string, round int) (id string, r broker.Record) {
	if round > 0 {
		s.ID = fmt.Sprintf("%s-%d", s.ID, round+1)
	}
	var value bytes.Buffer
	e := json.NewEncoder(&value)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // cannot be: it is made of strings
	}
	return s.ID, broker.Record{
		Topic: topic, Key: []byte(s.Customer), Value: bytes.TrimSpace(value.Bytes()),
	}
}
