// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

var update = flag.Bool("update", false, "write docs/http.md anew")

const pageFile = "../docs/http.md"

// The page for people is made of the same routes and types as the description
// for programs.
func TestThePageOfTheInterfaceIsFresh(t *testing.T) {
	page, err := interfacePage()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(pageFile, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if committed, err := os.ReadFile(pageFile); err != nil || !bytes.Equal(committed, page) {
		t.Errorf("%s is not what the routes say (%v); run: make generate", pageFile, err)
	}
}

const pageHead = `# HTTP

<!-- Written by make generate from the routes in package gateway. -->

%s

The same for programs, as OpenAPI 3.1, is at ` + "`GET /openapi.json`" + `.

To try the examples of this page in their order, run a small pipeline:

` + "```sh" + `
go build -o bin/millrace ./cmd/millrace
mkdir -p http && cat > http/desk.yaml <<'END'
name: desk
topics: {tickets: {partitions: 1}}
services:
  sentiment: {from: tickets, to: moods, model: {builtin: sentiment}}
END
bin/millrace run http/desk.yaml --data-dir http/data --listen 127.0.0.1:8088 &
until curl -sf http://127.0.0.1:8088/readyz >/dev/null; do sleep 0.2; done
` + "```" + `

| request | |
| --- | --- |
`

const pageBeyond = `## Beyond this machine

Workers, probes and Prometheus on other machines reach a process that has a certificate and asks for tokens:

` + "```console" + `
$ millrace run desk.yaml --listen 0.0.0.0:8088 --tls-cert cert.pem --tls-key key.pem --tokens tokens.yaml \
    --probe-listen 0.0.0.0:8089
` + "```" + `

Without all three it does not start at an address that other machines reach. The files are read again when they
have changed, at most once a second: a renewed certificate is used from the next connection on, and a token that was
taken out of the file is refused. A changed file that cannot be used is logged, and what it said before holds.

The file of tokens is YAML. Each entry has a name, which the log shows, the token's SHA-256 or the token itself,
and rights. Topics and services limit it to those: with either list, what the lists do not name is not allowed.

` + "```" + `
tokens:
  - name: shop
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    rights: [publish]
    topics: [tickets]
  - name: operations
    token: a-long-random-text-of-your-own
    rights: [publish, read, work, admin]
` + "```" + `

| right | allows |
| --- | --- |
| ` + "`publish`" + ` | publishing records |
| ` + "`read`" + ` | reading topics, groups, timelines, dead letters and metrics |
| ` + "`admin`" + ` | moving groups, retrying and dropping dead letters |
| ` + "`work`" + ` | nothing yet: it is kept for workers on other machines |

A token has at least 16 characters; ` + "`openssl rand -hex 32`" + ` makes one and ` + "`printf %s TOKEN | sha256sum`" + ` its hash. Programs
send it as ` + "`Authorization: Bearer TOKEN`" + `, Millrace's commands have it from the variable MILLRACE_TOKEN, and send it to other
machines with TLS only. ` + "`--probe-listen`" + ` serves /healthz, /readyz and /metrics alone, in plain HTTP and to anybody, so
that what starts the process and what measures it need no token.

Requests without a token that is known are logged, without what they sent: the first at once, then at most one line a minute
with their number (` + "`requests`" + `) since the line before. The metric ` + "`millrace_http_requests_total`" + ` counts all of them (code 401).

## Limits

Of a request that publishes, memory is taken for what has come. All of them share 256 MiB. Looking at dead letters and
timelines, deciding on letters, and answers that wait for their clients have 320 MiB of their own, so that it can be
found out what goes on however much is published. A client, which is a token or else an address, has at most half of each. What finds no
memory for ten seconds is answered 503. A client that sends or takes nothing for a minute is cut off (408 if that
can still be said), and so is one that sends a JSON body with less than 16 KiB a second after the first minute. A
record that is published has at most 1000 headers.

`

const pageShapes = `## Shapes

Fields with a star are always there.
`

const pageEnd = `
## The end

` + "```sh" + `
kill %1; wait %1
` + "```" + `
`

func interfacePage() ([]byte, error) {
	var p bytes.Buffer
	fmt.Fprintf(&p, pageHead, linked(aboutInterface))
	all := routes()
	for i := range all {
		fmt.Fprintf(&p, "| [`%s`](#%s) | %s |\n", shown(&all[i]), anchor(all[i].title), all[i].title)
	}
	for i := range all {
		writeRoute(&p, &all[i])
	}
	p.WriteString("\n" + pageBeyond + pageShapes)
	schemas, err := shapes()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		writeShape(&p, name, schemas[name])
	}
	p.WriteString(pageEnd)
	return p.Bytes(), nil
}

