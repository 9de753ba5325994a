// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
)

// pipes is a listener whose connections hold nothing: what one side does not read
// the other cannot write.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "here", Net: "pipe"} }

// send opens a connection, sends a text and leaves the rest to the caller.
func (p *pipes) send(t *testing.T, text string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	p.conns <- server
	if _, err := io.WriteString(client, text); err != nil {
		t.Fatal(err)
	}
	return client
}

// onPipes serves a gateway on connections that hold nothing.
func onPipes(t *testing.T, g *Gateway) *pipes {
	ln := &pipes{make(chan net.Conn), make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, g, time.Nanosecond, nil) }()
	t.Cleanup(func() {
		stop()
		<-served // in the middle of requests, which is an error
	})
	return ln
}

// eventually waits for something that has no event to wait for.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not seen: " + what)
		}
	}
}

// requests is how many there are that have an account.
func (p *pool) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.clients {
		n += c.accounts
	}
	return n
}

func TestSlowClientsKeepNobodyOut(t *testing.T) {
	var letters []string
	for i := range 300 {
		letters = append(letters, fmt.Sprintf("%d%s", i, strings.Repeat("x", 1000)))
	}
	b := deadDesk(t, letters...)
	g, client := start(t, b, Options{})
	ln := onPipes(t, g)
	const many = 20
	for range many {
		ln.send(t, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n")
		ln.send(t, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16000000\r\n\r\n[1,")
		ln.send(t, "POST /v1/dead/drop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{\"serv")
	}
	for range many {
		conn := ln.send(t, "GET /v1/dead?max=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil { // and nothing more
			t.Fatal(err)
		}
	}
	eventually(t, "all bodies are being read", func() bool {
		return g.intake.requests() == 2*many && g.looks.requests() == many && g.answers.requests() == many
	})

	if got := request(t, client, "POST", path, typeJSON, `{"id":"T-1"}`); got.status != 200 {
		t.Errorf("publish: %v", got)
	}
	if got := request(t, client, "POST", path, typeNDJSON, strings.Repeat(`{"id":1}`+"\n", 5000)); got.status != 200 {
		t.Errorf("publish lines: %v", got)
	}
	if list, err := client.DeadLetters(t.Context(), deadletter.Selection{}, deadletter.MaxList); err != nil || len(list.Letters) != len(letters) {
		t.Errorf("dead list: %d letters, %v", len(list.Letters), err)
	}
	if _, err := client.DeadLetter(t.Context(), "mood.dead/0/7"); err != nil {
		t.Errorf("dead show: %v", err)
	}
	if events, err := client.Timeline(t.Context(), "T-1", ""); err != nil || len(events) != 1 {
		t.Errorf("explain: %v, %v", events, err)
	}
	if done, err := client.DropDead(t.Context(), deadletter.Selection{Letters: []string{"mood.dead/0/7"}}); err != nil || done[0].Letters != 1 {
		t.Errorf("dead drop: %v, %v", done, err)
	}
}

func TestAClientThatTakesOrSendsNothingIsCutOff(t *testing.T) {
	g, _ := start(t, deadDesk(t, strings.Repeat("x", 100_000)), Options{Idle: 50 * time.Millisecond})
	ln := onPipes(t, g)
	for name, text := range map[string]string{
		"an answer is not taken":          "GET /v1/dead/mood.dead/0/0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"records are not taken":           "GET /v1/topics/mood.dead/records HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"followed records are not taken":  "GET /v1/topics/mood.dead/records?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a small answer is not taken":     "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"metrics are not taken":           "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"an error is not taken":           "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"an order does not come":          "POST /v1/dead/drop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
		"a record does not come":          "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n1",
		"a line does not come":            "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 9\r\n\r\n1",
		"a body nobody reads is not sent": "GET /v1/topics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
	} {
		conn := ln.send(t, text)
		// The other side closes it: a write that is not read fails then.
		_ = conn.SetWriteDeadline(time.Now().Add(time.Minute))
		var err error
		for err == nil {
			_, err = conn.Write([]byte("x"))
		}
		if _, timeout := err.(net.Error); timeout {
			t.Errorf("%s: the connection is still open", name)
		}
	}
	eventually(t, "all memory is free", func() bool {
		return g.intake.requests()+g.looks.requests()+g.answers.requests()+g.readers.requests() == 0
	})
}

// drip sends a byte every so often.
type drip struct{ every time.Duration }

func (d drip) Read(p []byte) (int, error) {
	time.Sleep(d.every)
	return copy(p, " "), nil
}

func TestABodyThatIsKeptMustComeAtALeastRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := New(broker.New(&discard{}, broker.Options{}), Options{Sources: []string{"tickets"}})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		begun := time.Now()
		req := httptest.NewRequest(http.MethodPost, "http://localhost"+path, drip{g.o.Idle - time.Second})
		req.Header.Set("Content-Type", typeJSON)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, req)
		if took := time.Since(begun); w.Code != http.StatusRequestTimeout || took > 3*g.o.Idle {
			t.Errorf("%d %s after %v", w.Code, w.Body, took)
		}
	})
}

