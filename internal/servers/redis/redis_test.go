// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"testing"
	"time"
)

func TestAServerKeepsWhatItsSettingsSay(t *testing.T) {
	ctx := context.Background()
	for fsync, want := range map[string]string{"always": "v", "": ""} {
		s := Start(t, Options{AppendFsync: fsync})
		c := s.Client()
		if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		s.Restart()
		if got := c.Get(ctx, "k").Val(); got != want {
			t.Errorf("appendfsync %q: after a kill the key is %q, want %q", fsync, got, want)
		}
	}
}

func TestAPausedServerAnswersWhenItIsResumed(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	s.Pause()
	done := make(chan error, 1)
	go func() { done <- c.Ping(context.Background()).Err() }()
	select {
	case err := <-done:
		t.Fatalf("a paused server answered: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	s.Resume()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAClusterServesEverySlot(t *testing.T) {
	c := StartCluster(t, Options{})
	nodes := map[*Server]bool{}
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		nodes[c.NodeOf(t, key)] = true
	}
	if len(nodes) != 3 {
		t.Errorf("eight keys are on %d of 3 nodes", len(nodes))
	}
}
