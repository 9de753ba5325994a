// SPDX-License-Identifier: Apache-2.0

package supportdesk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	supportdesk "github.com/millrace-ml/millrace/examples/support-desk"
)

// A label with fewer messages than this is not measured.
const messagesPerLabel = 5

type heldOutMessage struct {
	ID        string   `json:"id"`
	Text      string   `json:"text"`
	Sentiment string   `json:"sentiment"`
	Class     string   `json:"class"`
	Checklist *string  `json:"checklist"`
	Products  []string `json:"products"`
	Keywords  []string `json:"keywords"`
}

func TestHeldOutMessagesAreLabelledWithTheCatalogue(t *testing.T) {
	labels := readLabels(t)
	for _, m := range readHeldOut(t) {
		if !slices.Contains(labels.classes, m.Class) {
			t.Errorf("%s: class %q is not in the catalogue", m.ID, m.Class)
		}
		if !slices.Contains(labels.sentiments, m.Sentiment) {
			t.Errorf("%s: sentiment %q is not in the catalogue", m.ID, m.Sentiment)
		}
		for i, product := range m.Products {
			if !slices.Contains(labels.products, product) {
				t.Errorf("%s: product %q is not in the catalogue", m.ID, product)
			}
			if slices.Contains(m.Products[:i], product) {
				t.Errorf("%s: product %q twice", m.ID, product)
			}
		}
		if m.Checklist == nil {
			continue
		}
		if !slices.Contains(labels.checklists, *m.Checklist) {
			t.Errorf("%s: checklist %q does not exist", m.ID, *m.Checklist)
		}
		if m.Class != "help_needed" && m.Class != "question" {
			t.Errorf("%s: a %s has checklist %q, only those who need help or ask have one", m.ID, m.Class, *m.Checklist)
		}
	}
}

func TestHeldOutKeywordsStandInTheText(t *testing.T) {
	for _, m := range readHeldOut(t) {
		if len(m.Keywords) < 1 || len(m.Keywords) > 5 {
			t.Errorf("%s: %d keywords, want one to five", m.ID, len(m.Keywords))
		}
		for i, keyword := range m.Keywords {
			if strings.TrimSpace(keyword) == "" || !strings.Contains(m.Text, keyword) {
				t.Errorf("%s: keyword %q is not in the text", m.ID, keyword)
			}
			if slices.Contains(m.Keywords[:i], keyword) {
				t.Errorf("%s: keyword %q twice", m.ID, keyword)
			}
		}
	}
}

func TestHeldOutMessagesMeasureEveryLabel(t *testing.T) {
	labels := readLabels(t)
	count := map[string]int{}
	for _, m := range readHeldOut(t) {
		count[m.Class]++
		count[m.Sentiment]++
		if m.Checklist != nil {
			count[*m.Checklist]++
		}
		for _, product := range m.Products {
			count[product]++
		}
	}
	for _, label := range slices.Concat(labels.classes, labels.sentiments, labels.products, labels.checklists) {
		if count[label] < messagesPerLabel {
			t.Errorf("%s: %d messages, want at least %d", label, count[label], messagesPerLabel)
		}
	}
}

// What a model learned from, or what comes with the program for it to learn
// from, measures nothing.
func TestHeldOutMessagesAreKeptFromTheModels(t *testing.T) {
	dir := t.TempDir()
	if _, err := supportdesk.Write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "heldout.jsonl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program brings heldout.jsonl with it (stat: %v)", err)
	}

	learned, err := filepath.Glob("training*.jsonl")
	if err != nil || len(learned) == 0 {
		t.Fatalf("no training messages: %v", err)
	}
	source := map[string]string{}
	for _, file := range append(learned, "tickets.jsonl") {
		for _, text := range readTexts(t, file) {
			source[normal(text)] = file
		}
	}
	for _, m := range readHeldOut(t) {
		if file, known := source[normal(m.Text)]; known {
			t.Errorf("%s: the same text is in %s", m.ID, file)
		}
	}
}

func readHeldOut(t *testing.T) []heldOutMessage {
	t.Helper()
	data, err := os.ReadFile("heldout.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var messages []heldOutMessage
	ids, texts := map[string]bool{}, map[string]string{}
	for i, line := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		m, err := parseHeldOut(line)
		if err != nil {
			t.Fatalf("heldout.jsonl:%d: %v", i+1, err)
		}
		if m.ID == "" || ids[m.ID] {
			t.Errorf("heldout.jsonl:%d: id %q is empty or taken", i+1, m.ID)
		}
		text := normal(m.Text)
		if first, known := texts[text]; text == "" || known {
			t.Errorf("%s: the text is empty or that of %s", m.ID, first)
		}
		ids[m.ID], texts[text] = true, m.ID
		messages = append(messages, m)
	}
	return messages
}

func parseHeldOut(line []byte) (heldOutMessage, error) {
	var m heldOutMessage
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return m, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return m, errors.New("more than one object on the line")
	}
	return m, nil
}

type catalogueLabels struct {
	classes, sentiments, products, checklists []string
}

func readLabels(t *testing.T) catalogueLabels {
	t.Helper()
	type entry struct {
		ID   string `yaml:"id"`
		Name string `yaml:"name"`
	}
	var catalogue struct {
		Products   []entry `yaml:"products"`
		Classes    []entry `yaml:"classes"`
		Sentiments []entry `yaml:"sentiments"`
	}
	var checklists []entry
	for file, into := range map[string]any{"catalogue.yaml": &catalogue, "checklists.yaml": &checklists} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	var labels catalogueLabels
	for _, e := range catalogue.Products {
		labels.products = append(labels.products, e.Name)
	}
	for _, e := range catalogue.Classes {
		labels.classes = append(labels.classes, e.ID)
	}
	for _, e := range catalogue.Sentiments {
		labels.sentiments = append(labels.sentiments, e.ID)
	}
	for _, e := range checklists {
		labels.checklists = append(labels.checklists, e.ID)
	}
	return labels
}

func readTexts(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for decoder := json.NewDecoder(bytes.NewReader(data)); decoder.More(); {
		var message struct {
			Text string `json:"text"`
		}
		if err := decoder.Decode(&message); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		texts = append(texts, message.Text)
	}
	return texts
}

// Copies differ in spaces and capitals only.
func normal(text string) string {
	return strings.ToLower(strings.Join(strings.Fields(text), " "))
}
