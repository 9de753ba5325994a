// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/loop"
	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/lineage"
)

// mark is what a batch remembers in its own topic: what it is, at first, and
// then with every settle how much of the output is good.
type mark struct {
	Input   string `json:"input,omitempty"` // hash of its beginning
	Output  string `json:"output,omitempty"`
	Bytes   int64  `json:"bytes"`
	Written int64  `json:"written"`
	Failed  int64  `json:"failed"`
}

// output writes results to a file and remembers how far it is.
type output struct {
	r     *run
	topic string // of the marks
	file  *os.File
	w     *bufio.Writer
	mark  mark
}

// headerRoom is what a record's key and header may take beside its value.
const headerRoom = 1024

// openOutput opens the output and the input where an earlier run left off.
func (r *run) openOutput(ctx context.Context) (*output, error) {
	head := bufio.NewReaderSize(r.c.Input, 1<<16)
	begin, err := head.Peek(1 << 16)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("read input: %w", err)
	}
	r.in, err = records.NewReader(head, records.Options{
		Name: r.c.Name, Format: r.c.Format, Limit: broker.DefaultMaxRecordBytes - headerRoom,
		Keys: records.Keys{Field: r.c.Key, Usual: true},
	})
	if err != nil {
		return nil, err
	}

	sum := sha256.Sum256(begin)
	what := mark{Input: hex.EncodeToString(sum[:16])}
	if r.c.Output != "-" {
		if what.Output, err = filepath.Abs(r.c.Output); err != nil {
			return nil, err
		}
	}
	o := &output{r: r, topic: lineage.BatchOf(r.c.Pipeline.Name)}
	if err := o.resume(ctx, what); err != nil {
		return nil, err
	}
	if r.c.Output == "-" {
		o.w = bufio.NewWriterSize(r.c.Stdout, 1<<16)
		return o, nil
	}
	return o, o.openFile()
}

// resume reads what an earlier run settled, or notes that this one begins.
func (o *output) resume(ctx context.Context, what mark) error {
	infos, err := o.r.b.Topics(ctx)
	if err != nil {
		return err
	}
	partitions, known := 0, false
	for _, info := range infos {
		if info.Name == o.r.c.Result {
			partitions = len(info.Ends)
		}
		known = known || info.Name == o.topic
	}
	if !known {
		if err := o.r.b.CreateTopics(ctx, broker.Topic{Name: o.topic, Partitions: partitions}); err != nil {
			return err
		}
		return o.begin(ctx, what)
	}
	var first *mark
	for rec, err := range broker.Records(ctx, o.r.b, o.topic, broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			return err
		}
		var m mark
		if err := json.Unmarshal(rec.Value, &m); err != nil {
			return fmt.Errorf("the batch's own topic %s: %w", o.topic, err)
		}
		if m.Input != "" {
			first = &m
		} else if m.Written > o.mark.Written {
			o.mark = m
		}
	}
	if first == nil {
		return o.begin(ctx, what)
	}
	if *first != what {
		return fmt.Errorf("the data directory holds the batch of another input or output (it writes %s): go on with that one, or use another --data-dir", cmp.Or(first.Output, "standard output"))
	}
	o.r.written.Store(o.mark.Written)
	o.r.failed.Store(o.mark.Failed)
	return nil
}

func (o *output) begin(ctx context.Context, what mark) error {
	value, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, err = o.r.b.Publish(ctx, broker.Record{Topic: o.topic, Pinned: true, Value: value})
	return err
}

// openFile opens the output file and cuts it back to what was settled.
func (o *output) openFile() error {
	flags := os.O_RDWR | os.O_CREATE
	if o.mark.Bytes == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(o.r.c.Output, flags, 0o666)
	if err != nil {
		return fmt.Errorf("open output: %w", err)
	}
	o.file, o.w = f, bufio.NewWriterSize(f, 1<<16)
	if o.mark.Bytes == 0 {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil // a pipe or device cannot be cut back
	}
	if info.Size() < o.mark.Bytes {
		return fmt.Errorf("output %s has %d bytes but the batch had written %d: put the file back, or start anew with another --data-dir", o.r.c.Output, info.Size(), o.mark.Bytes)
	}
	if err := f.Truncate(o.mark.Bytes); err != nil {
		return fmt.Errorf("cut output %s back to what was settled: %w", o.r.c.Output, err)
	}
	_, err = f.Seek(o.mark.Bytes, io.SeekStart)
	return err
}

