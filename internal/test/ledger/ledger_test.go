// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

// ledgerOf issues and acknowledges five records of key k, and sees these.
func ledgerOf(seen ...int64) *Ledger {
	l := new(Ledger)
	for range 5 {
		l.Acknowledge("k", l.Issue("k"))
	}
	for i, n := range seen {
		l.See("out", "k", n, broker.Place{Topic: "results", Partition: 3, Offset: int64(100 + i)})
	}
	return l
}

func TestLedgerBalancesAWholeStream(t *testing.T) {
	audit := ledgerOf(1, 2, 3, 4, 5).Audit("out")
	if err := audit.Err(); err != nil || audit.Seen != 5 {
		t.Errorf("audit of %d records: %v", audit.Seen, err)
	}
}

func TestLedgerCountsOffenders(t *testing.T) {
	for _, c := range []struct {
		what     string
		ledger   *Ledger
		want     string
		offender string
	}{
		{"a lost record", ledgerOf(1, 2, 4, 5), "4 records seen: 1 lost, 0 duplicated, 0 reordered", `lost: key "k" number 3 (number 2: results/3/101, number 4: results/3/102)`},
		{"a lost last record", ledgerOf(1, 2, 3, 4), "4 records seen: 1 lost, 0 duplicated, 0 reordered", `number 5 (number 4: results/3/103, number 6: not seen)`},
		{"an empty stream", ledgerOf(), "0 records seen: 5 lost, 0 duplicated, 0 reordered", `lost: key "k" number 1, and all others of this key`},
		{"a duplicate", ledgerOf(1, 2, 3, 2, 4, 5), "6 records seen: 0 lost, 1 duplicated, 0 reordered", `duplicated: key "k" number 2: results/3/101 and results/3/103`},
		{"a swap", ledgerOf(1, 3, 2, 4, 5), "5 records seen: 0 lost, 0 duplicated, 1 reordered", `reordered: key "k" number 2: results/3/102 comes after number 3: results/3/101`},
		{"a stranger", ledgerOf(1, 2, 3, 4, 5, 6), "6 records seen: 0 lost, 0 duplicated, 0 reordered, 1 unknown", `unknown: key "k" has no number 6: results/3/105`},
	} {
		audit := c.ledger.Audit("out")
		if audit.String() != c.want {
			t.Errorf("%s: %v, want %s", c.what, audit, c.want)
		}
		if err := audit.Err(); err == nil || !strings.Contains(err.Error(), c.offender) {
			t.Errorf("%s: %v, want it to name %s", c.what, err, c.offender)
		}
	}
}

func TestLedgerAllowsARecordThatWasNotAcknowledgedOnce(t *testing.T) {
	var l Ledger
	for range 3 {
		l.Issue("k")
	}
	l.See("out", "k", 1, broker.Place{})
	l.See("out", "k", 3, broker.Place{})
	if err := l.Audit("out").Err(); err != nil {
		t.Errorf("records that nobody acknowledged: %v", err)
	}
	l.See("out", "k", 3, broker.Place{})
	if audit := l.Audit("out"); audit.Duplicated != 1 {
		t.Errorf("a record that was not acknowledged came twice: %v", audit)
	}
}

func TestLedgerKeepsStreamsAndKeysApart(t *testing.T) {
	var l Ledger
	for _, key := range []string{"a", "b"} {
		for range 2 {
			l.Acknowledge(key, l.Issue(key))
		}
	}
	for _, see := range []struct {
		stream, key string
		n           int64
	}{{"x", "b", 1}, {"y", "a", 1}, {"x", "a", 1}, {"x", "b", 2}, {"x", "a", 2}, {"y", "b", 1}} {
		l.See(see.stream, see.key, see.n, broker.Place{})
	}
	if err := l.Audit("x").Err(); err != nil {
		t.Error(err)
	}
	if audit := l.Audit("y"); audit.Lost != 2 {
		t.Errorf("a stream that lacks two records: %v", audit)
	}
	if n := l.Acknowledged(); n != 4 {
		t.Errorf("%d records are acknowledged, want 4", n)
	}
}

func TestLedgerNamesTheFirstFewOffendersOnly(t *testing.T) {
	var l Ledger
	for range 1000 {
		l.Acknowledge("k", l.Issue("k"))
	}
	if audit := l.Audit("out"); audit.Lost != 1000 || len(audit.Offenders) != maxOffenders {
		t.Errorf("%v with %d offenders", audit, len(audit.Offenders))
	}
}
