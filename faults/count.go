package faults

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// passed is told what goes one way without being looked at.
func (t *tap) passed(d Direction, b []byte) {
	if t.broken {
		return
	}
	if len(t.pending) > 0 {
		t.unknown += len(t.pending)
		t.pending = nil
	}
	f := &t.in
	if d == Out {
		f = &t.out
	}
	switch { // what clients do for the most part
	case f.left > len(b):
		f.left -= len(b)
		return
	case f.left > 0 || len(f.head) > 0 || len(b) < 14 || int(binary.BigEndian.Uint32(b)) != len(b)-4 || t.raw:
	case d == In:
		t.discount(nil)
		return
	default:
		switch kmsg.Key(binary.BigEndian.Uint16(b[4:])) {
		case kmsg.Produce, kmsg.SASLHandshake: // these are special
		default:
			t.unknown++
			return
		}
	}
	for len(b) > 0 {
		var ok bool
		if d == Out {
			b, ok = f.next(b, parseRequest, t.count, noBytes, noBytes)
		} else {
			b, ok = f.next(b, parseResponse, passAll, noBytes, t.discount)
		}
		if !ok {
			t.lost()
			return
		}
	}
	f.sent = len(f.head)
}

func noBytes([]byte)            {}
func passAll(header, bool) fate { return pass }

// count counts a request.
func (t *tap) count(h header, _ bool) fate {
	if t.speaks(h) && !h.silent {
		t.unknown++
	}
	return pass
}

// discount counts a response.
func (t *tap) discount([]byte) { t.unknown = max(0, t.unknown-1) }

// speaks reports whether a frame is a request, and not a token of SASL. Tokens have no order that is known here, but
// when the first request follows them everything has been answered.
func (t *tap) speaks(h header) bool {
	if t.raw {
		if !h.known {
			return false
		}
		t.raw = false
		t.unknown = 0
	}
	t.raw = h.known && kmsg.Key(h.key) == kmsg.SASLHandshake && h.version == 0
	return !h.short
}

// lost gives up on the connection: nobody knows any more where its frames begin.
func (t *tap) lost() {
	t.broken = true
	t.out, t.in = frames{}, frames{}
	t.pending, t.current, t.acting = nil, nil, 0
}
