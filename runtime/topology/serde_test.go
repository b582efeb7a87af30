package topology

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func roundTrip[T comparable](t *testing.T, serde Serde[T], value T, want []byte) {
	t.Helper()
	data, err := serde.Serialize(value)
	if err != nil || !bytes.Equal(data, want) {
		t.Errorf("%T: Serialize(%v) = %x, %v, want %x", serde, value, data, err, want)
	}
	back, err := serde.Deserialize(data)
	if err != nil || back != value {
		t.Errorf("%T: Deserialize(%x) = %v, %v, want %v", serde, data, back, err, value)
	}
}

func TestSerdes(t *testing.T) {
	roundTrip(t, String{}, "", []byte{})
	roundTrip(t, String{}, "k\xff", []byte{'k', 0xff})
	roundTrip(t, Int64{}, 1, []byte{0, 0, 0, 0, 0, 0, 0, 1})
	roundTrip(t, Int64{}, math.MinInt64, []byte{0x80, 0, 0, 0, 0, 0, 0, 0})
	roundTrip(t, Int32{}, -2, []byte{0xff, 0xff, 0xff, 0xfe})
}

func TestSerdesRefuse(t *testing.T) {
	_, errString := String{}.Deserialize(nil)
	_, errInt64 := Int64{}.Deserialize(nil)
	_, errInt32 := Int32{}.Deserialize(nil)
	for _, err := range []error{errString, errInt64, errInt32} {
		if !errors.Is(err, ErrNull) {
			t.Errorf("null: %v, want ErrNull", err)
		}
	}
	if _, err := (Int64{}).Deserialize(make([]byte, 4)); err == nil {
		t.Error("an int64 of 4 bytes is no error")
	}
	if _, err := (Int32{}).Deserialize(make([]byte, 8)); err == nil {
		t.Error("an int32 of 8 bytes is no error")
	}
}

func TestBytesKeepsNullApartFromEmpty(t *testing.T) {
	for _, value := range [][]byte{nil, {}, {1}} {
		data, _ := Bytes{}.Serialize(value)
		back, _ := Bytes{}.Deserialize(data)
		if !bytes.Equal(back, value) || (back == nil) != (value == nil) {
			t.Errorf("%v came back as %v", value, back)
		}
	}
}

func TestNullable(t *testing.T) {
	serde := Nullable(Int64{})
	if data, err := serde.Serialize(nil); data != nil || err != nil {
		t.Errorf("Serialize(nil) = %v, %v", data, err)
	}
	if value, err := serde.Deserialize(nil); value != nil || err != nil {
		t.Errorf("Deserialize(nil) = %v, %v", value, err)
	}
	seven := int64(7)
	data, err := serde.Serialize(&seven)
	if err != nil {
		t.Fatal(err)
	}
	if value, err := serde.Deserialize(data); err != nil || *value != 7 {
		t.Errorf("Deserialize(%x) = %v, %v", data, value, err)
	}
	if _, err := serde.Deserialize([]byte{1}); err == nil {
		t.Error("an int64 of 1 byte is no error")
	}
}

func TestNullTest(t *testing.T) {
	if nullTest[int64]() != nil || nullTest[string]() != nil {
		t.Error("numbers and strings have no null")
	}
	one := 1
	if isNull := nullTest[*int](); !isNull(nil) || isNull(&one) {
		t.Error("pointers")
	}
	if isNull := nullTest[[]byte](); !isNull(nil) || isNull([]byte{}) {
		t.Error("bytes")
	}
	if isNull := nullTest[[]string](); !isNull(nil) || isNull([]string{}) {
		t.Error("slices")
	}
	if isNull := nullTest[any](); !isNull(nil) || isNull(0) {
		t.Error("interfaces")
	}
}
