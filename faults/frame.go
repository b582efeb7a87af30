package faults

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A frame is a length of four bytes, a header, and a body. The header of a request is the API's key, its version, a
// correlation id and the client's id; from the first flexible version of the API on tags follow (KIP-482). The header
// of a response is the correlation id of its request, and tags from the same version on, but never for ApiVersions
// (KIP-511).

// largest is the size from which on a frame is no frame of Kafka: brokers and clients refuse far smaller ones.
const largest = 256 << 20

// api says what is known of an API.
type api struct {
	known    bool
	highest  int16 // version
	flexible int16 // the first such version; above highest if there is none
}

var apis = func() (list [kmsg.MaxKey + 1]api) {
	for key := range list {
		req := kmsg.RequestForKey(int16(key))
		if req == nil {
			continue
		}
		a := api{known: true, highest: req.MaxVersion()}
		for req.SetVersion(0); a.flexible <= a.highest && !req.IsFlexible(); req.SetVersion(a.flexible) {
			a.flexible++
		}
		list[key] = a
	}
	return list
}()

// understood reports whether requests of this version can be decoded.
func understood(key, version int16) bool {
	return key >= 0 && int(key) < len(apis) && apis[key].known && version >= 0 && version <= apis[key].highest
}

func flexible(key, version int16) bool { return version >= apis[key].flexible }

// header is what is read of a frame before its fate is decided.
type header struct {
	size         int // of the frame with its length, negative if that is no length
	key, version int16
	correlation  int32
	client       []byte // shares the frame's memory
	body         int    // where it starts
	known        bool   // the API and the version are, and the header is complete
	silent       bool   // no response will come
	short        bool   // the frame has not even a correlation id, or is far too long
}

// cursor reads the start of a frame of which possibly not everything has come yet.
type cursor struct {
	b       []byte
	at, end int // end of the frame
	need    int // bytes that must have come before reading goes on; 0 if they have
	bad     bool
}

// take returns the next n bytes, or nil and sets need or bad.
func (c *cursor) take(n int) []byte {
	switch {
	case c.bad || c.need > 0:
		return nil
	case n < 0 || c.at+n > c.end:
		c.bad = true
		return nil
	case c.at+n > len(c.b):
		c.need = c.at + n
		return nil
	}
	b := c.b[c.at : c.at+n]
	c.at += n
	return b
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) uvarint() int {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		b := c.take(1)
		if b == nil {
			return 0
		}
		n |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			if n > largest {
				break
			}
			return int(n)
		}
	}
	c.bad = true
	return 0
}

// nullable returns a nullable string.
func (c *cursor) nullable(compact bool) []byte {
	var n int
	if compact {
		n = c.uvarint() - 1
	} else {
		n = int(c.int16())
	}
	if n < -1 {
		c.bad = c.bad || c.need == 0
		return nil
	}
	return c.take(max(0, n))
}

func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && !c.bad && c.need == 0; n-- {
		c.uvarint()
		c.take(c.uvarint())
	}
}

// parseRequest reads the header of a request from the start of a frame. If need is not 0, so many bytes must be there
// before the header can be told.
func parseRequest(b []byte) (h header, need int) {
	c := cursor{b: b, end: 4}
	size := c.int32()
	if c.need > 0 {
		return h, c.need
	}
	if size < 0 {
		return header{size: -1}, 0
	}
	h.size = 4 + int(size)
	c.end = h.size
	if h.size >= largest {
		h.short = true
		return h, 0
	}
	h.key, h.version, h.correlation = c.int16(), c.int16(), c.int32()
	switch {
	case c.need > 0:
		return h, c.need
	case c.bad:
		h.short = true
		return h, 0
	case !understood(h.key, h.version):
		return h, 0
	}
	h.client = c.nullable(false)
	if flexible(h.key, h.version) {
		c.tags()
	}
	h.body = c.at
	if kmsg.Key(h.key) == kmsg.Produce {
		if h.version >= 3 {
			c.nullable(flexible(h.key, h.version))
		}
		h.silent = c.int16() == 0 && c.need == 0 && !c.bad // acks
	}
	h.known = !c.bad
	return h, c.need
}

// parseResponse is parseRequest for a response.
func parseResponse(b []byte) (h header, need int) {
	c := cursor{b: b, end: 4}
	size := c.int32()
	if c.need > 0 {
		return h, c.need
	}
	if size < 0 {
		return header{size: -1}, 0
	}
	h.size = 4 + int(size)
	c.end = h.size
	if h.size < largest {
		h.correlation = c.int32()
	}
	h.short = c.bad || h.size >= largest
	return h, c.need
}

// fate is what becomes of the bytes of a frame.
type fate uint8

const (
	pass fate = iota // as they come
	keep             // until the frame is complete
	drop
)

// frames follows a stream from one frame to the next. The zero value stands at the start of a frame.
type frames struct {
	head []byte // of a frame of which more must come before its fate can be decided
	sent int    // bytes of head that went on before anybody looked
	left int    // bytes still to come of a frame whose fate is decided
	fate fate   // of that frame
	kept []byte
}

// withholds reports whether anything must come before the stream may pass unseen.
func (f *frames) withholds() bool { return len(f.head) > f.sent || (f.left > 0 && f.fate != pass) }

// next takes the next bytes of the stream, at least one, and returns the rest. What passes of the frame's bytes is
// handed to emit. When the header of a frame is there, decide is asked; when the frame is over, finish is called with
// all its bytes if they were kept. It reports false, with everything that has not passed, at what cannot be a frame.
func (f *frames) next(b []byte, parse func([]byte) (header, int), decide func(h header, begun bool) fate,
	emit func([]byte), finish func(frame []byte),
) (rest []byte, ok bool) {
	if f.left == 0 {
		h, need, b2 := f.collect(b, parse)
		switch b = b2; {
		case need > 0:
			return nil, true
		case h.size < 0:
			rest = slices.Concat(f.head[f.sent:], b)
			*f = frames{}
			return rest, false
		}
		f.fate = decide(h, f.sent > 0)
		f.left = h.size - len(f.head)
		switch {
		case f.fate == pass && len(f.head) > f.sent:
			emit(f.head[f.sent:])
		case f.fate == keep:
			f.kept = append(f.kept, f.head...)
		}
		f.head, f.sent = f.head[:0], 0
	}
	n := min(f.left, len(b))
	f.left -= n
	switch {
	case n == 0:
	case f.fate == pass:
		emit(b[:n])
	case f.fate == keep:
		f.kept = append(f.kept, b[:n]...)
	}
	if f.left == 0 {
		kept := f.kept
		f.kept = nil
		finish(kept)
	}
	return b[n:], true
}

// collect returns the header of the frame that starts with head and goes on with b, and what of b is not in head. If
// more must come it takes all of b to head.
func (f *frames) collect(b []byte, parse func([]byte) (header, int)) (h header, need int, rest []byte) {
	if len(f.head) == 0 {
		if h, need = parse(b); need == 0 {
			return h, 0, b
		}
		f.head = append(f.head, b...)
		return h, need, nil
	}
	for {
		if h, need = parse(f.head); need == 0 {
			return h, 0, b
		}
		n := min(need-len(f.head), len(b))
		if n == 0 {
			return h, need, nil
		}
		f.head = append(f.head, b[:n]...)
		b = b[n:]
	}
}
