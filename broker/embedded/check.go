// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Report is what [Check] found.
type Report struct {
	Files   int     `json:"files"`
	Bytes   int64   `json:"bytes"` // of the files
	Topics  int     `json:"topics"`
	Records int64   `json:"records"` // that are whole
	Faults  []Fault `json:"faults"`  // files that are missing or not as they were written
	Losses  []Loss  `json:"losses"`  // what cannot be read of the log
	Saved   int64   `json:"saved"`   // records that were copied
}

// Whole reports whether nothing is wrong.
func (r *Report) Whole() bool { return len(r.Faults)+len(r.Losses) == 0 }

// Loss is a part of the log that cannot be read, or is not as it should be.
type Loss struct {
	Topic     string `json:"topic,omitempty"` // empty: of the list of topics or of positions
	Partition int32  `json:"partition"`
	From      int64  `json:"from"` // offsets: those from From on, below To
	To        int64  `json:"to"`   // 0: unknown
	Why       string `json:"why"`
}

func (l Loss) String() string {
	switch {
	case l.Topic == "":
		return l.Why
	case l.To == 0:
		return fmt.Sprintf("%s[%d] from offset %d on: %s", l.Topic, l.Partition, l.From, l.Why)
	}
	return fmt.Sprintf("%s[%d] offsets %d to %d: %s", l.Topic, l.Partition, l.From, l.To-1, l.Why)
}

// Check reads all of a data directory that no process has open for writing, and
// changes nothing in it: every file's checksum, every record's, that offsets follow
// one another, and that no group stands beyond the end. With salvage it copies what
// is whole into that directory, which must be empty or not exist, and be apart (see
// [Apart]); offsets and
// positions stay as they are. When no record of a damaged directory can be saved, or
// the copy fails, nothing is left there. The error says why it could not be checked;
// what is wrong is in the report.
func Check(ctx context.Context, dir, salvage string) (*Report, error) {
	r, err := check(ctx, dir, salvage)
	if err != nil {
		return r, fmt.Errorf("check data directory %s: %w", dir, err)
	}
	return r, nil
}

func check(ctx context.Context, dir, salvage string) (_ *Report, err error) {
	o := Options{ReadOnly: true, Logger: slog.New(slog.DiscardHandler)}
	o.setDefaults()
	if dir == "" {
		return nil, errNoName
	}
	d := newDriver(filepath.Clean(dir), o)
	d.lenient = true
	if salvage != "" {
		if err := cmp.Or(Apart(d.dir, salvage), mustBeNew(salvage)); err != nil {
			return nil, err
		}
	}
	if d.locks.dir, err = lockPlace(d.dir, false); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.release(false)) }()
	c := &checker{d: d, report: &Report{}}
	if err := c.files(); err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		c.report.Losses = append(c.report.Losses, Loss{Why: "the log cannot be opened: " + firstLine(err)})
		return c.report, nil
	}
	if salvage != "" {
		if c.to, err = openSalvage(salvage); err != nil {
			return c.report, err
		}
	}
	err = c.log(ctx)
	c.foundFaults()
	if c.to == nil {
		return c.report, err
	}
	keep := err == nil && (c.report.Saved > 0 || c.report.Whole())
	if err = errors.Join(err, c.to.finish(keep)); err != nil {
		c.report.Saved = 0
	}
	return c.report, err
}

// checker checks a directory and copies what is whole.
type checker struct {
	d      *driver
	report *Report
	mark   mark
	to     *salvage           // nil: nothing is copied
	ends   map[uint32][]int64 // of the partitions of topics
}

