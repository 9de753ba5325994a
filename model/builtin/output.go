// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"strconv"

	"github.com/millrace-ml/millrace/model"
)

// output gathers a batch's answers in one buffer, so that a batch costs a
// handful of allocations however many items it has. Append an item's value to
// buf, then call end.
type output struct {
	buf  []byte
	ends []int
	errs []error // nil until an item fails
}

func newOutput(items int) *output {
	return &output{buf: make([]byte, 0, 256*items), ends: make([]int, 0, items)}
}

// end closes the item: what was appended since the last end is its value, or
// is forgotten if err is not nil.
func (o *output) end(err error) {
	if err != nil {
		if o.errs == nil {
			o.errs = make([]error, cap(o.ends))
		}
		o.errs[len(o.ends)] = err
		o.buf = o.buf[:o.start()]
	}
	o.ends = append(o.ends, len(o.buf))
}

// start is where the open item's value begins.
func (o *output) start() int {
	if len(o.ends) == 0 {
		return 0
	}
	return o.ends[len(o.ends)-1]
}

// answers cuts the buffer up. The values belong to the caller; each has its
// capacity cut, so appending to one does not write into the next.
func (o *output) answers() []model.Answer {
	answers := make([]model.Answer, len(o.ends))
	values := make([][]byte, len(o.ends))
	start := 0
	for i, end := range o.ends {
		if o.errs != nil && o.errs[i] != nil {
			answers[i].Err = o.errs[i]
			continue
		}
		values[i] = o.buf[start:end:end]
		answers[i].Values = values[i : i+1 : i+1]
		start = end
	}
	return answers
}

// appendFloat appends f with at most the given number of decimals and no
// trailing zeros: scores carry no more information than that. A value that
// JSON cannot hold becomes 0.
func appendFloat(dst []byte, f float64, decimals int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, '0')
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', decimals, 64)
	if decimals == 0 {
		return dst
	}
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	if dst[len(dst)-1] == '.' {
		dst = dst[:len(dst)-1]
	}
	if string(dst[start:]) == "-0" {
		dst = append(dst[:start], '0')
	}
	return dst
}
