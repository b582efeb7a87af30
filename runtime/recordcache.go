package runtime

import (
	"eostop/runtime/state"
	"eostop/runtime/topology"
)

// recordCache is a thread's record cache in front of one store, as the program's graph sees it.
type recordCache struct{ *state.RecordCache }

var _ topology.RecordCache = recordCache{}

// Dirty implements topology.RecordCache.
func (c recordCache) Dirty(from, to []byte) [][]byte {
	var keys [][]byte
	c.Scan(from, nil, func(key, _ []byte, _ int64) bool {
		if to != nil && string(key) > string(to) {
			return false
		}
		keys = append(keys, key)
		return true
	})
	return keys
}

// Cache implements topology.Host. Without a budget there is no cache, and every update goes on at once.
func (t *streamTask) Cache(store string) topology.RecordCache {
	if t.thread.cache.Budget() == 0 {
		return nil
	}
	c := &measuredCache{recordCache: recordCache{t.thread.cache.Open(t.id.String(), store)}}
	t.caches = append(t.caches, c)
	return c
}

// closeCaches drops what the caches hold: it was flushed by the last commit, or is not to be committed.
func (t *streamTask) closeCaches() {
	for _, c := range t.caches {
		c.Close()
	}
	t.caches = nil
}

// shareCache divides the record cache evenly over the threads. The caller holds the lock.
func (i *Instance) shareCache() {
	for _, t := range i.threads {
		t.cache.Resize(i.cfg.RecordCache / int64(len(i.threads)))
	}
}
