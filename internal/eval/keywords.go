// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	supportdesk "github.com/millrace-ml/millrace/examples/support-desk"
	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/text/keywords"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// Names of the measures of keywords.
const (
	ProductAccuracy = "product accuracy"
	KeywordRecall   = "keyword recall"
)

func runKeywords(ctx context.Context, c *Config) (*Report, error) {
	c.stage("reading")
	texts, err := c.readKeywords()
	if err != nil {
		return nil, err
	}
	products, err := c.products()
	if err != nil {
		return nil, err
	}
	e, err := keywords.New(keywords.Options{Products: products, Max: c.Max})
	if err != nil {
		return nil, wrong("", "%s: %w", c.Catalogue, err)
	}
	c.stage("answering %d texts", len(texts))
	q, err := keywords.Evaluate(e, tagger.English(), texts)
	if err != nil {
		return nil, wrong("the products are those of the catalogue", "%s: %w", c.Data[0], err)
	}
	r := &Report{Method: "nothing learned", Items: q.Texts, Unit: "texts"}
	r.add(ProductAccuracy, q.ProductAccuracy, q.Texts)
	r.add(KeywordRecall, q.KeywordRecall, q.Keywords)
	r.add("exact keyword recall", q.ExactRecall, q.Keywords)
	r.add("phrases a text", q.PhrasesPerText, 0)
	r.Speed, err = c.clockKeywords(ctx, e, texts)
	return r, err
}

// readKeywords reads texts with their key phrases and products. A column that is
// not there is a list that is empty, but one of them must be there.
func (c *Config) readKeywords() ([]keywords.Labelled, error) {
	rs, err := readRecords(c.Data, c.Format)
	if err != nil {
		return nil, err
	}
	textColumn, err := rs.column("text", c.Text, textColumns...)
	if err != nil {
		return nil, err
	}
	keywordColumn, errKeywords := rs.column("keywords", c.Keywords, "keywords", "keyword", "phrases")
	productColumn, errProducts := rs.column("products", c.Products, "products", "product")
	if errKeywords != nil && (c.Keywords != "" || errProducts != nil) {
		return nil, errKeywords
	}
	if errProducts != nil && c.Products != "" {
		return nil, errProducts
	}
	out := make([]keywords.Labelled, len(rs))
	for i := range rs {
		if out[i].Text, err = rs[i].text(textColumn); err != nil {
			return nil, err
		}
		if out[i].Keywords, err = rs[i].list(keywordColumn); err != nil {
			return nil, err
		}
		if out[i].Products, err = rs[i].list(productColumn); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// products are those of the catalogue.
func (c *Config) products() ([]string, error) {
	file := c.Catalogue
	if file == "" {
		dir, forget, err := deskFiles()
		if err != nil {
			return nil, err
		}
		defer forget()
		file = filepath.Join(dir, "catalogue.yaml")
	}
	products, err := builtin.Products(file)
	if err != nil {
		return nil, wrong("name a YAML file whose field products lists them", "%w", err)
	}
	return products, nil
}

// deskFiles writes the support desk's files to a folder, for as long as they are
// needed.
func deskFiles() (dir string, forget func(), err error) {
	if dir, err = os.MkdirTemp("", "millrace-eval-"); err != nil {
		return "", nil, fmt.Errorf("write the support desk's files: %w", err)
	}
	forget = func() { _ = os.RemoveAll(dir) } // what is left in the temporary folder harms no one
	if _, err = supportdesk.Write(dir); err != nil {
		forget()
		return "", nil, err
	}
	return dir, forget, nil
}

func (c *Config) clockKeywords(ctx context.Context, e *keywords.Extractor, texts []keywords.Labelled) (*Speed, error) {
	timed := texts[:min(len(texts), maxTimed)]
	tokens, tags := make([][]token.Token, len(timed)), make([][]tagger.Tag, len(timed))
	for i := range timed {
		tokens[i] = token.Append(nil, timed[i].Text)
		tags[i] = tagger.English().Append(nil, timed[i].Text, tokens[i])
	}
	var found keywords.Result
	return clock(ctx, c, len(timed), "texts", "answering, parts of speech given", func(from, to int) int {
		for i := from; i < to; i++ {
			e.Extract(&found, timed[i].Text, tokens[i], tags[i])
		}
		return to - from
	})
}
