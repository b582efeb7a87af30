package topologytest

import (
	"testing"

	"eostop/runtime/topology"
)

func TestRecordCache(t *testing.T) {
	CheckRecordCache(t, func(bytes int64) topology.RecordCache { return newCache(&memory{limit: bytes}) })
}

// TestCachesShareTheirMemory: the bytes are those of the whole thread, but a put evicts from its own cache alone.
func TestCachesShareTheirMemory(t *testing.T) {
	m := &memory{limit: 6}
	var first, second heard
	a, b := newCache(m), newCache(m)
	a.OnFlush(first.listen)
	b.OnFlush(second.listen)
	must(t, a.Put([]byte("k"), []byte("12"), 1, nil))
	must(t, b.Put([]byte("l"), []byte("3"), 2, nil))
	must(t, b.Put([]byte("m"), []byte("4"), 3, nil))
	first.expect(t)
	second.expect(t, `l="3"@2 <nil>`, `m="4"@3 <nil>`)
	if m.used != 5 {
		t.Errorf("%d bytes in use, want 5", m.used)
	}
}
