// SPDX-License-Identifier: Apache-2.0

package builtin

import "github.com/millrace-ml/millrace/model"

// texts are the texts of a batch, read in one go so that they become strings by
// one conversion. The zero value is ready; it is read into again and again.
type texts struct {
	buf  []byte
	all  string
	ends []int
	errs []error
}

// read gathers the items' texts; for an item that has none, text tells why.
func (t *texts) read(items []model.Item, field string) {
	t.buf, t.ends, t.errs = t.buf[:0], t.ends[:0], t.errs[:0]
	for i := range items {
		var err error
		t.buf, err = appendText(t.buf, items[i].Value, field)
		t.ends = append(t.ends, len(t.buf))
		t.errs = append(t.errs, err)
	}
	t.all = string(t.buf)
}

// text is the text of item i. It may be kept.
func (t *texts) text(i int) (string, error) {
	start := 0
	if i > 0 {
		start = t.ends[i-1]
	}
	return t.all[start:t.ends[i]], t.errs[i]
}

// small tells that the buffers may be kept for the next batch; it lets go of the
// texts.
func (t *texts) small() bool {
	t.all = ""
	clear(t.errs)
	return cap(t.buf) <= maxKept
}
