// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"sync"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/dead"
	"github.com/millrace-ml/millrace/stage"
)

// Retry predicts again on dead letters of a service of the pipeline, whether it
// runs here or not. It is a [dead.Retry].
func (a *App) Retry(ctx context.Context, service string, letters []stage.Letter, settle func([]broker.Record) error) (stage.Observation, error) {
	return a.retrier.retry(ctx, service, letters, settle)
}

// Retrier is App.Retry for a process that runs nothing of the pipeline. Of the
// configuration it uses Pipeline, Broker, Model and Logger.
func Retrier(c Config) dead.Retry {
	c.setDefaults()
	return newRetrier(c).retry
}

// retrier loads the models of services when their letters are tried again.
type retrier struct {
	c Config

	mu     sync.Mutex
	loaded map[string]*stage.Stage
}

func newRetrier(c Config) *retrier { return &retrier{c: c, loaded: map[string]*stage.Stage{}} }

func (r *retrier) retry(ctx context.Context, service string, letters []stage.Letter, settle func([]broker.Record) error) (stage.Observation, error) {
	s, err := r.stage(service)
	if err != nil {
		return stage.Observation{}, err
	}
	return s.Retry(ctx, letters, settle)
}

func (r *retrier) stage(service string) (*stage.Stage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.loaded[service]; s != nil {
		return s, nil
	}
	if _, is := r.c.Pipeline.Services[service]; !is {
		return nil, fmt.Errorf("the pipeline has no service %s any more: its letters can be dropped, not tried again", service)
	}
	config, err := r.c.service(service)
	if err != nil {
		return nil, err
	}
	r.loaded[service] = stage.New(r.c.Broker, config)
	return r.loaded[service], nil
}
