// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, proxy.IgnoreLeaks()...) }

// echo is a server that answers each line with the same, and tells of it.
func echo(t *testing.T) (addr string, heard chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard = make(chan string, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				lines := bufio.NewReader(conn)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					heard <- line
					if _, err := conn.Write([]byte(line)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), heard
}

type client struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, p *proxy.Proxy) *client {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) send(line string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(line)); err != nil {
		c.t.Fatal(err)
	}
}

// hears returns what comes within the time.
func (c *client) hears(within time.Duration) (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(within))
	return c.lines.ReadString('\n')
}

func (c *client) mustHear(line string) {
	c.t.Helper()
	if got, err := c.hears(10 * time.Second); got != line {
		c.t.Fatalf("heard %q, %v, want %q", got, err, line)
	}
}

func (c *client) mustEnd() {
	c.t.Helper()
	if got, err := c.hears(10 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("heard %q, %v, want the connection's end", got, err)
	}
}

func TestAGoodNetworkCarriesBytes(t *testing.T) {
	addr, _ := echo(t)
	c := dial(t, proxy.Start(t, addr))
	c.send("hello\n")
	c.mustHear("hello\n")
}

func TestAStallHoldsBytesBackAndLosesNone(t *testing.T) {
	addr, heard := echo(t)
	p := proxy.Start(t, addr)
	c := dial(t, p)
	c.send("before\n")
	c.mustHear("before\n")
	<-heard
	p.Set(proxy.Faults{Stall: true})
	c.send("during\n")
	if line, err := c.hears(20 * time.Millisecond); err == nil {
		t.Fatalf("heard %q through a stalled network", line)
	}
	if len(heard) > 0 {
		t.Fatal("the server heard through a stalled network")
	}
	p.Set(proxy.Faults{})
	c.mustHear("during\n")
}

func TestLostRepliesEndTheConnectionWhenTheFaultDoes(t *testing.T) {
	addr, heard := echo(t)
	p := proxy.Start(t, addr)
	c := dial(t, p)
	p.Set(proxy.Faults{Lose: true})
	c.send("request\n")
	if line := <-heard; line != "request\n" {
		t.Fatalf("the server heard %q", line)
	}
	if line, err := c.hears(20 * time.Millisecond); err == nil {
		t.Fatalf("heard the reply %q, which was to be lost", line)
	}
	p.Set(proxy.Faults{})
	c.mustEnd()
}

func TestResetEndsConnectionsAndRefuseNewOnes(t *testing.T) {
	addr, _ := echo(t)
	p := proxy.Start(t, addr)
	c := dial(t, p)
	c.send("hello\n")
	c.mustHear("hello\n")
	p.Set(proxy.Faults{Refuse: true})
	p.Reset()
	c.mustEnd()
	// The reset may come while the connection is made or right after.
	if refused, err := net.Dial("tcp", p.Addr()); err == nil {
		(&client{t, refused, bufio.NewReader(refused)}).mustEnd()
		refused.Close()
	}
	p.Set(proxy.Faults{})
	again := dial(t, p)
	again.send("again\n")
	again.mustHear("again\n")
}

func TestLatencyDelaysBothWays(t *testing.T) {
	addr, _ := echo(t)
	p := proxy.Start(t, addr)
	c := dial(t, p)
	p.Set(proxy.Faults{Latency: 30 * time.Millisecond})
	began := time.Now()
	c.send("slow\n")
	c.mustHear("slow\n")
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Fatalf("a request and its reply took %v, want twice the latency", took)
	}
}

func TestConnectionsSurviveATormentedNetworkOrEnd(t *testing.T) {
	addr, heard := echo(t)
	p := proxy.Start(t, addr)
	stop := p.Torment(5 * time.Millisecond)
	defer stop()
	for range 1000 {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			continue
		}
		c := &client{t, conn, bufio.NewReader(conn)}
		for range 20 {
			if _, err := conn.Write([]byte("hello\n")); err != nil {
				break
			}
			line, err := c.hears(50 * time.Millisecond)
			if err != nil {
				break
			}
			<-heard
			if line != "hello\n" {
				t.Fatalf("heard %q", line)
			}
		}
		conn.Close()
		for len(heard) > 0 {
			<-heard
		}
	}
}
