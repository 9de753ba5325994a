// SPDX-License-Identifier: Apache-2.0

package embed_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/embed"
)

func vector(t testing.TB, text string) []float32 {
	t.Helper()
	m := embed.Default()
	v := make([]float32, m.Dim())
	m.Embed(v, text)
	return v
}

func TestLikeMeaningIsNear(t *testing.T) {
	a := vector(t, "My vacuum robot does not charge any more")
	near := vector(t, "the battery of the robo vac stays empty on its dock")
	far := vector(t, "Where is my parcel? It should have arrived on Monday")
	if embed.Dot(a, near) < embed.Dot(a, far)+0.1 {
		t.Errorf("near %.3f, far %.3f", embed.Dot(a, near), embed.Dot(a, far))
	}
	if n := embed.Dot(a, a); math.Abs(float64(n)-1) > 1e-5 {
		t.Errorf("a vector's length is %v", n)
	}
}

func BenchmarkEmbed(b *testing.B) {
	m := embed.Default()
	v := make([]float32, m.Dim())
	b.ReportAllocs()
	for b.Loop() {
		m.Embed(v, "I am still waiting on my card, what can I do?")
	}
}

func TestATextWithoutWordsIsZero(t *testing.T) {
	for _, text := range []string{"", " \n", "\u200b"} {
		for _, x := range vector(t, text) {
			if x != 0 {
				t.Fatalf("the vector of %q is not zero", text)
			}
		}
	}
}

func TestALongTextIsTheSameAsItsParts(t *testing.T) {
	// Repetition changes no direction, save where the repeats meet.
	sentence := "the robot does not find its dock . "
	once, often := vector(t, sentence), vector(t, strings.Repeat(sentence, 3000))
	if dot := embed.Dot(once, often); dot < 0.98 {
		t.Errorf("the cosine is %v", dot)
	}
}

// tiny are the weights of a model with three tokens, of which two make a pair.
func tiny() []byte {
	vocabulary := "[UNK]\nhot\ncold"
	data := []byte("MRWPEMB2")
	for _, n := range []int{8, 3, 1, len(vocabulary)} {
		data = binary.LittleEndian.AppendUint32(data, uint32(n))
	}
	data = append(data, vocabulary...)
	data = binary.LittleEndian.AppendUint32(data, 1)
	data = binary.LittleEndian.AppendUint32(data, 2)
	for range 8 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(0.5))
	}
	for row := range 4 {
		numbers := bytes.Repeat([]byte{128}, 8)
		numbers[row] = 138
		data = append(data, numbers...)
	}
	return binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

func TestPairsAddTheirRow(t *testing.T) {
	m, err := embed.Read(tiny())
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, m.Dim())
	for text, want := range map[string][]float64{
		"hot":               {0, 1, 0, 0},
		"hot cold":          {0, 1, 1, 1},
		"cold hot":          {0, 1, 1, 0},
		"hot unheard cold":  {0, 1, 1, 0},
		"hot cold hot cold": {0, 2, 2, 2},
	} {
		m.Embed(v, text)
		norm := 0.0
		for _, x := range want {
			norm += x * x
		}
		for d, x := range want {
			if math.Abs(float64(v[d])-x/math.Sqrt(norm)) > 1e-6 {
				t.Errorf("%q: vector is %v, want the direction of %v", text, v, want)
				break
			}
		}
	}
}

func TestDamagedWeightsAreRefused(t *testing.T) {
	good := tiny()
	for i := range good {
		damaged := bytes.Clone(good)
		damaged[i] ^= 0x10
		if _, err := embed.Read(damaged); !errors.Is(err, embed.ErrWeights) {
			t.Errorf("byte %d changed: error is %v", i, err)
		}
		if _, err := embed.Read(good[:i]); !errors.Is(err, embed.ErrWeights) {
			t.Errorf("cut off at %d: error is %v", i, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(tiny())
	f.Add(tiny()[:30])
	f.Fuzz(func(t *testing.T, data []byte) {
		// Let the fuzzer past the checksum.
		if len(data) > 4 {
			data = binary.LittleEndian.AppendUint32(data[:len(data)-4:len(data)-4], crc32.ChecksumIEEE(data[:len(data)-4]))
		}
		m, err := embed.Read(data)
		if err != nil {
			if !errors.Is(err, embed.ErrWeights) {
				t.Fatalf("error %v is not ErrWeights", err)
			}
			return
		}
		m.Embed(make([]float32, m.Dim()), "hot cold unheard")
	})
}
