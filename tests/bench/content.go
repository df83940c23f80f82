package main

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
)

// rangeBytes is the unit of comparison, and of the bare client's requests.
const rangeBytes = 8 * mib

// content is the object: random bytes, and a hash of each range of them.
type content struct {
	bytes []byte
	seed  maphash.Seed
	sums  []uint64
}

func newContent(size int) *content {
	c := &content{bytes: make([]byte, size), seed: maphash.MakeSeed(), sums: make([]uint64, size/rangeBytes)}
	var wg sync.WaitGroup
	for i := range c.sums {
		wg.Go(func() {
			part := c.part(i)
			rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), 1}).Read(part)
			c.sums[i] = maphash.Bytes(c.seed, part)
		})
	}
	wg.Wait()
	return c
}

// part is the i-th range.
func (c *content) part(i int) []byte { return c.bytes[i*rangeBytes : (i+1)*rangeBytes] }

// check compares what was read as the i-th range.
func (c *content) check(i int, b []byte) error {
	if len(b) != rangeBytes || maphash.Bytes(c.seed, b) != c.sums[i] {
		return fmt.Errorf("wrong content in range %d (%d bytes)", i, len(b))
	}
	return nil
}
