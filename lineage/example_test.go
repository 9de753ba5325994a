// SPDX-License-Identifier: Apache-2.0

package lineage_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

func Example() {
	ticket := &broker.Record{Topic: "tickets", Partition: 3, Offset: 1234}
	tags := &broker.Record{Headers: []broker.Header{{Key: lineage.ID, Value: lineage.AppendChild(nil, ticket, "tagger", 0, 1)}}}
	class := string(lineage.AppendChild(nil, tags, "classifier", 0, 1))
	path, _ := lineage.Parse(class)
	service, _, _ := path.Service()
	fmt.Println(class, "comes from", path.Source, "by", service)
	// Output: tickets/3/1234/tagger/classifier comes from tickets/3/1234 by classifier
}
