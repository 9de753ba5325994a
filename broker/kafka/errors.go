// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// heals reports whether what failed may go well when it is tried again: servers
// that cannot be reached, or are not ready. What a server refuses for good, such
// as a password or a topic's name, does not heal.
func heals(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
		return false
	}
	for _, e := range []error{
		broker.ErrUnknownTopic, broker.ErrTopicConflict, broker.ErrTooLarge, broker.ErrFenced, broker.ErrGroupActive, broker.ErrClosed, broker.ErrRejoin,
	} {
		if errors.Is(err, e) {
			return false
		}
	}
	if refused(err) {
		return false
	}
	var answer *kerr.Error
	if errors.As(err, &answer) {
		return answer.Retriable && answer != kerr.UnknownTopicOrPartition && answer != kerr.UnknownTopicID
	}
	return true
}

// refused reports whether the servers, or this client where it does not trust them,
// will not do it however often they are asked.
func refused(err error) bool {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return true
	}
	for _, e := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism,
		kerr.IllegalSaslState, kerr.InconsistentGroupProtocol,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// forgotten reports whether a server does not know a topic. One that has just
// started may not know topics that exist.
func forgotten(err error) bool {
	return errors.Is(err, broker.ErrUnknownTopic) || errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// stale reports whether the coordinator does not take the member for one of the
// group's present generation.
func stale(err error) bool {
	for _, e := range []error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.FencedInstanceID, kerr.GroupIDNotFound} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// overtaken reports whether a transaction failed because the coordinator had
// ended it, such as for its time. It has not taken place; a new one may.
func overtaken(err error) bool {
	for _, e := range []error{
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping,
		kerr.UnknownProducerID, kerr.OutOfOrderSequenceNumber, kerr.TransactionAbortable, kerr.OperationNotAttempted,
		kerr.ConcurrentTransactions, kerr.TransactionCoordinatorFenced, kerr.UnknownServerError,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wait is how long to wait before a call is made again, after so many tries: work
// is to go on within a second of a server's return.
func wait(tries int) time.Duration { return backoff.After(tries, 25*time.Millisecond, time.Second) }

// again waits before a call is made again.
func again(ctx context.Context, tries int) error { return backoff.Sleep(ctx, wait(tries)) }

// retry calls until the outcome is one that does not heal.
func retry[T any](ctx context.Context, call func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		v, err := call()
		if err == nil || !heals(err) || ctx.Err() != nil {
			return v, err
		}
		if again(ctx, try) != nil {
			return v, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// insist calls again for a moment when a server does not know a topic that
// another one, or an earlier call, knows.
func insist[T any](ctx context.Context, call func() (T, error)) (T, error) {
	began := time.Now()
	for try := 1; ; try++ {
		v, err := retry(ctx, call)
		if !forgotten(err) || time.Since(began) > decision || again(ctx, try) != nil {
			return v, err
		}
	}
}
