package runtime_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"eostop/faults"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// deed is what is done to a request.
type deed uint8

const (
	// refuse answers with an error in the broker's name; the broker never sees the request.
	refuse deed = iota
	// lie lets the broker act on the request and answers with an error.
	lie
	// lose lets the broker act on the request and loses the answer, and with it all that the connection would still deliver.
	lose
	// swallow lets the broker never see the request, and the client never an answer: the connection is dead from then on.
	swallow
	// watch only counts.
	watch
	// edit lets a changed request pass.
	edit
)

// request is one that a client of an instance sends.
type request struct {
	kmsg.Request
	clientID string
}

// disturbance is what is done to requests of one kind on their way from an instance to the brokers.
type disturbance struct {
	key  kmsg.Key
	of   func(request) bool // nil = all of the kind
	do   deed
	err  *kerr.Error // of refuse and lie
	edit func(request)
	skip int // so many pass first
	n    int // so many are disturbed, 0 = one, -1 = all until it is withdrawn

	hits atomic.Int64
}

// wire stands between the clients of an instance and its link, and understands what they send.
type wire struct {
	mu           sync.Mutex
	disturbances []*disturbance
}

func newWire() *wire { return &wire{} }

// disturb begins a disturbance. The first one that takes a request has it alone, except that those who watch see all.
func (w *wire) disturb(d *disturbance) *disturbance {
	if d.n == 0 {
		d.n = 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disturbances = append(w.disturbances, d)
	return d
}

// withdraw ends a disturbance.
func (w *wire) withdraw(d *disturbance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disturbances = slices.DeleteFunc(w.disturbances, func(other *disturbance) bool { return other == d })
}

// match returns what is to be done to a request, nil for nothing.
func (w *wire) match(req request) *disturbance {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.disturbances {
		if d.key.Int16() != req.Key() || d.n == 0 || (d.of != nil && !d.of(req)) {
			continue
		}
		if d.skip > 0 {
			d.skip--
			continue
		}
		if d.n > 0 {
			d.n--
		}
		d.hits.Add(1)
		if d.do != watch {
			return d
		}
	}
	return nil
}

// dialer wraps the connections of a dialer.
func (w *wire) dialer(dial faults.Dialer) faults.Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		inner, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &wireConn{Conn: inner, wire: w}, nil
	}
}

// reply is an answer that the client waits for: one that is made up, or the broker's next one.
type reply struct {
	made []byte // a whole frame
	req  request
	act  *disturbance // on the broker's answer
}

// wireConn is a client's connection. A client writes from one goroutine and reads from another, and reads only what it has asked for.
type wireConn struct {
	net.Conn
	wire   *wire
	silent atomic.Bool // nothing is sent any more

	sent []byte // of a request that is not complete; the writer's

	mu   sync.Mutex
	owed []reply

	raw   []byte // of a broker's answer that is not complete; this and the rest is the reader's
	ready []byte // for the client
	mute  bool   // nothing comes any more
}

// Write implements net.Conn.
func (c *wireConn) Write(b []byte) (int, error) {
	c.sent = append(c.sent, b...)
	for {
		frame, rest, ok := cutFrame(c.sent)
		if !ok {
			return len(b), nil
		}
		if err := c.request(frame); err != nil {
			return 0, err
		}
		c.sent = rest
	}
}

func (c *wireConn) request(frame []byte) error {
	req, correlation := parseRequest(frame[4:])
	r := reply{req: req}
	switch d := c.wire.match(req); {
	case d == nil:
	case d.do == refuse:
		r.made = encodeResponse(refusal(req, d.err.Code), correlation)
	case d.do == edit:
		d.edit(req)
		frame = kmsg.NewRequestFormatter(kmsg.FormatterClientID(req.clientID)).AppendRequest(nil, req.Request, correlation)
	case d.do == swallow:
		c.silent.Store(true)
		r.act = d
	default:
		r.act = d
	}
	c.mu.Lock()
	c.owed = append(c.owed, r)
	c.mu.Unlock()
	if r.made != nil || c.silent.Load() {
		return nil
	}
	_, err := c.Conn.Write(frame)
	return err
}

