// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/broker/redis"
)

// Same reports whether two URLs name the same broker on a server: a server in
// common and, on Redis, the same database and namespace. Who connects, and how, does
// not matter. Other names for a server are not known: it connects to nothing. It is
// false for embedded brokers, which are told apart by their data directories.
func Same(a, b string) bool {
	one, err := find(a)
	if err != nil {
		return false
	}
	other, err := find(b)
	if err != nil || one.names[0] != other.names[0] || one.names[0] == "embedded" {
		return false
	}
	x, y := partsOf(a), partsOf(b)
	return x.space == y.space && slices.ContainsFunc(x.servers, func(s string) bool { return slices.Contains(y.servers, s) })
}

// parts of a URL that say which broker it is.
type parts struct {
	servers []string
	space   string // the database and namespace, on Redis
}

// partsOf takes a URL apart by hand: one with several servers is none to url.Parse.
func partsOf(address string) parts {
	scheme, rest, _ := strings.Cut(address, "://")
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	hosts = hosts[strings.LastIndex(hosts, "@")+1:]
	port := ":9092"
	var p parts
	if strings.HasPrefix(scheme, "redis") {
		port = ":6379"
		values, err := url.ParseQuery(query)
		if err != nil {
			return p // which the driver will say
		}
		p.space = strings.TrimPrefix(path, "0") + "?" + cmp.Or(values.Get("namespace"), redis.DefaultNamespace)
	}
	for host := range strings.SplitSeq(strings.ToLower(hosts), ",") {
		if host != "" && !strings.Contains(host[strings.LastIndex(host, "]")+1:], ":") {
			host += port
		}
		p.servers = append(p.servers, host)
	}
	return p
}
