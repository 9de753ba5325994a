// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

const path = "/v1/topics/tickets/records"

func TestEachJSONValueIsARecordsValueAsItCame(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		want              []string
	}{
		"one object":                  {typeJSON, ` {"text": "hi <b>"} `, []string{`{"text": "hi <b>"}`}},
		"an array":                    {typeJSON, `[{"a":[1,2]}, "x,]", 3 ,[]]`, []string{`{"a":[1,2]}`, `"x,]"`, `3`, `[]`}},
		"one a line":                  {typeNDJSON, "{\"a\":1}\n\n  {\"a\":2}\r\n{\"a\":3}", []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}},
		"an array on a line":          {typeNDJSON, "[1,2]\n", []string{`[1,2]`}},
		"after a byte order mark":     {typeJSON, "\ufeff{}", []string{`{}`}},
		"lines after one":             {typeNDJSON, "\ufeff{}\n1", []string{`{}`, `1`}},
		"a type with a character set": {typeJSON + "; charset=utf-8", `"ü"`, []string{`"ü"`}},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBroker(t, "tickets")
			_, client := start(t, b, Options{})
			// One key puts them all in one partition, in order.
			got := request(t, client, "POST", path, c.contentType, c.body)
			if want := fmt.Sprintf(`{"published":%d}`, len(c.want)); got.status != 200 || got.body != want {
				t.Fatalf("answer %d %s, want %s", got.status, got.body, want)
			}
			var values []string
			for _, r := range recordsIn(t, b, "tickets") {
				values = append(values, string(r.Value))
				if len(r.Key) != 0 || len(r.Headers) != 0 {
					t.Errorf("record has key %q and headers %v, want none", r.Key, r.Headers)
				}
			}
			slices.Sort(values)
			slices.Sort(c.want)
			if !slices.Equal(values, c.want) {
				t.Errorf("values %q, want %q", values, c.want)
			}
		})
	}
}

func TestTheKeyIsTakenFromTheNamedField(t *testing.T) {
	b := openBroker(t, "tickets")
	_, client := start(t, b, Options{})
	got := request(t, client, "POST", path+"?key=customer", typeNDJSON, `{"customer":"c-1"}`+"\n"+`{"customer":12}`)
	if got.status != 200 {
		t.Fatal(got)
	}
	for _, r := range recordsIn(t, b, "tickets") {
		if want := strings.Trim(strings.TrimSuffix(strings.TrimPrefix(string(r.Value), `{"customer":`), "}"), `"`); string(r.Key) != want {
			t.Errorf("key %q of %s", r.Key, r.Value)
		}
	}
	for body, want := range map[string]string{
		`{"name":"x"}`:          `record 0: there is no field "customer" for the key`,
		`[{"customer":null}]`:   `record 0: field "customer" is a key and must be text or a number, not null`,
		`[{"customer":"x"}, 7]`: `record 1: the value is not an object, so it has no field "customer" for the key`,
	} {
		got := request(t, client, "POST", path+"?key=customer", typeJSON, body)
		if got.status != 400 || message(t, got) != want {
			t.Errorf("%s: %d %s, want %s", body, got.status, got.body, want)
		}
	}
	if n := len(recordsIn(t, b, "tickets")); n != 2 {
		t.Errorf("%d records, want the first two only", n)
	}
}

func message(t testing.TB, a answer) string {
	t.Helper()
	var e Error
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return e.Message
}

