package verify

import "testing"

// TestTheOldestIsForgotten: names keep their place when they are put again.
func TestTheOldestIsForgotten(t *testing.T) {
	var r remembered[int, string]
	for name := range maxRemembered {
		r.put(name, "first")
	}
	r.put(0, "again")
	if len(r.names) != maxRemembered || r.names[0] != "again" {
		t.Fatalf("%d names, of 0 %q", len(r.names), r.names[0])
	}
	for name := range maxRemembered / 2 {
		r.put(maxRemembered+name, "new")
	}
	_, oldest := r.names[maxRemembered/2-1]
	_, next := r.names[maxRemembered/2]
	if len(r.names) != maxRemembered || oldest || !next {
		t.Errorf("%d names are remembered; the newest that should be forgotten: %t; the oldest that should not: %t", len(r.names), oldest, next)
	}
}
