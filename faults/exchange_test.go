package faults_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"eostop/faults"
)

// wire is a link with rules and one connection, whose broker is a script. It lives in a synctest bubble.
type wire struct {
	*testing.T
	rules  *faults.Rules
	hits   []faults.Hit // in order; only the goroutines of one connection append
	link   *faults.Link
	client net.Conn
	broker net.Conn
	start  time.Time
}

// wired runs f in a bubble.
func wired(t *testing.T, f func(*wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{T: t, link: faults.NewLink("i1"), start: time.Now()}
		w.rules = faults.NewRules(func(hit faults.Hit) { w.hits = append(w.hits, hit) })
		w.link.SetRules(w.rules)
		defer w.link.Close()
		w.client, w.broker = w.dial("broker:9092")
		defer w.broker.Close()
		f(w)
	})
}

func (w *wire) dial(addr string) (client, broker net.Conn) {
	w.Helper()
	dial := w.link.Wrap(func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		broker = server
		return client, nil
	})
	client, err := dial(w.Context(), "tcp", addr)
	if err != nil {
		w.Fatal(err)
	}
	return client, broker
}

func (w *wire) add(rule faults.Rule) (id string) {
	w.Helper()
	id, err := w.rules.Add(rule)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// write lets the client write, in its own goroutine, for a pipe takes nothing until it is read.
func (w *wire) write(b []byte) <-chan result {
	return run(func() (int, error) { return w.client.Write(b) })
}

// send lets the broker write.
func (w *wire) send(b []byte) <-chan result {
	return run(func() (int, error) { return w.broker.Write(b) })
}

// gets checks what one end reads next.
func (w *wire) gets(c net.Conn, want []byte) {
	w.Helper()
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Minute))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != string(want) {
		w.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// silent checks that one end has nothing to read for a second.
func (w *wire) silent(c net.Conn) {
	w.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := c.Read(make([]byte, 100)); n != 0 || !isTimeout(err) {
		w.Fatalf("read %d bytes, %v; want nothing", n, err)
	}
}

// ended checks that one end reads the end of the stream.
func (w *wire) ended(c net.Conn) {
	w.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := c.Read(make([]byte, 100)); n != 0 || isTimeout(err) || err == nil {
		w.Fatalf("read %d bytes, %v; want the end", n, err)
	}
}

// answers lets the client make a request and the broker answer it, and checks what both read.
func (w *wire) answers(request, response, want []byte) {
	w.Helper()
	w.write(request)
	w.gets(w.broker, request)
	w.send(response)
	w.gets(w.client, want)
}

// hit returns the only hit since the last call.
func (w *wire) hit() faults.Hit {
	w.Helper()
	synctest.Wait()
	if len(w.hits) != 1 {
		w.Fatalf("%d hits, want 1: %v", len(w.hits), w.hits)
	}
	hit := w.hits[0]
	w.hits = nil
	return hit
}

func (w *wire) noHit() {
	w.Helper()
	synctest.Wait()
	if len(w.hits) != 0 {
		w.Fatalf("hits %v, want none", w.hits)
	}
}

// requestFrame encodes a request as a client with the id does.
func requestFrame(req kmsg.Request, correlation int32, client string) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, req, correlation)
}

// responseFrame encodes a response as a broker does.
func responseFrame(resp kmsg.Response, correlation int32) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(correlation))
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		b = append(b, 0)
	}
	b = resp.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// fill gives every field of a message some value, so that what is lost on the way is seen.
func fill(v reflect.Value, rnd *rand.Rand) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), rnd)
	case reflect.Struct:
		if tags, ok := reflect.TypeAssert[*kmsg.Tags](v.Addr()); ok {
			if rnd.IntN(2) == 0 {
				tags.Set(uint32(100+rnd.IntN(100)), []byte(fmt.Sprint(rnd.Uint32())))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(v.Field(i), rnd)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(fmt.Sprint(rnd.Uint64())))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1+rnd.IntN(2), 3))
		for i := range v.Len() {
			fill(v.Index(i), rnd)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), rnd)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d", rnd.IntN(1000)))
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(rnd.Float64())
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rnd.Int64N(40))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rnd.Uint64N(100))
	default:
		panic("a kind that messages did not have: " + v.Kind().String())
	}
}

// codesOf returns the error codes of a message by their places, and sets them to code unless it is 0.
func codesOf(v reflect.Value, code int16) (list []int16) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			list = codesOf(v.Elem(), code)
		}
	case reflect.Slice:
		for i := range v.Len() {
			list = append(list, codesOf(v.Index(i), code)...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "ErrorCode" {
				list = append(list, codesOf(v.Field(i), code)...)
				continue
			}
			list = append(list, int16(v.Field(i).Int()))
			if code != 0 {
				v.Field(i).SetInt(int64(code))
			}
		}
	default:
	}
	return list
}

// everyVersion calls f for every API and version that there is, with random messages.
func everyVersion(t *testing.T, f func(req kmsg.Request, resp kmsg.Response, rnd *rand.Rand)) {
	t.Helper()
	seed := rand.Uint64() // the time is always the same in a bubble
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for key := range int16(kmsg.MaxKey + 1) {
		probe := kmsg.RequestForKey(key)
		if probe == nil {
			continue
		}
		for version := range probe.MaxVersion() + 1 {
			if kmsg.Key(key) == kmsg.ControlledShutdown && version == 0 {
				continue // it has a header of its own, which no client uses and kmsg does not write
			}
			req, resp := kmsg.RequestForKey(key), kmsg.ResponseForKey(key)
			fill(reflect.ValueOf(req).Elem(), rnd)
			fill(reflect.ValueOf(resp).Elem(), rnd)
			req.SetVersion(version)
			resp.SetVersion(version)
			if produce, ok := req.(*kmsg.ProduceRequest); ok {
				produce.Acks = -1
			}
			f(req, resp, rnd)
			if t.Failed() {
				t.Logf("at %s version %d", kmsg.NameForKey(key), version)
				return
			}
		}
	}
}