// Read implements net.Conn.
func (c *wireConn) Read(b []byte) (int, error) {
	for len(c.ready) == 0 {
		if c.mute {
			if _, err := io.Copy(io.Discard, c.Conn); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// next makes the next answer ready.
func (c *wireConn) next() error {
	c.mu.Lock()
	made := len(c.owed) > 0 && c.owed[0].made != nil
	if made {
		c.ready = c.owed[0].made
		c.owed = c.owed[1:]
	}
	c.mu.Unlock()
	if made {
		return nil
	}
	for {
		frame, rest, ok := cutFrame(c.raw)
		if ok {
			c.raw = rest
			c.answer(frame)
			return nil
		}
		var buf [4096]byte
		n, err := c.Conn.Read(buf[:])
		c.raw = append(c.raw, buf[:n]...)
		if err != nil {
			return err
		}
	}
}

// answer hands a broker's answer on, or what is to be made of it.
func (c *wireConn) answer(frame []byte) {
	c.mu.Lock()
	r := c.owed[0]
	c.owed = c.owed[1:]
	c.mu.Unlock()
	switch {
	case r.act == nil:
		c.ready = frame
	case r.act.do == lose:
		c.mute = true
	default:
		c.ready = encodeResponse(refusal(r.req, r.act.err.Code), int32(binary.BigEndian.Uint32(frame[4:])))
	}
}

// cutFrame cuts the first message with its length off.
func cutFrame(b []byte) (frame, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, b, false
	}
	size := 4 + int(binary.BigEndian.Uint32(b))
	if len(b) < size {
		return nil, b, false
	}
	return b[:size:size], b[size:], true
}

// parseRequest reads a request with its header. What clients of ours send can be read; all else is a mistake here.
func parseRequest(b []byte) (req request, correlation int32) {
	key, version := int16(binary.BigEndian.Uint16(b)), int16(binary.BigEndian.Uint16(b[2:]))
	correlation = int32(binary.BigEndian.Uint32(b[4:]))
	req.Request = kmsg.RequestForKey(key)
	b = b[8:]
	if n := int16(binary.BigEndian.Uint16(b)); n >= 0 {
		req.clientID = string(b[2 : 2+n])
		b = b[n:]
	}
	b = b[2:]
	req.SetVersion(version)
	if req.IsFlexible() {
		b = b[1:] // no tags in the header
	}
	if err := req.ReadFrom(slices.Clone(b)); err != nil {
		panic(fmt.Sprintf("request %s: %v", kmsg.NameForKey(key), err))
	}
	return req, correlation
}

func encodeResponse(resp kmsg.Response, correlation int32) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(correlation))
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		b = append(b, 0) // no tags in the header
	}
	b = resp.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// refusal answers everything that a request names with an error: the partitions where it has some, else the request itself.
func refusal(req request, code int16) kmsg.Response {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	mirror(reflect.ValueOf(req.Request).Elem(), reflect.ValueOf(resp).Elem(), code)
	return resp
}

// mirror copies what request and response both name, and sets the error code at the innermost places.
func mirror(from, to reflect.Value, code int16) {
	inner := false
	for i := range to.NumField() {
		name, field := to.Type().Field(i).Name, to.Field(i)
		source := from.FieldByName(name)
		switch {
		case name == "Version" || !source.IsValid():
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct && source.Kind() == reflect.Slice:
			inner = inner || source.Len() > 0
			for j := range source.Len() {
				element := reflect.New(field.Type().Elem())
				element.MethodByName("Default").Call(nil)
				if s := source.Index(j); s.Kind() == reflect.Struct {
					mirror(s, element.Elem(), code)
				} else { // a bare partition
					element.Elem().FieldByName("Partition").Set(s)
					element.Elem().FieldByName("ErrorCode").SetInt(int64(code))
				}
				field.Set(reflect.Append(field, element.Elem()))
			}
		case field.Type() == source.Type():
			field.Set(source)
		}
	}
	if e := to.FieldByName("ErrorCode"); e.IsValid() && !inner {
		e.SetInt(int64(code))
	}
}
