// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"sync/atomic"

	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

// Entries are compressed where that saves more CPU time than it costs. Storing a
// byte costs about 2.4 ns: it is written twice, to the log and to a blob file, and
// copied between. Snappy takes 0.7 ns for a byte of what compresses well, such as
// JSON that models make, and 2 ns for a byte of what people write, which it only
// halves. Figures are in docs/adr/0007-compress-what-pays.md.
const (
	packFrom  = 1 << 10 // bytes of an entry's records; less is not worth a try
	packRatio = 3       // how many times smaller they must become
	packSkip  = 64      // entries stored plain after one for which it did not pay
)

// packing is what a topic's entries have taught about compressing them.
type packing struct{ skip atomic.Int32 }

// pack returns the records of an entry as they are to be stored: themselves, or
// compressed and appended to buf.
func (p *packing) pack(buf, records []byte) (_ recordbatch.Codec, stored, _ []byte) {
	if len(records) < packFrom || p.skip.Load() > 0 && p.skip.Add(-1) >= 0 {
		return recordbatch.None, records, buf
	}
	packed := recordbatch.AppendCompressed(buf, records)
	stored = packed[len(buf):len(packed):len(packed)]
	if len(stored)*packRatio > len(records) {
		p.skip.Store(packSkip)
		return recordbatch.None, records, buf
	}
	return recordbatch.Snappy, stored, packed
}
