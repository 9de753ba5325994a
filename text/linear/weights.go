// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/millrace-ml/millrace/text/internal/lane"
)

// The file of weights, little endian:
//
//	"MRWPLIN1", the header's length uint32, the header as JSON
//	labels float32: the scales; labels float32: the biases
//	labels × dense float32
//	buckets × labels bytes: the table, each weight n as n+128
//	CRC-32 (IEEE) of all that
const magic = "MRWPLIN1"

type header struct {
	Labels      []string `json:"labels"`
	Options     Options  `json:"options"`
	Temperature float64  `json:"temperature"`
	// Kind names the package that knows how to fill the vectors.
	Kind string `json:"kind"`
}

// ErrWeights is what every error of Read matches.
var ErrWeights = errors.New("not usable as weights of a text classifier")

const (
	maxHeader = 1 << 24
	maxLabels = 1 << 16
	maxTable  = 1 << 30
)

// Write writes the model's weights. Kind names what they were trained for, so
// that a model of another kind does not read them by mistake.
func (m *Model) Write(w io.Writer, kind string) error {
	head, err := json.Marshal(header{Labels: m.labels, Options: m.options, Temperature: m.temperature, Kind: kind})
	if err != nil {
		return fmt.Errorf("write weights: %w", err)
	}
	data := append([]byte(magic), binary.LittleEndian.AppendUint32(nil, uint32(len(head)))...)
	data = append(data, head...)
	for _, numbers := range [][]float32{m.scales, m.bias, m.dense} {
		for _, n := range numbers {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(n))
		}
	}
	for row := range m.options.Buckets {
		data = append(data, m.table[row*m.stride:][:len(m.labels)]...)
	}
	data = binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write weights: %w", err)
	}
	return nil
}

// Read makes a model of the contents of a file of weights that was written for
// that kind. Errors match [ErrWeights].
func Read(data []byte, kind string) (*Model, error) {
	m, err := read(data, kind)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWeights, err)
	}
	return m, nil
}

func read(data []byte, kind string) (*Model, error) {
	const fixed = len(magic) + 4
	if len(data) < fixed+4 || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("the file does not begin with %s", magic)
	}
	body := data[:len(data)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(data[len(body):]) {
		return nil, errors.New("its checksum is wrong: it was cut off or is damaged")
	}
	size := binary.LittleEndian.Uint32(data[len(magic):])
	if size > maxHeader || int(size) > len(body)-fixed {
		return nil, errors.New("its header is longer than the file")
	}
	h, err := readHeader(body[fixed:fixed+int(size)], kind)
	if err != nil {
		return nil, err
	}
	return fill(h, body[fixed+int(size):])
}

func readHeader(data []byte, kind string) (header, error) {
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return h, fmt.Errorf("its header: %w", err)
	}
	switch {
	case h.Kind != kind:
		return h, fmt.Errorf("they are a %s's, not a %s's", h.Kind, kind)
	case len(h.Labels) < 2 || len(h.Labels) > maxLabels:
		return h, fmt.Errorf("it has %d labels", len(h.Labels))
	case !(h.Temperature > 0 && h.Temperature <= 1e6):
		return h, fmt.Errorf("its temperature is %v", h.Temperature)
	}
	if err := h.Options.check(); err != nil {
		return h, err
	}
	if int64(h.Options.Buckets)*int64(lane.Width(len(h.Labels))) > maxTable {
		return h, errors.New("its table is larger than a gigabyte")
	}
	return h, nil
}

func fill(h header, data []byte) (*Model, error) {
	labels := len(h.Labels)
	numbers := labels * (2 + h.Options.Dense)
	if want := 4*numbers + h.Options.Buckets*labels; len(data) != want {
		return nil, fmt.Errorf("it holds %d bytes of weights, its header says %d", len(data), want)
	}
	m := newModel(h.Options, h.Labels)
	m.temperature = h.Temperature
	for _, to := range [][]float32{m.scales, m.bias, m.dense} {
		for i := range to {
			to[i] = math.Float32frombits(binary.LittleEndian.Uint32(data))
			if math.IsNaN(float64(to[i])) || math.IsInf(float64(to[i]), 0) {
				return nil, errors.New("a weight is not a number")
			}
			data = data[4:]
		}
	}
	m.table = make([]byte, h.Options.Buckets*m.stride)
	for row := range h.Options.Buckets {
		copy(m.table[row*m.stride:][:labels], data[row*labels:])
	}
	return m, nil
}
