// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/internal/demo"
	"github.com/millrace-ml/millrace/internal/screen"
)

const (
	// demoFrame is the time between two pictures.
	demoFrame = 100 * time.Millisecond
	// demoBurst is how many messages a burst has: enough to be seen before they are
	// answered.
	demoBurst = 2000
	// newsStays is how long what somebody just did is announced.
	newsStays = 8 * time.Second
)

// demoOnScreen shows the demo on the terminal until it ends or somebody quits,
// and then prints the summary.
func (c *console) demoOnScreen(ctx context.Context, config demo.Config) (err error) {
	warnings := &lastWarning{}
	config.Logger = slog.New(warnings)
	d, err := demo.New(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	terminal, err := screen.Open(c.in.(*os.File), c.out.(*os.File), c.colour(c.out))
	if err != nil {
		return err
	}
	playing, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(playing) }()

	watcher := demoWatcher{demo: d, warnings: warnings, ended: ended}
	err = errors.Join(watcher.watch(playing, terminal), terminal.Close())
	stop()
	if !watcher.over {
		c.demoDrains(d.State())
		err = errors.Join(err, <-ended)
	}
	watcher.switching.Wait()
	return errors.Join(err, printSummary(c.out, d.State()))
}

// demoWatcher shows the demo and does what the keys say.
type demoWatcher struct {
	demo      *demo.Demo
	warnings  *lastWarning
	ended     <-chan error
	over      bool // the demo has ended by itself
	news      demoNews
	switching sync.WaitGroup // services being paused
}

// demoNews is what somebody just did, which the screen explains.
type demoNews struct {
	what    demoEvent
	service string
	at      time.Time
}

type demoEvent int

const (
	nothingNew demoEvent = iota
	burstSent
	burstRefused
	serviceBack
)

// watch draws frames until the demo ends, ctx does, or somebody quits.
func (w *demoWatcher) watch(ctx context.Context, terminal *screen.Terminal) error {
	tick := time.NewTicker(demoFrame)
	defer tick.Stop()
	keys := terminal.Keys()
	for {
		columns, rows := terminal.Size()
		if err := terminal.Draw(w.picture(columns, rows)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.ended:
			w.over = true
			return err
		case key, more := <-keys:
			if !more { // nobody is there any more
				return nil
			}
			if quit := w.press(ctx, key); quit {
				return nil
			}
		case <-tick.C:
		}
	}
}

func (w *demoWatcher) picture(columns, rows int) []screen.Line {
	if time.Since(w.news.at) > newsStays {
		w.news = demoNews{}
	}
	return demoView{
		State: w.demo.State(), news: w.news, warning: w.warnings.text(), columns: columns, rows: rows,
	}.render()
}

// press does what a key says and reports whether to quit.
func (w *demoWatcher) press(ctx context.Context, key string) (quit bool) {
	switch key {
	case "q", "Q", "ctrl+c", "ctrl+d":
		return true
	case "p", "P":
		w.demo.Hold(!w.demo.State().Held)
	case " ":
		w.news = demoNews{what: burstSent, at: time.Now()}
		if !w.demo.Burst(demoBurst) {
			w.news.what = burstRefused
		}
	default:
		if key >= "1" && key <= "9" {
			w.toggle(ctx, int(key[0]-'1'))
		}
	}
	return false
}

// toggle pauses a service or lets it go on.
func (w *demoWatcher) toggle(ctx context.Context, number int) {
	services := w.demo.State().Services
	if number >= len(services) || services[number].Gather {
		return
	}
	s := services[number]
	if s.Paused {
		w.news = demoNews{what: serviceBack, service: s.Name, at: time.Now()}
		_ = w.demo.Resume(s.Name) // cannot fail: it was just named
		return
	}
	// It takes as long as the service's batch, and the screen goes on.
	w.switching.Go(func() { _ = w.demo.Pause(ctx, s.Name) }) // fails only when ctx ends
}

// lastWarning is a log handler that keeps the last warning or error, to be shown
// where lines of a log would disturb.
type lastWarning struct {
	mu   sync.Mutex
	last string
	at   time.Time
}

// warningStays is how long a warning is shown.
const warningStays = 15 * time.Second

func (w *lastWarning) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.at) > warningStays {
		return ""
	}
	return w.last
}

// Enabled implements slog.Handler.
func (w *lastWarning) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

// Handle implements slog.Handler.
func (w *lastWarning) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(", " + a.Key + " " + a.Value.String())
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.at = b.String(), time.Now()
	return nil
}

// WithAttrs implements slog.Handler. The attributes are left out: the screen has
// one line.
func (w *lastWarning) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w *lastWarning) WithGroup(string) slog.Handler { return w }