func shown(r *route) string { return strings.ReplaceAll(r.pattern(), "...", "") }

func writeRoute(p *bytes.Buffer, r *route) {
	fmt.Fprintf(p, "\n## %s\n\n`%s`\n\n%s\n", r.title, shown(r), linked(r.about))
	if r.right != "" {
		fmt.Fprintf(p, "\nRight of a token: `%s`%s.\n", r.right, map[bool]string{true: ", without limits to topics or services"}[r.everything])
	}
	if len(r.params) > 0 {
		p.WriteString("\n| parameter | in | type | |\n| --- | --- | --- | --- |\n")
		for _, a := range r.params {
			about := linked(a.about)
			if a.schema.Default != nil && string(a.schema.Default) != "false" {
				about += fmt.Sprintf(" Default: %s.", a.schema.Default)
			}
			fmt.Fprintf(p, "| `%s` | %s | %s | %s |\n", a.name, a.in, typeOf(a.schema), about)
		}
	}
	for _, c := range r.body {
		fmt.Fprintf(p, "\nBody, `%s`: %s%s\n", c.media, linked(c.about), ofShape(c.shape))
	}
	fmt.Fprintf(p, "\nAnswer, `%s`: %s%s\n", r.answer.media, linked(r.answer.about), ofShape(r.answer.shape))
	p.WriteString("\n| refused with | when |\n| --- | --- |\n")
	refusals := r.refusals()
	for _, status := range slices.Sorted(maps.Keys(refusals)) {
		fmt.Fprintf(p, "| %d | %s |\n", status, linked(refusals[status]))
	}
	fmt.Fprintf(p, "\n```sh\n%s\n```\n", r.example)
}

func ofShape(s shape) string {
	if name := typeOf(s); strings.Contains(name, "](") {
		return " (" + name + ")"
	}
	return ""
}

func writeShape(p *bytes.Buffer, name string, s shape) {
	fmt.Fprintf(p, "\n### %s\n", name)
	if s.Description != "" {
		fmt.Fprintf(p, "\n%s\n", linked(s.Description))
	}
	if s.PropertyOrder == nil {
		fmt.Fprintf(p, "\nType: %s.\n", typeOf(s))
		return
	}
	p.WriteString("\n| field | type | |\n| --- | --- | --- |\n")
	for _, field := range s.PropertyOrder {
		star := ""
		if slices.Contains(s.Required, field) {
			star = " \\*"
		}
		fmt.Fprintf(p, "| `%s`%s | %s | %s |\n", field, star, typeOf(s.Properties[field]), s.Properties[field].Description)
	}
}

// typeOf is what people call a schema.
func typeOf(s shape) string {
	switch {
	case s.Ref != "":
		name := strings.TrimPrefix(s.Ref, components)
		return fmt.Sprintf("[%s](#%s)", name, anchor(name))
	case s.AnyOf != nil:
		return eachOf(s.AnyOf)
	case s.Enum != nil:
		var words []string
		for _, w := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", w))
		}
		return strings.Join(words, ", ")
	case s.Type == "array":
		return "list of " + typeOf(s.Items)
	case s.Type == "object" && s.Properties == nil && s.AdditionalProperties != nil:
		return "object of " + typeOf(s.AdditionalProperties)
	case s.Type == "object" && s.Properties["base64"] != nil:
		return "`{\"base64\": …}`"
	case s.Type == "string" && s.Format == "date-time":
		return "time (RFC 3339)"
	}
	return cmp.Or(s.Type, "any")
}

func eachOf(schemas []*jsonschema.Schema) string {
	var names []string
	for _, s := range schemas {
		names = append(names, typeOf(s))
	}
	return strings.Join(names, " or ")
}

// linked leads from the name of a shape to it.
func linked(text string) string {
	for _, name := range []string{"Error", "Envelope"} {
		text = strings.ReplaceAll(text, "`"+name+"`", "["+name+"](#"+anchor(name)+")")
	}
	return text
}

// anchor is what a heading is linked by, as GitHub has it.
func anchor(heading string) string {
	return strings.ReplaceAll(strings.Trim(strings.ToLower(heading), "?"), " ", "-")
}