// files compares the files with what is known of them.
func (c *checker) files() error {
	disk, dir := c.d.options.FS, c.d.dir
	fault := func(file, what string) { c.report.Faults = append(c.report.Faults, Fault{file, what}) }
	names, err := listDirectory(disk, dir)
	if err != nil {
		return err
	}
	ours := false
	for _, name := range names {
		ours = ours || ofLog(name) || name == identityFile
		if info, err := disk.Stat(disk.PathJoin(dir, name)); err == nil && !info.IsDir() {
			c.report.Files++
			c.report.Bytes += info.Size()
		}
	}
	if !ours {
		return errors.New("it is no data directory of Millrace")
	}
	switch err := readSealed(disk, dir, identityFile, &c.d.id); {
	case errors.Is(err, fs.ErrNotExist):
		fault(identityFile, "is missing")
	case err != nil:
		fault(identityFile, "is not as it was written")
	case c.d.id.Format != directoryFormat:
		return fmt.Errorf("it has format %d, and this program reads format %d: use the program that has written it", c.d.id.Format, directoryFormat)
	}
	switch err := readSealed(disk, dir, markFile, &c.mark); {
	case errors.Is(err, fs.ErrNotExist):
		fault(markFile, "is missing")
	case err != nil:
		fault(markFile, "is not as it was written")
	}
	faults, err := c.mark.faults(disk, dir, true)
	if err != nil {
		return err
	}
	if !c.mark.Closed { // else the mark names them
		for _, name := range missingFiles(disk, dir, names) {
			if name != markFile {
				fault(name, "is missing")
			}
		}
	}
	if tail, err := tailFaults(disk, dir); err == nil && !c.mark.Closed && len(faults) == 0 {
		faults = tail
	}
	c.report.Faults = append(c.report.Faults, faults...)
	return nil
}

// foundFaults adds the files that turned out to be damaged as the log was read: a
// table or blob file that is missing after a kill may be one that was not needed.
func (c *checker) foundFaults() {
	for _, f := range c.d.damage.all() {
		if !slices.ContainsFunc(c.report.Faults, func(known Fault) bool { return known.File == f.File }) {
			c.report.Faults = append(c.report.Faults, f)
		}
	}
}

