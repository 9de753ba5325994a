// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrAddress is what [Listen]'s errors match when the address is at fault, not
// the machine.
var ErrAddress = errors.New("the address cannot be used")

// Listen opens a TCP port of this machine's loopback, such as "127.0.0.1:8088";
// port 0 takes a free one. It refuses other addresses: what it opens speaks plain
// HTTP, so it must not be reached from elsewhere. See [ListenTLS] for those.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if host, _, err := net.SplitHostPort(address); err == nil && !Loopback(host) {
		return nil, fmt.Errorf("listen on %q: %w: without a certificate and tokens only 127.0.0.1, [::1] and localhost are allowed", address, ErrAddress)
	}
	return listenAnywhere(ctx, address)
}

// Loopback reports whether a host, without a port, is this machine's loopback, which
// other machines do not reach.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// ListenProbes opens a TCP port of any address of this machine for [Gateway.Probes],
// which need no protection: they tell how it is and how much it does, and change
// nothing.
func ListenProbes(ctx context.Context, address string) (net.Listener, error) {
	return listenAnywhere(ctx, address)
}

func listenAnywhere(ctx context.Context, address string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("listen on %q: %w: write HOST:PORT, such as 127.0.0.1:8088", address, ErrAddress)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: %w: another process has the port", address, ErrAddress)
	}
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil, fmt.Errorf("listen on %s: %w: this machine has no such address", address, ErrAddress)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ln, nil
}

// Serve answers requests that come to the listener until ctx ends, then closes
// the gateway and waits for running requests, at most for grace. The listener
// is closed when it returns. The error is nil after an orderly end.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	defer g.Close()
	defer context.AfterFunc(ctx, g.Close)()
	return Serve(ctx, ln, g, grace, g.o.Logger)
}

// Serve is [Gateway.Serve] of any handler, with the time limits that slow clients
// call for. It waits for running requests: those that have no end of their own are
// the caller's to end. A nil logger is slog.Default().
func Serve(ctx context.Context, ln net.Listener, handler http.Handler, grace time.Duration, logger *slog.Logger) error {
	if logger == nil {
		logger = slog.Default()
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(limit)
	if err != nil {
		err = errors.Join(fmt.Errorf("end requests to %s: %w", ln.Addr(), err), server.Close())
	}
	if closed := <-ended; !errors.Is(closed, http.ErrServerClosed) {
		err = errors.Join(err, closed)
	}
	return err
}
