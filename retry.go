// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"fmt"
	"sync"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/service"
)

// Retry predicts again on dead letters of a service of the pipeline, whether it
// runs here or not. It is a [deadletter.Retry].
func (a *App) Retry(ctx context.Context, name string, letters []service.Letter, settle func([]broker.Record) error) (service.Observation, error) {
	return a.retrier.retry(ctx, name, letters, settle)
}

// Retrier is [App.Retry] for a process that runs nothing of the pipeline. Of the
// options it uses Models, Model and Logger.
func Retrier(b *broker.Broker, p *pipeline.Pipeline, o Options) (deadletter.Retry, error) {
	c, err := newConfig(b, p, o)
	if err != nil {
		return nil, err
	}
	return newRetrier(c).retry, nil
}

// retrier loads the models of services when their letters are tried again.
type retrier struct {
	c config

	mu     sync.Mutex
	loaded map[string]*service.Service
}

func newRetrier(c config) *retrier { return &retrier{c: c, loaded: map[string]*service.Service{}} }

func (r *retrier) retry(ctx context.Context, name string, letters []service.Letter, settle func([]broker.Record) error) (service.Observation, error) {
	s, err := r.service(ctx, name)
	if err != nil {
		return service.Observation{}, err
	}
	return s.Retry(ctx, letters, settle)
}

func (r *retrier) service(ctx context.Context, name string) (*service.Service, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.loaded[name]; s != nil {
		return s, nil
	}
	if _, is := r.c.Pipeline.Services[name]; !is {
		return nil, fmt.Errorf("the pipeline has no service %s any more: its letters can be dropped, not tried again", name)
	}
	if err := r.c.resolve(); err != nil {
		return nil, err
	}
	config, err := r.c.service(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := service.New(r.c.Broker, config)
	if err != nil {
		return nil, err
	}
	r.loaded[name] = s
	return s, nil
}
