// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRequestsWithoutAKnownTokenAreLoggedOnceAMinuteWithTheirNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := &Gateway{o: Options{Access: &Access{file: &watched[[]grant]{}}}, metrics: newMetrics()}
		g.strangers.log = slog.New(slog.NewTextHandler(&log, nil))
		topics := routes()[2]
		ask := func(times int, token string) {
			for range times {
				q := httptest.NewRequest("GET", "/v1/topics?token=in-the-query", nil)
				if token != "" {
					q.Header.Set("Authorization", "Bearer "+token)
				}
				w := httptest.NewRecorder()
				if g.serve(w, q, &topics); w.Code != 401 {
					t.Fatalf("status %d", w.Code)
				}
			}
		}
		ask(1000, "a-guess-at-a-token")
		time.Sleep(strangersEvery - time.Second)
		ask(10, "")
		time.Sleep(time.Second)
		ask(5, "")
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.HasSuffix(lines[0], " requests=1") || !strings.HasSuffix(lines[1], " requests=1010") {
			t.Errorf("the log is\n%s", log.String())
		}
		for _, part := range []string{"status=401", `error="the token is not known"`, "from=192.0.2.1:1234", topics.pattern()} {
			if !strings.Contains(lines[0], part) {
				t.Errorf("%s is not in %s", part, lines[0])
			}
		}
		if strings.Contains(log.String(), "guess") || strings.Contains(log.String(), "in-the-query") {
			t.Errorf("the log has what was sent for a token:\n%s", log.String())
		}
	})
}
