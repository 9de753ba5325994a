// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/pipeline"
)

// fakeDoor records what happens to it.
type fakeDoor struct {
	called  string
	address string
	stuck   error // opening it fails
	ends    error // serving ends at once
	log     *[]string
}

func (d *fakeDoor) name() string         { return d.called }
func (d *fakeDoor) flags(*cobra.Command) {}
func (d *fakeDoor) healthy() error       { return d.ends }

func (d *fakeDoor) open(context.Context, *millrace.Options) (string, error) {
	return d.address, d.stuck
}
func (d *fakeDoor) lead(inside) error { return nil }

func (d *fakeDoor) serve(ctx context.Context, _ time.Duration) error {
	if d.ends != nil {
		return d.ends
	}
	<-ctx.Done()
	*d.log = append(*d.log, d.called+" ends")
	return nil
}

func appOf(t *testing.T) *millrace.App {
	t.Helper()
	p, err := pipeline.Parse("test.yaml", []byte("name: test\ntopics: {in: {}}\nservices:\n  copy: {from: in, to: out, model: {builtin: identity}}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := millrace.New(t.Context(), openBroker(t, t.TempDir()), p, millrace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDoorsEndAfterThePipelineHasDrained(t *testing.T) {
	var log []string
	all := []door{&fakeDoor{called: "open", address: "here", log: &log}, &fakeDoor{called: "off", log: &log}}
	open, err := openDoors(t.Context(), all, nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	err = open.serve(ctx, func(ctx context.Context) error {
		stop()
		<-ctx.Done()
		log = append(log, "the pipeline has drained")
		return nil
	})
	if got := strings.Join(log, ", "); err != nil || got != "the pipeline has drained, open ends" {
		t.Errorf("%s (%v)", got, err)
	}
}

func TestAPipelineEndsWithADoorAndSaysWhich(t *testing.T) {
	broken := errors.New("no more files")
	app := appOf(t)
	open, err := openDoors(t.Context(), []door{&fakeDoor{called: "side", address: "here", ends: broken}}, nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := open.lead(inside{app: app}); err != nil {
		t.Fatal(err)
	}
	if err := app.Healthy(); err == nil || err.Error() != "side: no more files" {
		t.Errorf("the health is %v", err)
	}
	err = open.serve(t.Context(), app.Run)
	if !errors.Is(err, broken) || err.Error() != "side: no more files" {
		t.Errorf("it ends with %v", err)
	}
}

func TestWhenADoorIsStuckThoseBeforeItGiveTheirAddressesBack(t *testing.T) {
	var log []string
	stuck := errors.New("another process has the port")
	all := []door{&fakeDoor{called: "first", address: "here", log: &log}, &fakeDoor{called: "second", stuck: stuck, log: &log}}
	if _, err := openDoors(t.Context(), all, nil, time.Second); !errors.Is(err, stuck) {
		t.Errorf("it opens with %v", err)
	}
	if got := strings.Join(log, ", "); got != "first ends" {
		t.Errorf("then: %s", got)
	}
}
