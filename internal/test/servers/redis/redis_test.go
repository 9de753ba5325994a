// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
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

// A server that is killed while it writes leaves a part of a transaction.
func TestAServerForgetsATransactionThatItHasWrittenInPart(t *testing.T) {
	ctx := context.Background()
	s := Start(t, Options{AppendFsync: "always"})
	c := s.Client()
	transaction := "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1)"
	if err := c.Eval(ctx, transaction, []string{"a", "b"}).Err(); !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	s.Kill()
	files, err := filepath.Glob(filepath.Join(s.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if err := os.Truncate(files[0], size(t, files[0])-20); err != nil { // in its last command
		t.Fatal(err)
	}
	s.Start()
	if err := c.Eval(ctx, transaction, []string{"c", "d"}).Err(); !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	s.Restart()
	if keys := c.Keys(ctx, "*").Val(); len(keys) != 2 || c.Exists(ctx, "c", "d").Val() != 2 {
		t.Errorf("after another restart there are %q, want c and d", keys)
	}
}

func size(t *testing.T, file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
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
