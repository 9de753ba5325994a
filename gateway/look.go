// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"

	"github.com/millrace-ml/millrace/deadletter"
)

const (
	// readerBytes is about what a driver fetches of a topic at a time.
	readerBytes = 4 << 20

	// letterBytes is what a dead letter takes in a list, with its text.
	letterBytes = 4 << 10
)

// lookBytes is what a request takes that reads topics through and lists so many of
// what it finds.
func lookBytes(o *Options, list int) int64 {
	return requestBytes + readerBytes + 2*int64(o.MaxRecordBytes) + int64(list)*letterBytes
}

// largestLook is the most that one of them takes.
func largestLook(o *Options) int64 { return lookBytes(o, deadletter.MaxList) }

// look lets a request read topics through, which lists so many of what it finds, and
// bounds how long it may. These requests have memory of their own: however much is
// published, it can be found out what goes on.
func (g *Gateway) look(r *call, list int, ask func(ctx context.Context) error) (*account, error) {
	held, err := g.looks.admit(r.Context(), r.client, lookBytes(&g.o, list))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.o.Scan)
	defer cancel()
	if err := ask(ctx); err != nil {
		held.close()
		if ctx.Err() != nil && r.Context().Err() == nil {
			err = refuse(http.StatusGatewayTimeout, "ask for less: name a place, such as tickets/3/1234, one service, or a later since",
				"looking through the topics has taken more than %v", g.o.Scan)
		}
		return nil, err
	}
	return held, nil
}

// tooLong is what a route refuses that looks through topics.
const tooLong = "Looking through the topics took longer than a minute; ask for less."
