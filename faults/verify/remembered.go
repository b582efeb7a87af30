package verify

// maxRemembered is how many names are remembered.
const maxRemembered = 1 << 14

// remembered holds something about each of the newest names, maxRemembered at most: an older one is forgotten for each that is new.
// Whoever deletes a name from the map forgets it earlier.
type remembered[K comparable, V any] struct {
	names map[K]V
	ring  []K
	next  int // in the ring, once it is full
}

// put remembers a name, or something else about one that is remembered.
func (r *remembered[K, V]) put(name K, value V) {
	if r.names == nil {
		r.names = make(map[K]V)
	}
	if _, ok := r.names[name]; ok {
		r.names[name] = value
		return
	}
	if len(r.ring) < maxRemembered {
		r.ring = append(r.ring, name)
	} else {
		delete(r.names, r.ring[r.next])
		r.ring[r.next] = name
		r.next = (r.next + 1) % maxRemembered
	}
	r.names[name] = value
}
