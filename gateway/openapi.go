// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// The parts of an OpenAPI 3.1 document that the interface needs
// (https://spec.openapis.org/oas/v3.1.1).
type (
	document struct {
		OpenAPI    string                           `json:"openapi"`
		Info       info                             `json:"info"`
		Servers    []server                         `json:"servers"`
		Paths      map[string]map[string]*operation `json:"paths"` // by path, then by method
		Components struct {
			Schemas  map[string]shape  `json:"schemas"`
			Security map[string]scheme `json:"securitySchemes"`
		} `json:"components"`
	}
	scheme struct {
		Type        string `json:"type"`
		Scheme      string `json:"scheme"`
		Description string `json:"description"`
	}
	info struct {
		Title       string  `json:"title"`
		Description string  `json:"description"`
		Version     string  `json:"version"`
		License     license `json:"license"`
	}
	license struct {
		Name       string `json:"name"`
		Identifier string `json:"identifier"`
	}
	server struct {
		URL string `json:"url"`
	}
	operation struct {
		ID          string               `json:"operationId"`
		Summary     string               `json:"summary"`
		Description string               `json:"description"`
		Parameters  []parameter          `json:"parameters,omitempty"`
		Body        *requestBody         `json:"requestBody,omitempty"`
		Responses   map[string]response  `json:"responses"` // by status
		Security    []map[string][]right `json:"security"`  // none at all, or a token with the right
		Samples     []sample             `json:"x-codeSamples"`
	}
	parameter struct {
		Name        string `json:"name"`
		In          string `json:"in"`
		Description string `json:"description"`
		Required    bool   `json:"required,omitempty"`
		Schema      shape  `json:"schema"`
	}
	requestBody struct {
		Required bool             `json:"required"`
		Content  map[string]media `json:"content"` // by media type
	}
	response struct {
		Description string            `json:"description"`
		Headers     map[string]header `json:"headers,omitempty"`
		Content     map[string]media  `json:"content"`
	}
	header struct {
		Description string `json:"description"`
		Schema      shape  `json:"schema"`
	}
	media struct {
		Schema shape `json:"schema"`
	}
	sample struct {
		Language string `json:"lang"`
		Source   string `json:"source"`
	}
)

const aboutInterface = `Programs publish records to topics, read and follow them, move consumer groups and look after dead letters.

Any answer that is not of status 200 has the shape ` + "`Error`" + `, also for a path (404) or a method (405, with the header Allow) that does not exist. An answer of status 503 has the header Retry-After. Query parameters that a request does not have are refused.

Unless tokens are asked for, only this machine is served, and the Host header must be a name of its loopback. No page of another origin may publish or read.`

// OpenAPI describes the HTTP interface as an OpenAPI 3.1 document in JSON. It is
// what GET /openapi.json answers.
func OpenAPI() ([]byte, error) {
	d := document{
		OpenAPI: "3.1.1",
		Info: info{
			Title: "Millrace", Description: aboutInterface, Version: "1",
			License: license{Name: "Apache 2.0", Identifier: "Apache-2.0"},
		},
		Servers: []server{{URL: "http://127.0.0.1:8088"}},
		Paths:   map[string]map[string]*operation{},
	}
	d.Components.Security = map[string]scheme{"token": {
		Type: "http", Scheme: "bearer",
		Description: "A token of the file that --tokens names. The scopes are the rights that it needs.",
	}}
	var err error
	if d.Components.Schemas, err = shapes(); err != nil {
		return nil, err
	}
	all := routes()
	for i := range all {
		path := strings.ReplaceAll(all[i].path, "...}", "}")
		if d.Paths[path] == nil {
			d.Paths[path] = map[string]*operation{}
		}
		d.Paths[path][strings.ToLower(all[i].method)] = all[i].operation()
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("encode the description: %w", err)
	}
	return b.Bytes(), nil
}

func (r *route) operation() *operation {
	o := &operation{
		ID: r.id, Summary: r.title, Description: r.about,
		Responses: map[string]response{"200": {Description: r.answer.about, Content: map[string]media{r.answer.media: {r.answer.shape}}}},
		Samples:   []sample{{"Shell", r.example}},
	}
	rights := []right{}
	if r.right != "" {
		rights = append(rights, r.right)
	}
	o.Security = []map[string][]right{{}, {"token": rights}}
	for _, p := range r.params {
		o.Parameters = append(o.Parameters, parameter{Name: p.name, In: p.in, Description: p.about, Required: p.in == "path", Schema: p.schema})
	}
	if len(r.body) > 0 {
		o.Body = &requestBody{Required: true, Content: map[string]media{}}
		for _, c := range r.body {
			s := c.shape.CloneSchemas()
			s.Description = c.about
			o.Body.Content[c.media] = media{s}
		}
	}
	for status, when := range r.refusals() {
		refusal := response{Description: when, Content: map[string]media{typeJSON: {of[Error]()}}}
		if status == http.StatusServiceUnavailable {
			refusal.Headers = map[string]header{"Retry-After": {"Seconds to wait before trying again.", &jsonschema.Schema{Type: "integer"}}}
		}
		o.Responses[strconv.Itoa(status)] = refusal
	}
	return o
}

func openapiRoute() route {
	return route{
		method: "GET", path: "/openapi.json", id: "describe", title: "Describe this interface",
		about: "The description of this interface that generators of clients and documentation read.",
		answer: content{typeJSON, &jsonschema.Schema{Type: "object", Required: []string{"openapi", "info", "paths"}},
			"An OpenAPI 3.1 document."},
		example: `curl -sf http://127.0.0.1:8088/openapi.json`,
		handle: func(g *Gateway, w http.ResponseWriter, _ *call) error {
			document, err := g.openapi()
			if err != nil {
				return err
			}
			w.Header().Set("Content-Type", typeJSON)
			_, _ = w.Write(document) // the client has gone when this fails
			return nil
		},
	}
}