func TestWhatIsWrongIsToldAndNothingOfABodyIsPublished(t *testing.T) {
	big := `{"text":"` + strings.Repeat("x", 1000) + `"}`
	for name, c := range map[string]struct {
		path, contentType, body string
		status                  int
		want                    string
	}{
		"empty":                {path, typeJSON, "", 400, "the body is empty"},
		"blank":                {path, typeJSON, " \n", 400, "the body is empty"},
		"empty array":          {path, typeJSON, "[ ]", 400, "the body is empty"},
		"no lines":             {path, typeNDJSON, "\n\n", 400, "the body is empty"},
		"cut off":              {path, typeJSON, `{"text":`, 400, "not JSON: unexpected end at byte 8 (line 1, byte 8 of it)"},
		"not JSON":             {path, typeJSON, "{\n  text: 1}", 400, "not JSON: invalid character 't' looking for beginning of object key string at byte 4 (line 2, byte 2 of it)"},
		"two values":           {path, typeJSON, "{}\n{}", 400, "not JSON: invalid character '{' after top-level value at byte 3 (line 2, byte 0 of it)"},
		"invalid UTF-8":        {path, typeJSON, "{\"text\":\"a\xffb\"}", 400, "invalid UTF-8 at byte 10 (line 1, byte 10 of it)"},
		"cut rune":             {path, typeNDJSON, "\"\xe2\x82\"", 400, "line 1: invalid UTF-8 at byte 1"},
		"deep":                 {path, typeJSON, strings.Repeat("[", 1000000), 400, "more than 129 arrays and objects in each other at byte 129 (line 1, byte 129 of it)"},
		"deep on a line":       {path, typeNDJSON, strings.Repeat(`{"a":`, 129) + "1" + strings.Repeat("}", 129), 400, "line 1: more than 128 arrays and objects in each other at byte 640"},
		"large record":         {path, typeJSON, `[1,` + big + `]`, 413, "record 1: the record is too large: 1011 bytes, the limit is 1000"},
		"large line":           {path, typeNDJSON, big, 413, "line 1 has more than 1000 bytes, the limit of a record"},
		"large body":           {path, typeJSON, "[" + strings.Repeat("1,", 2000000) + "1]", 413, "the body has more than 2000000 bytes"},
		"no type":              {path, "", "{}", 415, `content type "" is not JSON`},
		"form":                 {path, "application/x-www-form-urlencoded", "{}", 415, `content type "application/x-www-form-urlencoded" is not JSON`},
		"text, as pages may":   {path, "text/plain", "{}", 415, `content type "text/plain" is not JSON`},
		"unknown topic":        {"/v1/topics/ticket/records", typeJSON, "{}", 404, `there is no topic "ticket"`},
		"a service's topic":    {"/v1/topics/moods/records", typeJSON, "{}", 403, "topic moods is written by the pipeline's own services"},
		"wrong flag":           {path + "?envelope=perhaps", typeJSON, "{}", 400, "envelope=perhaps: use true or false"},
		"no envelope":          {path + "?envelope=true", typeJSON, `{"text":1}`, 400, `record 0: the envelope is not one: unknown field "text"`},
		"envelope, no value":   {path + "?envelope=true", typeJSON, `{"key":"x"}`, 400, `record 0: the envelope has no value`},
		"envelope, bad base64": {path + "?envelope=true", typeJSON, `{"value":"%","encoding":"base64"}`, 400, "record 0: value: illegal base64 data at input byte 0"},
		"envelope, bad coding": {path + "?envelope=true", typeJSON, `{"value":"","encoding":"gzip"}`, 400, `record 0: encoding "gzip": use "text", "base64", or none for JSON`},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBroker(t, "tickets", "moods")
			_, client := start(t, b, Options{MaxRecordBytes: 1000, MaxBodyBytes: 2000000})
			got := request(t, client, "POST", c.path, c.contentType, c.body)
			if got.status != c.status || message(t, got) != c.want {
				t.Errorf("%d %s, want %d %s", got.status, got.body, c.status, c.want)
			}
			if n := len(recordsIn(t, b, "tickets")) + len(recordsIn(t, b, "moods")); n != 0 {
				t.Errorf("%d records were published", n)
			}
		})
	}
}

func TestHintsNameWhatThereIs(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets", "moods"), Options{})
	for name, want := range map[string]string{
		"tikets": "did you mean tickets?",
		"orders": "the topics are moods, tickets",
		"moods":  "publish to tickets",
	} {
		got := request(t, client, "POST", "/v1/topics/"+name+"/records", typeJSON, "{}")
		if !strings.Contains(got.body, `"hint":"`+want+`"`) {
			t.Errorf("%s: %s, want hint %q", name, got.body, want)
		}
	}
}

func TestABadLineIsNamedAndTheLinesBeforeItArePublished(t *testing.T) {
	b := openBroker(t, "tickets")
	_, client := start(t, b, Options{})
	body := strings.Repeat("{}\n", 10000) + "\n{oops}\n" + strings.Repeat("{}\n", 10)
	got := request(t, client, "POST", path, typeNDJSON, body)
	want := `{"error":"line 10002: not JSON: invalid character 'o' looking for beginning of object key string at byte 1","published":10000,"line":10002}`
	if got.status != 400 || got.body != want {
		t.Errorf("%d %s, want %s", got.status, got.body, want)
	}
	if n := len(recordsIn(t, b, "tickets")); n != 10000 {
		t.Errorf("%d records were published, want 10000", n)
	}
}

