// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"slices"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

const partial = `{"id":"T-1","key":"c-1","status":"partial","revision":1,
"source":{"id":"T-1","customer":"c-1","channel":"chat","text":"mini wont turn on"},
"parts":{
 "sentiment":{"status":"missing","error":"no answer within 5s","service":"sentiment"},
 "classifier":{"status":"ok","value":{"label":"help_needed","scores":{"help_needed":1}},"service":"classifier"},
 "keywords":{"status":"failed","error":"tagger: the model panicked","service":"keywords"},
 "checklist":{"status":"skipped","service":"checklist"}}}`

func TestAnAnswerTellsWhatItLacks(t *testing.T) {
	a, err := parseAnswer(&broker.Record{Topic: "desk", Value: []byte(partial)})
	if err != nil {
		t.Fatal(err)
	}
	want := []Lack{{"keywords", "failed", "tagger: the model panicked"}, {"sentiment", "missing", "no answer within 5s"}}
	if !slices.Equal(a.Lacking, want) {
		t.Errorf("lacking %+v, want %+v", a.Lacking, want)
	}
	if a.Complete || a.Class != "help_needed" || a.Text != "mini wont turn on" || a.Lacks("checklist") || !a.Lacks("sentiment") {
		t.Errorf("answer %+v", a)
	}
}

func TestAMendedAnswerTakesThePlaceOfTheFirst(t *testing.T) {
	begun := time.Now()
	b := book{sent: map[string]time.Time{}}
	b.send([]string{"T-1", "T-2"}, begun)
	for _, a := range []Answer{
		{ID: "T-1", Revision: 1, Time: begun.Add(5 * time.Second)},
		{ID: "T-2", Revision: 1, Complete: true, Time: begun.Add(6 * time.Second)},
		{ID: "T-1", Revision: 2, Complete: true, Time: begun.Add(7 * time.Second), Sentiment: "neutral"},
		{ID: "T-0", Revision: 2, Complete: true}, // of one that is not kept any more
	} {
		b.enter(&a)
	}
	if want := (Counts{Written: 2, Complete: 1, Partial: 1, Amended: 2}); b.counts != want {
		t.Errorf("counts %+v, want %+v", b.counts, want)
	}
	if len(b.latest) != 2 || b.latest[0].Sentiment != "neutral" || b.latest[0].Latency != 5*time.Second || len(b.sent) != 0 {
		t.Errorf("latest %+v, open %v", b.latest, b.sent)
	}
}
