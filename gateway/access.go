// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/lineage"
)

// right is what a token may allow.
type right string

// The rights. Routes without one ask for a token and for nothing more.
const (
	mayPublish right = "publish" // records to topics
	mayRead    right = "read"    // topics, groups, timelines, dead letters, metrics
	mayWork    right = "work"    // kept for workers on other machines: no route asks for it yet
	mayAdmin   right = "admin"   // move groups, decide on dead letters
)

var allRights = []right{mayPublish, mayRead, mayWork, mayAdmin}

// Access says who may do what: the tokens of a file, which is read again when it
// has changed. It may be used by several goroutines at once. See docs/http.md for
// the file.
type Access struct{ file *watched[[]grant] }

// OpenAccess reads a file of tokens. The error names the line and column of what is
// wrong, and no token. A file that is wrong later changes nothing: what it said
// before holds, and why is logged; a nil logger is slog.Default().
func OpenAccess(file string, logger *slog.Logger) (*Access, error) {
	w, err := watch(func() ([]grant, error) { return readGrants(file) }, logger, file)
	if err != nil {
		return nil, err
	}
	return &Access{w}, nil
}

// grant is what the holder of a token may do.
type grant struct {
	name     string
	hash     [sha256.Size]byte // of the token
	rights   []right
	limited  bool     // to these
	topics   []string // whose records may be published and read
	services []string // whose groups and dead letters may be seen and decided on
}

// anyone is who asks where nobody is asked for a token.
var anyone = &grant{rights: allRights}

func (g *grant) may(r right) bool { return r == "" || slices.Contains(g.rights, r) }

func (g *grant) mayTopic(topic string) bool { return !g.limited || slices.Contains(g.topics, topic) }

func (g *grant) mayService(service string) bool {
	return !g.limited || slices.Contains(g.services, service)
}

// mayGroup goes by the group's service: groups are called PIPELINE.SERVICE.
func (g *grant) mayGroup(group string) bool {
	return !g.limited || g.mayService(group[strings.LastIndexByte(group, '.')+1:])
}

// who finds out who sends a request. All tokens are compared, each in constant time,
// so that how long it takes says nothing of them.
func (a *Access) who(r *http.Request) (*grant, error) {
	if a == nil {
		return anyone, nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, refuse(http.StatusUnauthorized, "send the header Authorization: Bearer TOKEN", "the request has no token")
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
	var found *grant
	grants := a.file.get()
	for i := range grants {
		if subtle.ConstantTimeCompare(hash[:], grants[i].hash[:]) == 1 {
			found = &grants[i]
		}
	}
	if found == nil {
		return nil, refuse(http.StatusUnauthorized, "send one that the tokens' file has", "the token is not known")
	}
	return found, nil
}

// forbidden is the error of a token that does not allow something.
func (g *grant) forbidden(format string, args ...any) *Error {
	return refuse(http.StatusForbidden, "use another token, or allow it in the tokens' file", "the token of %s does not allow %s", g.name, fmt.Sprintf(format, args...))
}

// checkRight is nil if the holder may use the route.
func (g *grant) checkRight(route *route) error {
	switch {
	case !g.may(route.right):
		return g.forbidden("this: it lacks the right %q", route.right)
	case route.everything && g.limited:
		return g.forbidden("this, as it shows all topics and services, and the token is limited to some")
	}
	return nil
}

func (r *call) checkTopic(topic string) error {
	if !r.who.mayTopic(topic) {
		return r.who.forbidden("topic %q", topic)
	}
	return nil
}

func (r *call) checkGroup(group string) error {
	if !r.who.mayGroup(group) {
		return r.who.forbidden("group %q", group)
	}
	return nil
}

// checkLetter goes by the letter's topic, SERVICE.dead.
func (r *call) checkLetter(id string) error {
	topic, _, _ := strings.Cut(id, "/")
	service, _ := lineage.DeadOf(topic)
	if !r.who.mayService(service) {
		return r.who.forbidden("dead letter %q", id)
	}
	return nil
}

// narrow makes a selection of dead letters one of the services that are allowed.
func (r *call) narrow(s *deadletter.Selection) error {
	for _, service := range s.Services {
		if !r.who.mayService(service) {
			return r.who.forbidden("service %q", service)
		}
	}
	for _, id := range s.Letters {
		if err := r.checkLetter(id); err != nil {
			return err
		}
	}
	if !r.who.limited || len(s.Services) > 0 {
		return nil
	}
	if len(r.who.services) == 0 {
		return r.who.forbidden("any service")
	}
	s.Services = slices.Clone(r.who.services)
	return nil
}