func TestLinesOfALongStreamArePublishedWhileItGoesOn(t *testing.T) {
	b := openBroker(t, "tickets")
	g, client := start(t, b, Options{})
	follow, err := b.Read(t.Context(), "tickets", broker.AllPartitions, broker.Start(), broker.Forever())
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()

	r, w := io.Pipe()
	var done sync.WaitGroup
	done.Go(func() {
		req, _ := http.NewRequest("POST", client.Base+path, r)
		req.Header.Set("Content-Type", typeNDJSON)
		resp, err := client.HTTP.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if got, _ := io.ReadAll(resp.Body); string(got) != "{\"published\":3}\n" {
			t.Errorf("answer %s", got)
		}
	})
	for i := range 3 {
		fmt.Fprintf(w, "{\"n\":%d}\n", i)
		got, err := follow.Next(t.Context(), 0)
		if err != nil || len(got) != 1 || string(got[0].Value) != fmt.Sprintf(`{"n":%d}`, i) {
			t.Fatalf("line %d: got %v, %v", i, got, err)
		}
		if g.intake.all.TryAcquire(g.intake.size) {
			t.Fatal("a running request has no memory of its own")
		}
	}
	w.Close()
	done.Wait()
	if err := g.intake.all.Acquire(t.Context(), g.intake.size); err != nil {
		t.Error(err)
	}
}

func TestAPublishersTraceIsCarriedOn(t *testing.T) {
	b := openBroker(t, "tickets")
	_, client := start(t, b, Options{})
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	request(t, client, "POST", path, typeJSON, "[1,2]", "traceparent", parent)
	request(t, client, "POST", path, typeJSON, "3", "traceparent", "nonsense")
	for _, r := range recordsIn(t, b, "tickets") {
		want := parent
		if string(r.Value) == "3" {
			want = ""
		}
		if got := string(r.Header(lineage.Traceparent)); got != want {
			t.Errorf("traceparent of %s is %q, want %q", r.Value, got, want)
		}
	}
}

func TestEachRecordHasASpanWhenSpansAreMade(t *testing.T) {
	b := openBroker(t, "tickets")
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	defer provider.Shutdown(t.Context())
	_, client := start(t, b, Options{Tracer: provider.Tracer("test")})
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	request(t, client, "POST", path, typeJSON, "[1,2]", "traceparent", "00-"+id+"-00f067aa0ba902b7-01")
	made := map[string]bool{}
	for _, s := range spans.Ended() {
		if s.Name() != "publish tickets" || s.Parent().SpanID().String() != "00f067aa0ba902b7" {
			t.Errorf("span %s of %s", s.Name(), s.Parent().SpanID())
		}
		made["00-"+id+"-"+s.SpanContext().SpanID().String()+"-01"] = true
	}
	for _, r := range recordsIn(t, b, "tickets") {
		if parent := string(r.Header(lineage.Traceparent)); !made[parent] {
			t.Errorf("record %s has traceparent %s, which is no span of %v", r.Value, parent, made)
		} else {
			delete(made, parent)
		}
	}
	if len(made) != 0 {
		t.Errorf("spans %v have no record", made)
	}
}

func TestEnvelopesCarryKeysHeadersAndAnyBytes(t *testing.T) {
	b := openBroker(t, "tickets")
	_, client := start(t, b, Options{})
	got := request(t, client, "POST", path+"?envelope=true", typeNDJSON, strings.Join([]string{
		`{"key":"k","headers":{"id":"T-1","tag":["a","b"],"raw":{"base64":"/w=="},"mr-id":"x/0/0"},"value":{"text":"hi"}}`,
		`{"key":{"base64":"/w=="},"value":"/wA=","encoding":"base64"}`,
		`{"topic":"elsewhere","partition":7,"offset":9,"time":"2026-01-01T00:00:00Z","value":"plain","encoding":"text"}`,
	}, "\n"))
	if got.status != 200 {
		t.Fatal(got)
	}
	seen := map[string]string{}
	for _, r := range recordsIn(t, b, "tickets") {
		s := fmt.Sprintf("%q", r.Key)
		for _, h := range r.Headers {
			s += fmt.Sprintf(" %s=%q", h.Key, h.Value)
		}
		seen[string(r.Value)] = s
	}
	for value, want := range map[string]string{
		`{"text":"hi"}`: `"k" id="T-1" tag="a" tag="b" raw="\xff"`,
		"\xff\x00":      `"\xff"`,
		"plain":         `""`,
	} {
		if seen[value] != want {
			t.Errorf("record %q has %s, want %s", value, seen[value], want)
		}
	}
}

