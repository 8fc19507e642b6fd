// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package main

// Content. Not zeros, and not the same page twice: hosts merge those, and codecs love them.

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
)

const block = 1 << 20

// generate writes a file: "noise", stamped page by page with its generation; "floats" and "text", as people have them.
func generate(o order) error {
	f, err := os.Create(o.Path)
	if err != nil {
		return err
	}
	content := map[string]func(b []byte, at int64){
		"noise": noise(o.Number), "floats": floats(), "text": text(),
	}[o.Kind]
	if content == nil {
		return fmt.Errorf("cannot generate %q", o.Kind)
	}
	b := [block]byte{}
	for at := int64(0); at < o.Bytes; at += block {
		content(b[:], at)
		if _, err := f.Write(b[:min(block, o.Bytes-at)]); err != nil {
			return err
		}
	}
	return f.Close()
}

// stamp is what the first 16 bytes of each page say: which page of which generation it is.
func stamp(page []byte, generation, number uint64) {
	binary.LittleEndian.PutUint64(page, generation)
	binary.LittleEndian.PutUint64(page[8:], number)
}

func noise(generation uint64) func([]byte, int64) {
	base := make([]byte, block)
	rand.NewChaCha8([32]byte{byte(generation)}).Read(base)
	return func(b []byte, at int64) {
		copy(b, base)
		for i := int64(0); i < block; i += smallPage {
			stamp(b[i:], generation, uint64((at+i)/smallPage))
		}
	}
}

// floats are embeddings, float32 with three decimals.
func floats() func([]byte, int64) {
	r := rand.New(rand.NewPCG(1, 2))
	return func(b []byte, _ int64) {
		for i := 0; i < len(b); i += 4 {
			v := float32(math.Round(r.NormFloat64()*100) / 1000)
			binary.LittleEndian.PutUint32(b[i:], math.Float32bits(v))
		}
	}
}

// text is lines as logs have them.
func text() func([]byte, int64) {
	r := rand.New(rand.NewPCG(3, 4))
	words := make([]string, 5000)
	for i := range words {
		w := make([]byte, 3+r.IntN(8))
		for k := range w {
			w[k] = 'a' + byte(r.IntN(26))
		}
		words[i] = string(w)
	}
	number := 0
	return func(b []byte, _ int64) {
		line := b[:0]
		for len(line) < len(b) {
			number++
			line = fmt.Appendf(line, "2026-11-23T09:%02d:%02d.%03dZ INFO request=%d user=%d took=%.3fms",
				number/60000%60, number/1000%60, number%1000, number, r.IntN(100000), r.ExpFloat64()*20)
			for range 4 + r.IntN(6) {
				line = append(append(line, ' '), words[int(math.Abs(r.NormFloat64())*1200)%len(words)]...)
			}
			line = append(line, '\n')
		}
		copy(b, line)
	}
}
