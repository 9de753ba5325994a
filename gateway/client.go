// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/millrace-ml/millrace/internal/sanitize"
)

// Client speaks to a gateway. It may be used by several goroutines at once.
type Client struct {
	Base  string       // such as "http://127.0.0.1:8088"
	Token string       // for a gateway that asks for one; not sent to other machines without TLS
	HTTP  *http.Client // nil: http.DefaultClient; without a timeout, as reading may take for ever
}

// Read yields the records of a topic, and at last the error if it did not end as
// it should. It ends when ctx does.
func (c *Client) Read(ctx context.Context, topic string, q Query) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		req, err := c.request(ctx, http.MethodGet, c.url(q.values(), "topics", topic, "records"), nil)
		if err != nil {
			yield(Record{}, err)
			return
		}
		resp, err := c.send(req)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer resp.Body.Close()
		in := bufio.NewReaderSize(resp.Body, 64<<10)
		for {
			line, err := in.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			if err == nil {
				var r Record
				if r, err = parseLine(line); err == nil {
					if !yield(r, nil) {
						return
					}
					continue
				}
			}
			yield(Record{}, err)
			return
		}
	}
}

// parseLine reads a record, or the error that ends a stream.
func parseLine(line []byte) (Record, error) {
	var v struct {
		Record
		Error
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return Record{}, fmt.Errorf("read the gateway's answer: %w", err)
	}
	if v.Message != "" {
		return Record{}, &v.Error
	}
	return v.Record, nil
}

// Topics lists all topics.
func (c *Client) Topics(ctx context.Context) (all []Topic, err error) {
	return all, c.get(ctx, &all, "topics")
}

// Groups lists all consumer groups, without their partitions.
func (c *Client) Groups(ctx context.Context) (all []Group, err error) {
	return all, c.get(ctx, &all, "groups")
}

// Group describes a consumer group.
func (c *Client) Group(ctx context.Context, name string) (group Group, err error) {
	return group, c.get(ctx, &group, "groups", name)
}

func (c *Client) url(q url.Values, path ...string) string {
	u := strings.TrimRight(c.Base, "/") + "/v1"
	for _, p := range path {
		u += "/" + url.PathEscape(p)
	}
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	return u
}

// request makes a request. The error of a URL that is none does not repeat it, as it
// may hold a password.
func (c *Client) request(ctx context.Context, method, at string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if e, ok := errors.AsType[*url.Error](err); ok {
		return nil, fmt.Errorf("%s is no URL of a gateway: %w", sanitize.Passwords(c.Base), e.Err)
	}
	return req, err
}

func (c *Client) get(ctx context.Context, into any, path ...string) error {
	return c.ask(ctx, nil, into, path...)
}

func (c *Client) ask(ctx context.Context, q url.Values, into any, path ...string) error {
	req, err := c.request(ctx, http.MethodGet, c.url(q, path...), nil)
	if err != nil {
		return err
	}
	return c.do(req, into)
}

func (c *Client) post(ctx context.Context, order, into any, path ...string) error {
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	req, err := c.request(ctx, http.MethodPost, c.url(nil, path...), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", typeJSON)
	return c.do(req, into)
}

func (c *Client) do(req *http.Request, into any) error {
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	return nil
}

// send returns an answer of status 200, whose body the caller closes.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	if c.Token != "" {
		if req.URL.Scheme != "https" && !Loopback(req.URL.Hostname()) {
			return nil, fmt.Errorf("%s is no https URL: the token is not sent to another machine in the clear", sanitize.Passwords(c.Base))
		}
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read the gateway's answer: %w", err)
	}
	e := &Error{Status: resp.StatusCode}
	if json.Unmarshal(body, e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return nil, e
}
