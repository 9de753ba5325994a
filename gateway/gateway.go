// SPDX-License-Identifier: Apache-2.0

// Package gateway is the way in and out of a broker over HTTP: programs publish
// records, read topics, and look at groups, without a client of the broker.
//
// The one idea: the gateway adds nothing to the broker but limits. Each request
// is one call of the broker's contract; what comes in is checked byte by byte
// before it is kept, what goes out is streamed; and however many requests there
// are, and however long, the memory they take together has a bound. A publish
// is answered when its records are durable, or with status 503 and Retry-After
// when the broker is out of reach for too long.
//
// The interface is a table of routes: from it the handler is built, requests are
// checked, and the OpenAPI document is made that GET /openapi.json answers (and
// docs/http.md, for people). [Client] speaks to it.
//
// It serves this machine only, as it asks nobody who they are: see [Listen]. A
// web page of another origin can neither publish nor read.
package gateway

//go:generate go test . -run ^TestThePageOfTheInterfaceIsFresh$ -update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/internal/jsontext"
)

// Options of a gateway. The zero value is a good default: every topic may be
// published to, and dead letters can be listed and dropped. Numbers and times that
// are 0 have a default; negative ones are an error.
type Options struct {
	// Sources are the topics that may be published to. Nil allows every topic that
	// does not hold results, as far as its records tell. What a service or gather
	// writes should not be among them: its readers take it for their work.
	// Results allows such topics, too, if Sources is nil.
	Sources []string
	Results bool

	// Services are those whose dead letters are looked after here; nil: of all
	// that have some. Retry tries letters again, as millrace.App.Retry does; nil: they
	// cannot be, as their models are not known.
	Services []string
	Retry    deadletter.Retry

	// Access says who may do what, by tokens. Nil: nobody is asked, and only this
	// machine is answered.
	Access *Access

	MaxRecordBytes int   // larger records are refused; 0: broker.DefaultMaxRecordBytes
	MaxBodyBytes   int64 // of a JSON body; NDJSON may be of any length; 0: 16 MiB
	MaxDepth       int   // of arrays and objects in each other; 0: 128, which is also the most
	MemoryBytes    int64 // for all requests that publish, and 5/4 of it for others; further ones wait; 0: 256 MiB
	MaxReaders     int   // requests that read at once; further ones are refused; 0: 256

	Idle     time.Duration // a client that sends or takes nothing for so long is cut off; 0: 1 min
	Patience time.Duration // how long a publish waits for the broker before it is answered 503; 0: 10 s
	Scan     time.Duration // how long a request may look through topics before it is answered 504; 0: 1 min

	Registry *prometheus.Registry // shown at /metrics; the gateway adds its own metrics; nil: only those
	Healthy  func() error         // behind /healthz: what is wrong with what runs; nil: nothing ever is
	Ready    func() error         // behind /readyz: what is missing before it can be used; nil: nothing ever is
	Tracer   trace.Tracer         // nil: a traceparent is handed on, no spans are made
	Logger   *slog.Logger         // nil means slog.Default()
}

// check finds what cannot be meant.
func (o *Options) check() error {
	for name, n := range map[string]int64{
		"MaxRecordBytes": int64(o.MaxRecordBytes), "MaxBodyBytes": o.MaxBodyBytes, "MaxDepth": int64(o.MaxDepth),
		"MemoryBytes": o.MemoryBytes, "MaxReaders": int64(o.MaxReaders), "Idle": int64(o.Idle), "Patience": int64(o.Patience),
		"Scan": int64(o.Scan),
	} {
		if n < 0 {
			return fmt.Errorf("gateway: Options.%s is negative (%d): leave it 0 for the default", name, n)
		}
	}
	return nil
}

func (o *Options) setDefaults() {
	if o.MaxRecordBytes == 0 {
		o.MaxRecordBytes = broker.DefaultMaxRecordBytes
	}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = 16 << 20
	}
	if o.MaxDepth == 0 || o.MaxDepth > jsontext.IntakeDepth {
		o.MaxDepth = jsontext.IntakeDepth
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 256 << 20
	}
	if o.MaxReaders == 0 {
		o.MaxReaders = 256
	}
	if o.Idle == 0 {
		o.Idle = time.Minute
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Scan == 0 {
		o.Scan = time.Minute
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Gateway is an [http.Handler] on a broker. It may be used by several goroutines
// at once.
type Gateway struct {
	b         *broker.Broker
	o         Options
	letters   *deadletter.Store
	handler   http.Handler
	intake    *pool // for what is published
	looks     *pool // for what reads topics through
	orders    *pool // for decisions on dead letters
	answers   *pool // for answers that clients have not taken yet
	readers   *pool // not of bytes but of requests
	scrapes   *semaphore.Weighted
	metrics   *metrics
	strangers strangers
	openapi   func() ([]byte, error) // made when it is first asked for

	draining atomic.Bool
	ended    context.Context // ends readers that follow
	end      context.CancelFunc
}

// New makes a gateway, which [Gateway.Close] ends. The broker stays the caller's.
// The error says which option cannot be meant, or that the registry has metrics of
// the same name, as those of another gateway.
func New(b *broker.Broker, o Options) (*Gateway, error) {
	if b == nil {
		return nil, errors.New("gateway: the broker is nil: open one first")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	o.setDefaults()
	letters, err := deadletter.New(b, deadletter.Options{Services: o.Services, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		b: b, o: o, letters: letters,
		intake:    newPool(o.MemoryBytes, largest(&o)),
		looks:     newPool(o.MemoryBytes/2, largestLook(&o)),
		orders:    newPool(o.MemoryBytes/4, lookBytes(&o, 0)),
		answers:   newPool(o.MemoryBytes/2, 2*largestLook(&o)),
		readers:   newPool(int64(o.MaxReaders), 1),
		scrapes:   semaphore.NewWeighted(maxScrapes),
		metrics:   newMetrics(),
		strangers: strangers{log: o.Logger},
		openapi:   sync.OnceValues(OpenAPI),
	}
	g.ended, g.end = context.WithCancel(context.Background())
	if err := g.metrics.register(o.Registry); err != nil {
		return nil, fmt.Errorf("register the gateway's metrics: %w", err)
	}
	g.handler = g.guard(g.mux(routes()), o.Access == nil)
	return g, nil
}

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handler.ServeHTTP(w, r) }

// Drain makes the gateway refuse what is published from now on. Reading goes on,
// so that the last answers can be seen.
func (g *Gateway) Drain() { g.draining.Store(true) }

// Close drains and ends the readers that follow a topic.
func (g *Gateway) Close() {
	g.Drain()
	g.end()
}

// guard stands before all handlers. With local, only this machine is answered.
func (g *Gateway) guard(next http.Handler, local bool) http.Handler {
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		w := newAnswerWriter(plain, g.o.Idle)
		defer w.arm() // for what the server still has to write
		g.limitBody(plain, r)
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			g.o.Logger.Error("panic in a request", "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			writeError(w, &Error{Status: http.StatusInternalServerError, Message: "internal error: the log has the details"})
		}()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if local && !loopbackHost(r.Host) {
			writeError(w, &Error{
				Status:  http.StatusMisdirectedRequest,
				Message: fmt.Sprintf("host %q is not a name of this machine's loopback", r.Host),
				Hint:    "use http://127.0.0.1 or http://localhost with the port",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackHost reports whether a Host header names this machine as itself. With
// any other name a web page could reach the gateway by pointing its own domain
// here (DNS rebinding).
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
