package state

import (
	"slices"
	"sort"
	"strings"
)

// chunkSlots is the length at which a chunk is split. An insertion moves half a chunk of 24-byte slots at the most.
const chunkSlots = 512

// ordered is a map in key order: sorted chunks, found by the first key of each. It iterates as fast as a slice, and an insertion costs two
// binary searches and a short move.
type ordered[T any] struct {
	chunks  [][]slot[T] // none of them empty
	count   int
	version int // changes whenever slots move
}

type slot[T any] struct {
	key  string
	item T
}

// locate returns the place of a key, or the one where it would be. That may be behind the last slot of a chunk.
func (o *ordered[T]) locate(key string) (chunk, index int, found bool) {
	chunk = sort.Search(len(o.chunks), func(i int) bool { return o.chunks[i][0].key > key }) - 1
	if chunk < 0 {
		return 0, 0, false
	}
	index, found = slices.BinarySearchFunc(o.chunks[chunk], key, func(s slot[T], key string) int { return strings.Compare(s.key, key) })
	return chunk, index, found
}

// insert adds a key that is not there yet.
func (o *ordered[T]) insert(key string, item T) {
	o.version++
	o.count++
	if len(o.chunks) == 0 {
		o.chunks = append(o.chunks, []slot[T]{{key, item}})
		return
	}
	chunk, index, _ := o.locate(key)
	c := slices.Insert(o.chunks[chunk], index, slot[T]{key, item})
	o.chunks[chunk] = c
	if len(c) < chunkSlots {
		return
	}
	half := len(c) / 2
	right := append(make([]slot[T], 0, chunkSlots), c[half:]...)
	clear(c[half:])
	o.chunks[chunk] = c[:half]
	o.chunks = slices.Insert(o.chunks, chunk+1, right)
}

// remove deletes a key, if it is there.
func (o *ordered[T]) remove(key string) {
	chunk, index, found := o.locate(key)
	if !found {
		return
	}
	o.version++
	o.count--
	o.chunks[chunk] = slices.Delete(o.chunks[chunk], index, index+1)
	if len(o.chunks[chunk]) == 0 {
		o.chunks = slices.Delete(o.chunks, chunk, chunk+1)
		return
	}
	// Neighbours that have become small are joined, so that deletions leave no trail of nearly empty chunks.
	for _, left := range []int{chunk, chunk - 1} {
		if left >= 0 && left+1 < len(o.chunks) && len(o.chunks[left])+len(o.chunks[left+1]) < chunkSlots/4 {
			o.chunks[left] = append(o.chunks[left], o.chunks[left+1]...)
			o.chunks = slices.Delete(o.chunks, left+1, left+2)
			return
		}
	}
}

func (o *ordered[T]) clear() { *o = ordered[T]{version: o.version + 1} }

// ascend passes the items within the bounds in key order until fn returns false. Fn may insert and remove: the walk goes on behind the key
// that was passed last.
func (o *ordered[T]) ascend(b bounds, fn func(key string, item T) bool) {
	chunk, index, _ := o.locate(string(b.lower))
	for chunk < len(o.chunks) {
		c := o.chunks[chunk]
		if index >= len(c) {
			chunk, index = chunk+1, 0
			continue
		}
		s, version := c[index], o.version
		if !b.below(s.key) || !fn(s.key, s.item) {
			return
		}
		if o.version == version {
			index++
			continue
		}
		var found bool
		if chunk, index, found = o.locate(s.key); found {
			index++
		}
	}
}

// descend is ascend in the opposite direction.
func (o *ordered[T]) descend(b bounds, fn func(key string, item T) bool) {
	chunk, index := len(o.chunks), 0
	if b.upper != nil {
		chunk, index, _ = o.locate(string(b.upper))
	}
	for {
		if index == 0 {
			if chunk == 0 {
				return
			}
			chunk--
			index = len(o.chunks[chunk])
		}
		index--
		s, version := o.chunks[chunk][index], o.version
		if !b.above(s.key) || !fn(s.key, s.item) {
			return
		}
		if o.version != version {
			chunk, index, _ = o.locate(s.key)
		}
	}
}

// bounds enclose the keys from lower on and before upper. Nil is open.
type bounds struct{ lower, upper []byte }

func (b bounds) above(key string) bool { return key >= string(b.lower) }

func (b bounds) below(key string) bool { return b.upper == nil || key < string(b.upper) }

func (b bounds) contain(key string) bool { return b.above(key) && b.below(key) }

// all tells whether nothing bounds the keys.
func (b bounds) all() bool { return len(b.lower) == 0 && b.upper == nil }

// behind are the bounds of what comes after a key; nil stands before the first.
func behind(key []byte) bounds {
	if key == nil {
		return bounds{}
	}
	return bounds{lower: append(append(make([]byte, 0, len(key)+1), key...), 0)}
}