func TestWhatIsCutOffIsNoRecord(t *testing.T) {
	b := openBroker(t, "tickets")
	g, _ := start(t, b, Options{Idle: 50 * time.Millisecond})
	ln := onPipes(t, g)
	const head = "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
	for _, body := range []string{
		head + "Content-Length: 100\r\n\r\n1\n23",
		head + "Transfer-Encoding: chunked\r\n\r\n4\r\n1\n23\r\n",
	} {
		ln.send(t, body).Close()        // breaks off
		answer := ln.send(t, body)      // stalls
		text, err := io.ReadAll(answer) // until it is cut off
		if err != nil || !strings.Contains(string(text), "408 Request Timeout") || !strings.Contains(string(text), `"published":1`) {
			t.Errorf("a body that stalls is answered %s, %v", text, err)
		}
	}
	eventually(t, "all requests have ended", func() bool { return g.intake.requests() == 0 })
	for _, r := range recordsIn(t, b, "tickets") {
		if string(r.Value) != "1" {
			t.Errorf("record %s, of which the rest is not known", r.Value)
		}
	}
}

func TestAHeadOfWhatNeverEndsIsAnsweredAtOnce(t *testing.T) {
	g, client := start(t, openBroker(t, "tickets"), Options{})
	got := request(t, client, "HEAD", path+"?follow=true", "", "")
	if got.status != 200 || got.header.Get("Content-Type") != typeNDJSON || g.readers.requests() != 0 {
		t.Errorf("%v, and %d requests read", got, g.readers.requests())
	}
	if got := request(t, client, "HEAD", "/v1/topics/nothing/records?follow=true", "", ""); got.status != 404 {
		t.Errorf("of no topic: %v", got)
	}
}

func TestAnOrderIsOneObject(t *testing.T) {
	b := deadDesk(t, "one")
	_, client := start(t, b, Options{Retry: echo})
	for _, at := range []string{"/v1/dead/drop", "/v1/dead/retry", "/v1/groups/desk.mood/seek"} {
		for body, want := range map[string]string{
			``:                            "the request is not JSON: unexpected end",
			`{} {"services":["x"]}`:       "after top-level value",
			`{}{}`:                        "after top-level value",
			"{}\n\x00":                    "after top-level value",
			`null`:                        "no object but of the type null",
			`[]`:                          "no object but of the type array",
			`{"key":"a","Key":"b"}`:       "",
			`{"topic":"a","topic":"b"}`:   "",
			`{"services":[]}`:             "",
			`{"letters":[]}`:              "",
			`{"nothing":1}`:               `unknown field \"nothing\"`,
			strings.Repeat(`{"a":`, 1000): "arrays and objects in each other",
		} {
			got := request(t, client, "POST", at, typeJSON, body)
			if got.status != 400 || !strings.Contains(got.body, want) {
				t.Errorf("%s of %.40s: %d %s", at, body, got.status, got.body)
			}
		}
	}
	for body, want := range map[string]string{
		`{"key":"a","key":"b"}`: `the field \"key\" is there twice`,
		`{"services":[]}`:       "a list of the selection is empty",
		`{"letters":[]}`:        "a list of the selection is empty",
	} {
		if got := request(t, client, "POST", "/v1/dead/drop", typeJSON, body); got.status != 400 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	if list, err := client.DeadLetters(t.Context(), deadletter.Selection{}, 0, deadletter.Open); err != nil || list.Total != 1 {
		t.Errorf("after all that %+v are open, %v", list, err)
	}
}

func TestATimelineIsOfSomething(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets"), Options{})
	for _, at := range []string{"/v1/timeline/", "/v1/timeline/?since=1h", "/v1/timeline/%20"} {
		if got := request(t, client, "GET", at, "", ""); got.status != 400 || message(t, got) != "no record is named" {
			t.Errorf("%s: %v", at, got)
		}
	}
}
