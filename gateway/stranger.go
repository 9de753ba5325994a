// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// strangers says in the log that requests came without a token that is known: the
// first at once, and then once a minute at most with how many there were, however
// fast somebody guesses. It may be used by several goroutines at once.
type strangers struct {
	log *slog.Logger

	mu     sync.Mutex
	said   time.Time // of the last line; zero before the first
	unsaid int       // requests since then
}

// strangersEvery is how long after a line of the log there is the next one.
const strangersEvery = time.Minute

// refused notes a request that is answered 401. What it sent for a token is not
// logged: it may be right but for a slip.
func (s *strangers) refused(q *http.Request, route *route, e *Error) {
	s.mu.Lock()
	s.unsaid++
	now, count := time.Now(), s.unsaid
	quiet := !s.said.IsZero() && now.Sub(s.said) < strangersEvery
	if !quiet {
		s.said, s.unsaid = now, 0
	}
	s.mu.Unlock()
	if quiet {
		return
	}
	s.log.Warn("request refused", "route", route.pattern(), "status", e.Status, "error", e.Message,
		"from", q.RemoteAddr, "requests", count)
}