// open opens the log for reading. Log files that are damaged end where they are.
func (c *checker) open() (err error) {
	d := c.d
	disk := d.readOnly(c.mark)
	names, err := disk.List(d.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, ok := logNumber(name)
		if !ok {
			continue
		}
		path := disk.PathJoin(d.dir, name)
		sound, whole, err := soundLength(disk, path, number)
		if err != nil {
			return err
		}
		if !whole {
			disk.ends[path] = sound
		}
	}
	defer func() {
		if p := recover(); p != nil { // Pebble asserts about what it reads
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	d.db, err = d.openPebble(disk)
	return err
}

// log reads the topics, their records and the groups' positions.
func (c *checker) log(ctx context.Context) error {
	c.ends = map[uint32][]int64{}
	d := c.d
	topicFault := d.scan([]byte{kindTopic}, func(key, value []byte) error {
		t, err := parseTopic(key, value)
		if err != nil {
			c.report.Losses = append(c.report.Losses, Loss{Why: err.Error()})
			return nil
		}
		d.topics[t.name] = t
		return c.save(key, value)
	})
	if topicFault != nil {
		c.report.Losses = append(c.report.Losses, Loss{Why: "the list of topics ends early: " + firstLine(topicFault)})
	}
	c.report.Topics = len(d.topics)
	for _, t := range d.allTopics() {
		ends := make([]int64, len(t.partitions))
		for i, p := range t.partitions {
			end, err := c.partition(ctx, p)
			if err != nil {
				return err
			}
			ends[i] = end
		}
		c.ends[t.id] = ends
	}
	return c.positions()
}

// save copies an entry.
func (c *checker) save(key, value []byte) error {
	if c.to == nil {
		return nil
	}
	return c.to.save(key, value)
}

// walk is a way through a partition.
type walk struct {
	p    *partition
	next int64  // the offset that comes next; -1 before the first
	size int64  // bytes of the entries before it
	time int64  // of the entry before it
	why  string // what was wrong since the last entry that is whole
}

// partition reads a partition and returns where it ends.
func (c *checker) partition(ctx context.Context, p *partition) (end int64, err error) {
	w := &walk{p: p, next: -1, time: math.MinInt64}
	for from := int64(0); ; {
		err := c.entries(ctx, w, from)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrDamaged) {
			return 0, err
		}
		w.why = firstLine(err)
		beyond, ok := c.beyond(p, max(from, w.next)+1)
		if !ok {
			break
		}
		from = beyond
	}
	if w.why != "" {
		c.lose(w, 0)
	}
	return max(0, w.next), nil
}

// lose reports that what comes next is lost, up to an offset.
func (c *checker) lose(w *walk, to int64) {
	why := w.why
	if why == "" {
		why = "it is missing, or does not follow what is before it"
	}
	c.report.Losses = append(c.report.Losses, Loss{w.p.topic.name, w.p.index, max(0, w.next), to, why})
}

// entries reads the entries from an offset on, to the end or to where the keys are
// damaged.
func (c *checker) entries(ctx context.Context, w *walk, from int64) error {
	it, err := c.d.db.NewIter(&pebble.IterOptions{LowerBound: w.p.prefix, UpperBound: w.p.upper})
	if err != nil {
		return c.d.described(err)
	}
	for ok := it.SeekGE(appendOffsetKey(logPrefix(w.p.topic.id, w.p.index), from)); ok; ok = it.Next() {
		if err := cmp.Or(ctx.Err(), c.entry(w, it)); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	err = c.d.described(it.Error())
	_ = it.Close() // it repeats what reading a key or value has met
	return err
}

// entry checks the entry that the iterator is at, and copies it. The error is of
// copying.
func (c *checker) entry(w *walk, it *pebble.Iterator) error {
	e, size, err := c.d.readEntry(it)
	if err != nil {
		w.why = firstLine(err)
		return nil
	}
	key, err := parseLogKey(it.Key())
	if err != nil {
		return err
	}
	follows := w.next < 0 || e.base == w.next && key.size == w.size && e.time > w.time
	if !follows || w.why != "" {
		c.lose(w, e.base)
	}
	w.next, w.size, w.time, w.why = e.end(), size, e.time, ""
	c.report.Records += int64(e.count)
	if c.to != nil {
		c.report.Saved += int64(e.count)
	}
	return c.save(it.Key(), it.Value())
}

// beyond finds the least offset from which a partition can be read again after a
// part of its keys that cannot.
func (c *checker) beyond(p *partition, from int64) (int64, bool) {
	readable := func(offset int64) (found, sound bool) {
		it, err := c.d.db.NewIter(&pebble.IterOptions{LowerBound: p.prefix, UpperBound: p.upper})
		if err != nil {
			return false, false
		}
		found = it.SeekGE(appendOffsetKey(logPrefix(p.topic.id, p.index), offset))
		sound = it.Error() == nil
		_ = it.Close() // it repeats the error
		return found, sound
	}
	low, high := from, from+1
	for step := int64(2); ; step *= 2 {
		if step > 1<<50 {
			return 0, false
		}
		found, sound := readable(high)
		if sound && !found {
			return 0, false // that is behind the end
		}
		if sound {
			break
		}
		low, high = high, from+step
	}
	for low+1 < high {
		middle := low + (high-low)/2
		if _, sound := readable(middle); sound {
			high = middle
		} else {
			low = middle
		}
	}
	return high, true
}

// positions checks where the groups stand.
func (c *checker) positions() error {
	byID := map[uint32]*topic{}
	for _, t := range c.d.topics {
		byID[t.id] = t
	}
	fault := c.d.scan([]byte{kindPosition}, func(key, value []byte) error {
		name, id, p, err := parsePositionKey(key)
		if err != nil || len(value) != 8 {
			c.report.Losses = append(c.report.Losses, Loss{Why: fmt.Sprintf("a group's position is damaged: %x", key)})
			return nil
		}
		t := byID[id]
		if t == nil || int(p) >= len(t.partitions) {
			c.report.Losses = append(c.report.Losses, Loss{Why: fmt.Sprintf("group %s has a position in a topic that is not there", name)})
			return nil
		}
		at, end := int64(binary.BigEndian.Uint64(value)), c.ends[id][p]
		if at < 0 || at > end {
			c.report.Losses = append(c.report.Losses, Loss{t.name, p, end, at, fmt.Sprintf("group %s stands at offset %d, beyond the end %d", name, at, end)})
			value = binary.BigEndian.AppendUint64(nil, uint64(end))
		}
		return c.save(key, value)
	})
	if fault == nil || !errors.Is(fault, ErrDamaged) {
		return fault
	}
	c.report.Losses = append(c.report.Losses, Loss{Why: "the positions of groups end early: " + firstLine(fault)})
	return nil
}
