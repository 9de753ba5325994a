// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// SettleScript is the script that a settle runs, for measuring what it takes
// without the driver. lua/settle.lua says what its keys and arguments are.
func SettleScript() string { return script("lost", "append", "settle") }

// script joins files of the folder lua.
func script(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		text, err := luaFiles.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // it is not in the program
		}
		b.Write(text)
	}
	return b.String()
}

// scripts are what the server runs. Each ends at once when the server has lost
// the data that the client knows.
type scripts struct {
	append, settle, group, topics, look, count *redis.Script
}

func newScripts() scripts {
	load := func(names ...string) *redis.Script { return redis.NewScript(script(names...)) }
	return scripts{
		append: load("lost", "append", "publish"),
		settle: redis.NewScript(SettleScript()),
		group:  load("lost", "group"),
		topics: load("topics"),
		look:   load("lost", "look"),
		count:  load("count"),
	}
}

// eval runs a script, which the server may not know yet.
func (d *driver) eval(ctx context.Context, s *redis.Script, keys []string, args ...any) (any, error) {
	v, err := d.client.EvalSha(ctx, s.Hash(), keys, args...).Result()
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		v, err = s.Eval(ctx, d.client, keys, args...).Result()
	}
	return v, err
}

// run runs a script whose second run changes nothing, until it has an answer. It
// puts the generation before its arguments. Keys and arguments are not changed
// afterwards: a call that was left alone goes on reading them.
func (d *driver) run(ctx context.Context, s *redis.Script, keys []string, args []any) (any, error) {
	return call(ctx, d, func(ctx context.Context) (any, error) {
		for {
			known := d.data.Load()
			v, err := d.eval(ctx, s, keys, append([]any{known.generation}, args...)...)
			if !isReply(err, "LOST") {
				return v, err
			}
			if err := d.renew(ctx, known); err != nil {
				return nil, err
			}
		}
	})
}

// decode reads a script's answer, which is JSON.
func decode[T any](answer any, err error) (T, error) {
	var v T
	if err != nil {
		return v, err
	}
	text, _ := answer.(string)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("the answer %.100q of a script: %w", text, err)
	}
	return v, nil
}

// isReply reports whether the server answered with an error of that code.
func isReply(err error, code string) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	text := strings.TrimPrefix(reply.Error(), "ERR ")
	return strings.HasPrefix(text, code+" ") || text == code
}

// detail is what follows the code of an error that the server answered with.
func detail(err error) string {
	_, text, _ := strings.Cut(strings.TrimPrefix(err.Error(), "ERR "), " ")
	return text
}
