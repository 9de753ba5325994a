// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// lines logs each message at most once in a while, and how often it was left out.
type lines struct {
	to *slog.Logger

	mu   sync.Mutex
	seen map[string]*lineCount
}

type lineCount struct {
	last time.Time
	left int
}

// lineEvery is how often the same message is logged.
const lineEvery = 10 * time.Second

func (l *lines) log(level slog.Level, message string, args ...any) {
	l.mu.Lock()
	c := l.seen[message]
	if c == nil {
		c = &lineCount{}
		if l.seen == nil || len(l.seen) > 1000 {
			l.seen = map[string]*lineCount{}
		}
		l.seen[message] = c
	}
	now := time.Now()
	if now.Sub(c.last) < lineEvery {
		c.left++
		l.mu.Unlock()
		return
	}
	if c.left > 0 {
		args = append(args, "left_out", c.left)
	}
	*c = lineCount{last: now}
	l.mu.Unlock()
	l.to.Log(context.Background(), level, message, args...)
}
