// SPDX-License-Identifier: Apache-2.0

package lineage

import (
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

func TestOneOfSeveralValuesTellsItsNumber(t *testing.T) {
	ticket := &broker.Record{Topic: "tickets", Partition: 3, Offset: 7}
	path, err := Parse(string(AppendChild(nil, ticket, "splitter", 1, 3)))
	if err != nil {
		t.Fatal(err)
	}
	if name, index, count := path.Service(); name != "splitter" || index != 1 || count != 3 {
		t.Errorf("got %s, %d of %d", name, index, count)
	}
}

func TestMalformedIDsAreRefused(t *testing.T) {
	for _, id := range []string{"", "tickets", "tickets/3", "tickets/x/1", "tickets/-1/1", "/1/2", "tickets/1/99999999999999999999"} {
		if p, err := Parse(id); err == nil {
			t.Errorf("Parse(%q) = %v", id, p)
		}
		if _, _, ok := SourceIn([]byte(id), "tickets"); ok {
			t.Errorf("SourceIn(%q) is ok", id)
		}
	}
}

// SourceIn is a second reading of the same format: both must agree on anything.
func FuzzSourceInAgreesWithParse(f *testing.F) {
	f.Add("tickets/3/1234/tagger", "tickets")
	f.Add("tickets/3/1234", "tickets")
	f.Add("a/b/3/4", "a")
	f.Fuzz(func(t *testing.T, id, topic string) {
		partition, offset, ok := SourceIn([]byte(id), topic)
		path, err := Parse(id)
		if ok && broker.ValidName(topic) == nil && (err != nil || path.Source != Source{topic, partition, offset}) {
			t.Errorf("%q: SourceIn says %d/%d, Parse %v, %v", id, partition, offset, path, err)
		}
		// (A leading plus sign is a number for Parse only.)
	})
}

func BenchmarkSourceIn(b *testing.B) {
	id := []byte("tickets/3/123456/tagger/classifier")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := SourceIn(id, "tickets"); !ok {
			b.Fatal()
		}
	}
}
