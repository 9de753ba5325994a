// SPDX-License-Identifier: Apache-2.0

// Command makelexicon makes the tagger's lexicon from the table of word
// embeddings of all-MiniLM-L6-v2 and a treebank:
//
//	go run ./text/internal/makelexicon -model model.safetensors -vocab vocab.txt \
//	    -data en_ewt-ud-train.conllu -output text/tagger/english.lexicon
//
// The same inputs make the same bytes.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/internal/lexicon"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "makelexicon:", err)
		os.Exit(1)
	}
}

func run() error {
	model := flag.String("model", "", "all-MiniLM-L6-v2's model.safetensors")
	vocab := flag.String("vocab", "", "its vocab.txt")
	data := flag.String("data", "", "treebank to learn parts of speech from, CoNLL-U")
	output := flag.String("output", "", "file for the lexicon")
	flag.Parse()
	if *model == "" || *vocab == "" || *data == "" || *output == "" {
		return errors.New("give -model, -vocab, -data and -output")
	}
	words, vectors, err := embeddings(*model, *vocab)
	if err != nil {
		return err
	}
	counts, err := count(*data, words)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 1))
	guesses, right := guess(standardised(vectors), counts, random)
	fmt.Fprintf(os.Stderr, "%d words, %d of them tagged; the commonest tag of unseen ones is guessed right in %.1f%%\n",
		len(words), len(counts), 100*right)
	coarse, fine := groups(directions(vectors), random)
	entries := make([]lexicon.Entry, len(words))
	for i, w := range words {
		entries[i] = lexicon.Entry{
			Hash:    lexicon.Hash(w),
			Classes: lexicon.Classes{classOf(&guesses[i]), uint16(coarse[i] + 1), uint16(fine[i] + 1)},
		}
	}
	f, err := os.Create(*output)
	if err != nil {
		return err
	}
	return errors.Join(lexicon.New(entries).Save(f), f.Close())
}

// dimensions of the embeddings.
const dimensions = 384

// embeddings reads the vectors of the vocabulary's whole words.
func embeddings(model, vocab string) (words []string, vectors [][]float32, err error) {
	table, err := tensor(model, "embeddings.word_embeddings.weight")
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", model, err)
	}
	f, err := os.Open(vocab)
	if err != nil {
		return nil, nil, err
	}
	lines := bufio.NewScanner(f)
	for ; lines.Scan() && len(table) >= dimensions; table = table[dimensions:] {
		w := lines.Text()
		if special := strings.HasPrefix(w, "[") && len(w) > 1; special || strings.HasPrefix(w, "##") {
			continue
		}
		words = append(words, w)
		vectors = append(vectors, table[:dimensions])
	}
	if err := errors.Join(lines.Err(), f.Close()); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", vocab, err)
	}
	return words, vectors, nil
}

// tensor reads a tensor of 32-bit floats from a file in the safetensors format
// (https://github.com/huggingface/safetensors#format).
func tensor(path, name string) ([]float32, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) < 8 {
		return nil, errors.New("not a safetensors file")
	}
	n := binary.LittleEndian.Uint64(data)
	if n > uint64(len(data)-8) {
		return nil, errors.New("not a safetensors file")
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	var about struct {
		DType   string `json:"dtype"`
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(header[name], &about); err != nil || about.DType != "F32" {
		return nil, fmt.Errorf("tensor %s of type F32 is not there: %w", name, err)
	}
	data = data[8+n:]
	if about.Offsets[0] < 0 || about.Offsets[1] > len(data) || about.Offsets[0] > about.Offsets[1] {
		return nil, fmt.Errorf("tensor %s is cut off", name)
	}
	data = data[about.Offsets[0]:about.Offsets[1]]
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out, nil
}

// count counts the tags of the treebank's words.
func count(path string, words []string) (map[int]*[tags]float64, error) {
	index := make(map[string]int, len(words))
	for i, w := range words {
		index[w] = i
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	sentences, err := conllu.NewReader(f).ReadAll()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	counts := make(map[int]*[tags]float64)
	for _, s := range sentences {
		for _, w := range s.Words {
			i, known := index[strings.ToLower(w.Form)]
			tag, ok := tagOf(w.UPOS)
			if !known || !ok {
				continue
			}
			if counts[i] == nil {
				counts[i] = new([tags]float64)
			}
			counts[i][tag]++
		}
	}
	return counts, nil
}
