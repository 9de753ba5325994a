// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// producer makes one transaction after the other under a transactional id.
type producer struct {
	t         *transactions
	id        string
	client    *kgo.Client // nil: to be opened
	implicit  bool        // transactions take part of partitions and groups by themselves
	announced announcements
}

// announcements notes whether the client announced a transaction's partitions to
// the coordinator, as it does unless it takes the servers for ones that find them
// out by themselves (KIP-890). A server that has just started may look older than
// it is, and then the client and this package would speak of the transaction in
// two ways.
type announcements struct{ seen atomic.Bool }

// OnBrokerWrite implements [kgo.HookBrokerWrite].
func (a *announcements) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.AddPartitionsToTxn) {
		a.seen.Store(true)
	}
}

// errUnsent means that results could not be sent.
var errUnsent = errors.New("no server could be reached")

// errTwoWays means that the servers look different now than when the producer
// was opened.
var errTwoWays = errors.New("the servers' way of transactions has changed")

// transact carries out a settle. Its error means that the settle did not take
// place.
func (p *producer) transact(s *settling) error {
	if err := p.begin(); err != nil {
		return err
	}
	p.announced.seen.Store(false)
	sent, err := produce(p.t.life, p.client, s.records)
	if err == nil && len(sent.unsent) > 0 {
		err = errUnsent
	}
	if err == nil && p.announced.seen.Load() == p.implicit {
		p.abort()
		p.discard() // the next one looks again
		return errTwoWays
	}
	if err == nil {
		err = p.move(s)
	}
	if err != nil {
		p.abort()
		if forgotten(err) {
			p.discard() // a topic may have been made again: the next one asks for its id
		}
		return err
	}
	if err := p.client.EndTransaction(p.t.life, kgo.TryCommit); err != nil {
		return p.findOut(s, err)
	}
	return nil
}

// begin begins a transaction, with a new producer if there is none.
func (p *producer) begin() error {
	if p.client == nil {
		client, err := p.open()
		if err != nil {
			return err
		}
		p.client = client
	}
	if err := p.client.BeginTransaction(); err != nil {
		p.discard()
		return fmt.Errorf("begin: %w", err)
	}
	return nil
}

// open opens a producer. When it gets its number from the coordinator, what an
// earlier producer of the same id left open is aborted.
func (p *producer) open() (*kgo.Client, error) {
	var err error
	if p.implicit, err = transactionsAreImplicit(p.t.life, p.t.d.client); err != nil {
		return nil, err
	}
	opts := append(p.t.d.produceOptions(),
		kgo.TransactionalID(p.id),
		kgo.TransactionTimeout(p.t.d.options.TransactionTimeout),
		kgo.MaxBufferedRecords(1<<30), // the settle's records are in memory anyway
		kgo.ConcurrentTransactionsBackoff(2e6),
		kgo.WithHooks(&p.announced),
	)
	if !p.implicit {
		v := kversion.Stable()
		v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
		opts = append(opts, kgo.MaxVersions(v))
	}
	return p.t.d.newClient(opts...)
}

// transactionsAreImplicit asks whether all servers have the transactions of
// KIP-890.
func transactionsAreImplicit(ctx context.Context, client *kgo.Client) (bool, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "millrace", "1"
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return false, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel >= 2, nil
		}
	}
	return false, nil
}

// move puts the group's positions into the transaction.
func (p *producer) move(s *settling) error {
	if len(s.moves) == 0 {
		return nil
	}
	number, epoch, err := p.client.ProducerID(p.t.life)
	if err != nil {
		return err
	}
	if err := p.addGroup(number, epoch); err != nil {
		return err
	}
	return p.t.m.asMember(p.t.life, s, func(ctx context.Context, id string, generation int32) error {
		req, err := p.commitRequest(ctx, s)
		if err != nil {
			return err
		}
		req.ProducerID, req.ProducerEpoch = number, epoch
		req.MemberID, req.Generation = id, generation
		resp, err := req.RequestWith(ctx, p.client)
		if err != nil {
			return fmt.Errorf("move the group: %w", err)
		}
		for _, topic := range resp.Topics {
			for _, part := range topic.Partitions {
				if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
					return fmt.Errorf("move the group in %s[%d]: %w", topic.Topic, part.Partition, err)
				}
			}
		}
		return nil
	})
}

// addGroup announces to the transaction's coordinator that the group's positions
// are part of it. Newer servers find that out by themselves (KIP-890).
func (p *producer) addGroup(number int64, epoch int16) error {
	if p.implicit {
		return nil
	}
	for try := 1; ; try++ {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.Group = p.id, p.t.m.group
		req.ProducerID, req.ProducerEpoch = number, epoch
		resp, err := req.RequestWith(p.t.life, p.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		if err := again(p.t.life, try); err != nil {
			return err
		}
	}
}

func (p *producer) commitRequest(ctx context.Context, s *settling) (*kmsg.TxnOffsetCommitRequest, error) {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = p.id, p.t.m.group
	for _, name := range p.t.m.topics {
		known, err := p.t.d.topics.get(ctx, name)
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
func (p *producer) abort() {
	if p.t.life.Err() != nil {
		return
	}
	err := p.client.AbortBufferedRecords(p.t.life)
	if err == nil {
		err = p.client.EndTransaction(p.t.life, kgo.TryAbort)
	}
	if err != nil {
		p.discard() // the next producer aborts it
	}
}

func (p *producer) discard() {
	if p.client != nil {
		p.client.Close()
		p.client = nil
	}
}

// findOut is for a transaction that may have been committed: the answer was lost
// or makes no sense. A new producer makes the coordinator finish or abort it;
// after that the group's positions tell, by the note.
func (p *producer) findOut(s *settling, cause error) error {
	p.discard()
	for try := 1; ; try++ {
		took, err := p.tookPlace(s)
		if err == nil && took {
			return nil
		}
		if err == nil {
			return fmt.Errorf("commit: %w", cause)
		}
		p.discard()
		p.t.d.options.Logger.Info("it is not known yet whether a settle took place", "group", p.t.m.group, "error", err)
		if err := again(p.t.life, try); err != nil {
			return err
		}
	}
}

func (p *producer) tookPlace(s *settling) (bool, error) {
	client, err := p.open()
	if err != nil {
		return false, err
	}
	p.client = client
	if _, _, err := client.ProducerID(p.t.life); err != nil {
		return false, err
	}
	positions, err := p.t.d.committed(p.t.life, p.t.m.group, true)
	if err != nil {
		return false, err
	}
	for at := range s.moves {
		return positions[at].note == s.note, nil
	}
	return false, nil
}
