// SPDX-License-Identifier: Apache-2.0

package transfer

import "sort"

// offsets tells where the records of a log stand in its copy. It is filled in
// the order of the log. Offsets that follow each other in both, which most do,
// take no room.
type offsets []run

// run is n records whose offsets follow each other, in the log from from on and
// in the copy from to on.
type run struct{ from, to, n int64 }

func (o *offsets) add(from, to int64) {
	if n := len(*o); n > 0 {
		if last := &(*o)[n-1]; last.from+last.n == from && last.to+last.n == to {
			last.n++
			return
		}
	}
	*o = append(*o, run{from, to, 1})
}

// at is the copy of the record at an offset, if there is one.
func (o offsets) at(from int64) (to int64, ok bool) {
	i := o.runsBefore(from + 1)
	if i == 0 || from >= o[i-1].from+o[i-1].n {
		return 0, false
	}
	return o[i-1].to + from - o[i-1].from, true
}

// after is the place in the copy that comes after what stands before an offset:
// what was read up to there is read, and nothing else.
func (o offsets) after(from int64) int64 {
	i := o.runsBefore(from)
	if i == 0 {
		return 0
	}
	last := o[i-1]
	return last.to + min(last.n, from-last.from)
}

// runsBefore is the number of runs that begin before an offset.
func (o offsets) runsBefore(from int64) int {
	return sort.Search(len(o), func(i int) bool { return o[i].from >= from })
}
