// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/cli"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
	"github.com/millrace-ml/millrace/model"
)

const (
	// child in the environment makes the test binary the program itself.
	child = "MILLRACE_CRASH_CHILD"

	killsVariable    = "MILLRACE_CRASH_KILLS"
	messagesVariable = "MILLRACE_CRASH_MESSAGES"
	slowVariable     = "MILLRACE_CRASH_SLOW"
)

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		os.Exit(cli.Main(cli.Options{Models: millrace.Models{"slow": slow{}}}))
	}
	goleak.VerifyTestMain(m, proxy.IgnoreLeaks()...)
}

// slow is a model whose calls take as long as a log-normal draw, most of them about
// as long as the environment says.
type slow struct{}

func (slow) Name() string { return "slow@1" }

func (slow) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	median, err := time.ParseDuration(os.Getenv(slowVariable))
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(time.Duration(float64(median) * math.Exp(rand.NormFloat64()/2))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	answers := make([]model.Answer, len(items))
	for i := range items {
		answers[i] = model.One(items[i].Value)
	}
	return answers, nil
}

// number is what the environment says, or else the default.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is not a number", variable, s)
	}
	return n
}

// config is what the environment says: how many kills and messages, and the seed.
func config(t *testing.T, deadline time.Duration) Config {
	t.Helper()
	c := Config{
		Dir:      t.TempDir(),
		Command:  []string{os.Args[0]},
		Env:      append(os.Environ(), child+"=1"),
		Kills:    number(t, killsVariable, defaultKills),
		Messages: number(t, messagesVariable, defaultMessages),
		Seed:     uint64(number(t, "MILLRACE_CRASH_SEED", int(time.Now().UnixNano()))),
		Deadline: deadline,
		Log:      t.Logf,
	}
	return c
}

func run(t *testing.T, c Config) *Report {
	t.Helper()
	t.Logf("at least %d kills, %d messages, deadline %v, MILLRACE_CRASH_SEED=%d", c.Kills, c.Messages, c.Deadline, c.Seed)
	report, err := Run(t.Context(), c)
	if err == nil {
		t.Logf("%v", report)
		err = report.Err()
	}
	if err != nil {
		keep(t, c.Dir)
		t.Fatal(err)
	}
	if n := report.InFlow(); n < c.Kills {
		t.Errorf("%d of %d kills hit the flow, want %d", n, len(report.Kills), c.Kills)
	}
	return report
}

// keep saves the data of a failed run for whoever looks into it.
func keep(t *testing.T, dir string) {
	to := os.Getenv("MILLRACE_CRASH_KEEP")
	if to == "" {
		return
	}
	to = filepath.Join(to, filepath.Base(dir)+strconv.FormatInt(time.Now().Unix(), 10))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Errorf("keep the data: %v", err)
	}
	t.Logf("the data is in %s", to)
}

// TestCrash takes MILLRACE_CRASH_KILLS, MILLRACE_CRASH_MESSAGES and
// MILLRACE_CRASH_SEED from the environment. With MILLRACE_CRASH_KEEP=DIR the data
// of a failed run is kept there.
func TestCrash(t *testing.T) {
	t.Run("every part comes in time", func(t *testing.T) {
		report := run(t, config(t, time.Hour))
		if report.Revisions != 0 {
			t.Errorf("%d answers were mended although nothing was late", report.Revisions)
		}
	})
	t.Run("parts come late", func(t *testing.T) {
		c := config(t, 10*time.Millisecond) // shorter than a restart
		c.Messages = max(1, c.Messages/2)   // each is answered several times
		report := run(t, c)
		if report.Revisions == 0 {
			t.Error("nothing was late, so nothing was shown")
		}
	})
}

// A model that takes long has many calls in flight when it is killed, and many
// that are done wait for earlier ones. MILLRACE_CRASH_SLOW says how long a call
// takes.
func TestCrashWithSlowCalls(t *testing.T) {
	c := config(t, time.Hour)
	c.Slow = 100 * time.Millisecond
	if s := os.Getenv(slowVariable); s != "" {
		var err error
		if c.Slow, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	c.Env = append(c.Env, slowVariable+"="+c.Slow.String())
	c.Life = max(500*time.Millisecond, 3*c.Slow)
	c.Kills = number(t, killsVariable, 8)
	c.Messages = number(t, messagesVariable, 5_000)
	run(t, c)
}
