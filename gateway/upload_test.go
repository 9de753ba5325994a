// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace-ml/millrace/broker"
)

func TestAClientPublishesInputOfAnyLength(t *testing.T) {
	b := openBroker(t, "tickets")
	_, client := start(t, b, Options{})
	var in strings.Builder
	const n = 20000
	for i := range n {
		fmt.Fprintf(&in, "{\"n\":%d,\"key\":\"k\"}\n", i)
		if i%100 == 0 {
			in.WriteString("\n")
		}
	}
	calls, last := 0, 0
	got, err := client.Publish(t.Context(), "tickets", strings.NewReader(in.String()), PublishOptions{Key: "key", Progress: func(n int) {
		if n < last {
			t.Errorf("progress goes back from %d to %d", last, n)
		}
		calls, last = calls+1, n
	}})
	if got != n || err != nil || last != n || calls < 2 {
		t.Fatalf("published %d, %v; %d calls up to %d", got, err, calls, last)
	}
	for i, r := range recordsIn(t, b, "tickets") {
		if want := fmt.Sprintf(`{"n":%d,"key":"k"}`, i); string(r.Value) != want {
			t.Fatalf("record %d is %s: records of one key are out of order", i, r.Value)
		}
	}
}

func TestAClientCountsTheLinesOfItsWholeInput(t *testing.T) {
	b := openBroker(t, "tickets")
	_, client := start(t, b, Options{})
	good := strings.Repeat("{}\n", 9999)
	for name, c := range map[string]struct {
		in   io.Reader
		want string
		line int
	}{
		"a bad line":       {strings.NewReader(good + "{oops\n" + good), "line 10000: not JSON: invalid character 'o' looking for beginning of object key string at byte 1", 10000},
		"a line too long":  {strings.NewReader(good + `"` + strings.Repeat("x", broker.DefaultMaxRecordBytes) + "\"\n{}"), "line 10000 has more than 8388608 bytes, the limit of a record", 10000},
		"a broken input":   {io.MultiReader(strings.NewReader(good), iotest.ErrReader(errors.New("disk on fire"))), "read the input after line 9999: disk on fire", 0},
		"the input's word": {io.MultiReader(strings.NewReader(good), iotest.ErrReader(&Error{Message: "row 3 is odd", Line: 3})), "row 3 is odd", 3},
	} {
		n, err := client.Publish(t.Context(), "tickets", c.in, PublishOptions{})
		if n != 9999 || err == nil || err.Error() != c.want {
			t.Errorf("%s: published %d, then %v; want %s", name, n, err, c.want)
		}
		if e, ok := errors.AsType[*Error](err); ok != (c.line > 0) || ok && (e.Line != c.line || e.Published != 9999) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestAClientStopsWithItsContextThoughTheInputWaits(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets"), Options{})
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go fmt.Fprintln(w, "{}")
	n, err := client.Publish(ctx, "tickets", r, PublishOptions{Progress: func(int) { cancel() }})
	if n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("published %d, %v", n, err)
	}
}