// idle is how long write waits for results before it looks whether all are there.
const idle = 20 * time.Millisecond

// write writes results until all are written.
func (o *output) write(ctx context.Context) (err error) {
	c, err := o.r.b.Join(ctx, o.topic, broker.Start(), o.r.c.Result)
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	for {
		if done, err := o.done(ctx); done || err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, idle)
		polled, err := c.Poll(wait, broker.Want{Records: 4096})
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			continue
		case err != nil:
			return fmt.Errorf("read results: %w", err)
		}
		if err := o.settle(ctx, c, polled.Records); err != nil {
			return err
		}
	}
}

// done reports whether every record is answered and written.
func (o *output) done(ctx context.Context) (bool, error) {
	if !o.r.complete() {
		return false, nil
	}
	if o.r.counted {
		return true, nil
	}
	if quiet, err := o.r.quiet(ctx); !quiet || err != nil {
		return false, err
	}
	lags, err := o.r.b.Lag(ctx, o.topic)
	if err != nil {
		return false, err
	}
	for _, l := range lags {
		if l.Lag > 0 {
			return false, nil
		}
	}
	return true, nil
}

// settle writes the results, makes them durable, and remembers it with the
// group's position.
func (o *output) settle(ctx context.Context, c *broker.Consumer, results []broker.Record) error {
	var line []byte
	for i := range results {
		line = jsontext.AppendLine(line[:0], bytes.TrimSuffix(results[i].Value, []byte{'\n'}))
		_, _ = o.w.Write(line) // errors stay in the writer until Flush
		_ = o.w.WriteByte('\n')
		o.mark.Bytes += int64(len(line)) + 1
		o.mark.Written++
		if string(results[i].Header(lineage.JoinStatus)) == lineage.JoinPartial {
			o.mark.Failed++
		}
	}
	if err := o.w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if o.file != nil {
		if err := o.file.Sync(); err != nil && isRegular(o.file) {
			return fmt.Errorf("write output: %w", err)
		}
	}
	value, err := json.Marshal(o.mark)
	if err != nil {
		return err
	}
	settled, err := loop.Settling{
		Settle: c.Settle, Logger: o.r.c.App.Logger,
		Results: func() []broker.Record {
			return []broker.Record{{Topic: o.topic, Partition: results[0].Partition, Pinned: true, Value: value}}
		},
	}.Run(ctx)
	if err != nil {
		return err
	}
	if !settled {
		return fmt.Errorf("another process writes out the results of this batch: let one finish")
	}
	o.r.written.Store(o.mark.Written)
	o.r.failed.Store(o.mark.Failed)
	o.r.mu.Lock()
	o.r.room.Broadcast()
	o.r.mu.Unlock()
	return nil
}

func isRegular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

func (o *output) close() error {
	if o.file == nil {
		return nil
	}
	f := o.file
	o.file = nil
	return f.Close()
}

// rejects is the file of rejected lines, made when the first one comes.
type rejects struct {
	path string
	file *os.File
	w    *bufio.Writer
}

func (f *rejects) add(e records.Record) error {
	if f.file == nil {
		var err error
		if f.file, err = os.Create(f.path); err != nil {
			return fmt.Errorf("open the file of rejected lines: %w", err)
		}
		f.w = bufio.NewWriter(f.file)
	}
	enc := json.NewEncoder(f.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Line   int    `json:"line"`
		Reason string `json:"reason"`
		Text   string `json:"text"`
	}{e.Line, e.Reason, e.Text})
}

func (f *rejects) close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.w.Flush(), f.file.Close())
	f.file = nil
	if err != nil {
		return fmt.Errorf("write the file of rejected lines: %w", err)
	}
	return nil
}

// RejectedPath is the file of rejected lines beside an output: desk.jsonl →
// desk.rejected.jsonl.
func RejectedPath(output string) string {
	if output == "-" {
		return "rejected.jsonl"
	}
	ext := filepath.Ext(output)
	return output[:len(output)-len(ext)] + ".rejected.jsonl"
}
