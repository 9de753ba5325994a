// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

func describeRoutes() []route {
	return []route{{
		method: "GET", path: "/v1/topics", id: "topics", title: "List the topics", right: mayRead,
		about:   "All topics of the broker, with where their partitions start and end.",
		answer:  content{typeJSON, listOf[Topic](), "The topics, by name."},
		errors:  askingBroker(nil),
		example: `curl -sf http://127.0.0.1:8088/v1/topics`,
		handle:  (*Gateway).topics,
	}, {
		method: "GET", path: "/v1/groups", id: "groups", title: "List the consumer groups", right: mayRead,
		about:   "All consumer groups and how far they are behind, without their partitions.",
		answer:  content{typeJSON, listOf[Group](), "The groups, by name."},
		errors:  askingBroker(nil),
		example: `curl -sf http://127.0.0.1:8088/v1/groups`,
		handle:  (*Gateway).groups,
	}, {
		method: "GET", path: "/v1/groups/{group}", id: "group", title: "Describe a consumer group", right: mayRead,
		about:   "One consumer group, by partition. A service's group is called `PIPELINE.SERVICE`.",
		params:  []param{pathParam("group", "The group's name.")},
		answer:  content{typeJSON, of[Group](), "The group."},
		errors:  askingBroker(map[int]string{http.StatusNotFound: "There is no such group."}),
		example: `curl -sf http://127.0.0.1:8088/v1/groups/desk.sentiment`,
		handle:  (*Gateway).group,
	}}
}

func (g *Gateway) topics(w http.ResponseWriter, r *call) error {
	infos, err := g.b.Topics(r.Context())
	if err != nil {
		return err
	}
	all := make([]Topic, 0, len(infos))
	for _, info := range infos {
		if !r.who.mayTopic(info.Name) {
			continue
		}
		t := Topic{
			Name: info.Name, Source: g.accepts(info.Name),
			RetentionSeconds: int64(info.Retention / time.Second), RetentionBytes: info.RetentionBytes,
		}
		for _, e := range info.Ends {
			t.Records += e.Records
			t.Partitions = append(t.Partitions, Partition{Start: e.Start, End: e.End, Records: e.Records})
		}
		all = append(all, t)
	}
	return writeJSON(w, all)
}

// accepts reports whether a topic may be published to, if it exists.
func (g *Gateway) accepts(topic string) bool {
	return g.o.Sources == nil || slices.Contains(g.o.Sources, topic)
}

func (g *Gateway) groups(w http.ResponseWriter, r *call) error {
	names, err := g.b.Groups(r.Context())
	if err != nil {
		return err
	}
	all := make([]Group, 0, len(names))
	for _, name := range names {
		if !r.who.mayGroup(name) {
			continue
		}
		group, err := describeGroup(r.Context(), g.b, name)
		if err != nil {
			return err
		}
		group.Partitions = nil
		all = append(all, group)
	}
	return writeJSON(w, all)
}

func (g *Gateway) group(w http.ResponseWriter, r *call) error {
	name := r.PathValue("group")
	if err := r.checkGroup(name); err != nil {
		return err
	}
	names, err := g.b.Groups(r.Context())
	if err != nil {
		return err
	}
	if !slices.Contains(names, name) {
		return refuse(http.StatusNotFound, among(name, names, "group"), "there is no group %q", name)
	}
	group, err := describeGroup(r.Context(), g.b, name)
	if err != nil {
		return err
	}
	return writeJSON(w, group)
}

func describeGroup(ctx context.Context, b *broker.Broker, name string) (Group, error) {
	lags, err := b.Lag(ctx, name)
	if err != nil {
		return Group{}, err
	}
	group := Group{Name: name, Topics: []string{}}
	members := map[string]bool{}
	for _, l := range lags {
		if !slices.Contains(group.Topics, l.Topic) {
			group.Topics = append(group.Topics, l.Topic)
		}
		if l.Member != "" {
			members[l.Member] = true
		}
		group.Lag += l.Lag
		group.Partitions = append(group.Partitions, Place(l))
	}
	group.Members = len(members)
	return group, nil
}