func TestABrokerThatTakesNothingIsExplained(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("%w of data: 1 MiB free", broker.ErrFull), 507},
		{&broker.TooLargeError{Index: 0, Size: 9, Limit: 8}, 413},
		{fmt.Errorf("disk on fire"), 500},
	} {
		for _, contentType := range []string{typeJSON, typeNDJSON} {
			_, client := start(t, fail(openBroker(t, "tickets"), c.err), Options{})
			got := request(t, client, "POST", path, contentType, "{}\n")
			if got.status != c.status || message(t, got) != "publish: "+c.err.Error() {
				t.Errorf("%v as %s: %d %s", c.err, contentType, got.status, got.body)
			}
			if again := got.header.Get("Retry-After"); (again != "") != (c.status == 503) {
				t.Errorf("%v: Retry-After is %q", c.err, again)
			}
		}
	}
}

// outOfReach is a broker that no call reaches.
type outOfReach struct{ broker.Driver }

func (outOfReach) Append(ctx context.Context, _ []broker.Record, _ []int32) ([]int64, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAPublisherDoesNotWaitForeverForABrokerOutOfReach(t *testing.T) {
	_, client := start(t, broker.New(outOfReach{openBroker(t, "tickets").Driver()}, broker.Options{}), Options{Patience: 20 * time.Millisecond})
	for _, contentType := range []string{typeJSON, typeNDJSON} {
		got := request(t, client, "POST", path, contentType, "{}\n")
		if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(message(t, got), "has not answered for 20ms") {
			t.Errorf("%s: %v", contentType, got)
		}
	}
}

func TestADrainingGatewayTakesNothingButCanBeRead(t *testing.T) {
	g, client := start(t, openBroker(t, "tickets"), Options{})
	request(t, client, "POST", path, typeJSON, "1")
	g.Drain()
	if got := request(t, client, "POST", path, typeJSON, "2"); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("publish: %v", got)
	}
	if got := request(t, client, "GET", "/readyz", "", ""); got.status != 503 {
		t.Errorf("readyz: %v", got)
	}
	if got := request(t, client, "GET", path, "", ""); got.status != 200 || !strings.Contains(got.body, `"value":1`) {
		t.Errorf("read: %v", got)
	}
}

func TestPublishersWaitForMemory(t *testing.T) {
	b := openBroker(t, "tickets")
	g, client := start(t, b, Options{MemoryBytes: 1, MaxBodyBytes: 1000, MaxRecordBytes: 1000})
	all := g.intake.size
	if !g.intake.all.TryAcquire(all) {
		t.Fatal("the memory is not free")
	}
	var done sync.WaitGroup
	var got answer
	done.Go(func() { got = request(t, client, "POST", path, typeJSON, `"ten bytes"`) })
	// With one byte free the request still waits, and nobody passes it by.
	g.intake.all.Release(1)
	for g.intake.all.TryAcquire(1) {
		g.intake.all.Release(1)
	}
	if n := len(recordsIn(t, b, "tickets")); n != 0 {
		t.Errorf("%d records were published without memory", n)
	}
	g.intake.all.Release(all - 1)
	done.Wait()
	if got.status != 200 {
		t.Errorf("with memory: %v", got)
	}
}

// Without a list of sources, topics of results are known by their first record, or
// by the notes of a gather beside them.
func TestTopicsOfResultsAreRefusedWithoutSources(t *testing.T) {
	b := openBroker(t, "tickets", "batch", "moods", "mood.dead", "desk", "desk.window", "new")
	with := func(topic, header string) {
		t.Helper()
		if _, err := b.Publish(t.Context(), broker.Record{Topic: topic, Headers: []broker.Header{{Key: header, Value: []byte("x")}}}); err != nil {
			t.Fatal(err)
		}
	}
	with("tickets", "id")
	with("batch", lineage.Number)
	with("moods", lineage.ID)
	with("mood.dead", lineage.DeadService)
	for topic, want := range map[string]int{"tickets": 200, "batch": 200, "new": 200, "moods": 403, "mood.dead": 403, "desk": 403, "desk.window": 403} {
		for _, forced := range []bool{false, true} {
			if forced {
				want = 200
			}
			g, err := New(b, Options{Results: forced})
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewServer(g)
			got := request(t, &Client{Base: s.URL, HTTP: s.Client()}, "POST", "/v1/topics/"+topic+"/records", typeJSON, "{}")
			if got.status != want {
				t.Errorf("%s, forced %v: %d %s, want %d", topic, forced, got.status, got.body, want)
			}
			g.Close()
			s.Close()
		}
	}
}
