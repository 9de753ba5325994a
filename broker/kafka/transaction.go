// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millrace-ml/millrace/broker"
)

// errAbandoned means that a settle did not take place and was not tried again
// because nobody waits for it.
var errAbandoned = errors.New("the settle did not take place")

// transactions carries out settles, one at a time, with a producer of its own.
type transactions struct {
	b    *Broker
	m    *member
	id   string // the transactional id
	life context.Context
	stop context.CancelFunc
	runs sync.WaitGroup

	client  *kgo.Client // nil: to be opened
	settles int64       // numbers the notes
}

func newTransactions(b *Broker, m *member) *transactions {
	t := &transactions{b: b, m: m, id: m.group + "-" + strings.ToLower(rand.Text()[:12])}
	t.life, t.stop = context.WithCancel(context.Background())
	return t
}

// run carries out a settle and tells the outcome. What fails in passing is tried
// again, while somebody waits.
func (t *transactions) run(s *settling) {
	t.runs.Add(1)
	defer t.runs.Done()
	defer close(s.done)
	t.settles++
	s.note = fmt.Sprintf("%s %d", t.id, t.settles)
	for try := 1; ; try++ {
		s.err = t.attempt(s)
		if s.err == nil || errors.Is(s.err, broker.ErrFenced) || !heals(s.err) && !overtaken(s.err) {
			return
		}
		t.b.options.Logger.Info("a settle failed and is tried again", "group", t.m.group, "error", s.err)
		select {
		case <-s.abandoned:
			s.err = fmt.Errorf("%w: %w", errAbandoned, s.err)
			return
		default:
		}
		if err := sleep(t.life, backoff(try)); err != nil {
			s.err = err
			return
		}
	}
}

// attempt tries once. Its error means that the settle did not take place.
func (t *transactions) attempt(s *settling) error {
	if len(s.results) == 0 {
		return t.m.asMember(t.life, func(ctx context.Context, id string, generation int32) error {
			return t.m.commit(ctx, id, generation, s.moves, s.note)
		})
	}
	if err := t.begin(); err != nil {
		return err
	}
	err := produce(t.life, t.client, fresh(s.results))
	if err == nil {
		err = t.move(s)
	}
	if err != nil {
		t.abort()
		return err
	}
	if err := t.client.EndTransaction(t.life, kgo.TryCommit); err != nil {
		return t.findOut(s, err)
	}
	return nil
}

// fresh copies records that may have been given to a producer before, which
// writes into them.
func fresh(records []*kgo.Record) []*kgo.Record {
	copies := make([]kgo.Record, len(records))
	list := make([]*kgo.Record, len(records))
	for i, r := range records {
		copies[i] = kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers}
		list[i] = &copies[i]
	}
	return list
}

// begin begins a transaction, with a new producer if there is none.
func (t *transactions) begin() error {
	if t.client == nil {
		client, err := t.open()
		if err != nil {
			return err
		}
		t.client = client
	}
	if err := t.client.BeginTransaction(); err != nil {
		t.discard()
		return fmt.Errorf("begin: %w", err)
	}
	return nil
}

// open opens a producer. When it gets its number from the coordinator, what an
// earlier producer of the same id left open is aborted.
func (t *transactions) open() (*kgo.Client, error) {
	limit := int32(t.b.batchBytes())
	opts := []kgo.Opt{
		kgo.TransactionalID(t.id),
		kgo.TransactionTimeout(t.b.options.TransactionTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(limit),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1 << 30), // the settle's records are in memory anyway
		kgo.ConcurrentTransactionsBackoff(2e6),
	}
	if !t.b.implicit {
		v := kversion.Stable()
		v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
		opts = append(opts, kgo.MaxVersions(v))
	}
	return t.b.newClient(opts...)
}

// move puts the group's positions into the transaction.
func (t *transactions) move(s *settling) error {
	if len(s.moves) == 0 {
		return nil
	}
	producer, epoch, err := t.client.ProducerID(t.life)
	if err != nil {
		return err
	}
	if err := t.addGroup(producer, epoch); err != nil {
		return err
	}
	return t.m.asMember(t.life, func(ctx context.Context, id string, generation int32) error {
		req, err := t.commitRequest(ctx, s)
		if err != nil {
			return err
		}
		req.ProducerID, req.ProducerEpoch = producer, epoch
		req.MemberID, req.Generation = id, generation
		resp, err := req.RequestWith(ctx, t.client)
		if err != nil {
			return fmt.Errorf("move the group: %w", err)
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("move the group in %s[%d]: %w", topic.Topic, p.Partition, err)
				}
			}
		}
		return nil
	})
}

// addGroup tells the transaction's coordinator that the group's positions are
// part of it. Newer servers find that out by themselves (KIP-890).
func (t *transactions) addGroup(producer int64, epoch int16) error {
	if t.b.implicit {
		return nil
	}
	for try := 1; ; try++ {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.Group = t.id, t.m.group
		req.ProducerID, req.ProducerEpoch = producer, epoch
		resp, err := req.RequestWith(t.life, t.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		if err := sleep(t.life, backoff(try)); err != nil {
			return err
		}
	}
}

func (t *transactions) commitRequest(ctx context.Context, s *settling) (*kmsg.TxnOffsetCommitRequest, error) {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = t.id, t.m.group
	for _, name := range t.m.topics {
		known, err := t.b.topics.get(ctx, name)
		if err != nil {
			return nil, err
		}
		rt := kmsg.NewTxnOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID = known.name, known.id
		for at, offset := range s.moves {
			if at.Topic != name {
				continue
			}
			rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.Metadata = at.Partition, offset, kmsg.StringPtr(s.note)
			rt.Partitions = append(rt.Partitions, rp)
		}
		if len(rt.Partitions) > 0 {
			req.Topics = append(req.Topics, rt)
		}
	}
	return req, nil
}

// abort ends the transaction without effect.
func (t *transactions) abort() {
	if t.life.Err() != nil {
		return
	}
	err := t.client.AbortBufferedRecords(t.life)
	if err == nil {
		err = t.client.EndTransaction(t.life, kgo.TryAbort)
	}
	if err != nil {
		t.discard() // the next producer aborts it
	}
}

func (t *transactions) discard() {
	if t.client != nil {
		t.client.Close()
		t.client = nil
	}
}

// findOut is for a transaction that may have been committed: the answer was lost
// or makes no sense. A new producer makes the coordinator finish or abort it;
// after that the group's positions tell, by the note.
func (t *transactions) findOut(s *settling, cause error) error {
	t.discard()
	for try := 1; ; try++ {
		took, err := t.tookPlace(s)
		if err == nil && took {
			return nil
		}
		if err == nil {
			return fmt.Errorf("commit: %w", cause)
		}
		t.discard()
		t.b.options.Logger.Info("it is not known yet whether a settle took place", "group", t.m.group, "error", err)
		if err := sleep(t.life, backoff(try)); err != nil {
			return err
		}
	}
}

func (t *transactions) tookPlace(s *settling) (bool, error) {
	client, err := t.open()
	if err != nil {
		return false, err
	}
	t.client = client
	if _, _, err := client.ProducerID(t.life); err != nil {
		return false, err
	}
	positions, err := t.b.committed(t.life, t.m.group, true)
	if err != nil {
		return false, err
	}
	for at := range s.moves {
		return positions[at].note == s.note, nil
	}
	return false, nil
}

// close ends what is under way. An open transaction is aborted by the
// coordinator in its time.
func (t *transactions) close(ctx context.Context) {
	t.stop()
	t.runs.Wait()
	t.discard()
}
