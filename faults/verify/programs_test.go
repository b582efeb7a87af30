package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

func referenceSoak() program {
	tenth := func(role string) func(*reference, int, message, []byte, []byte) {
		return func(r *reference, _ int, m message, value, _ []byte) {
			if number(value)%10 == 0 {
				r.to(role, m, number(value))
			}
		}
	}
	return program{
		stores: [][]string{nil, {storeCount, storeSum, storeMax}, {storeGroupCount, storeGroupSum, storeGroupMax}, {storeTotal}},
		roles: map[string]string{
			storeCount: "count", storeSum: "sum", storeMax: "max", storeGroupCount: "group-count", storeGroupSum: "group-sum",
			storeGroupMax: "group-max", storeTotal: "total",
		},
		step: func(r *reference, sub, p int, m message) {
			switch sub {
			case 0:
				if len(m.value) >= 8 {
					reversed := slices.Clone(m.key)
					slices.Reverse(reversed)
					r.send(1, m, reversed, m.value[:8])
				}
			case 1:
				soakKeys(r, p, m)
			case 2:
				count, _ := r.pair(storeGroupCount, p, m.key)
				r.put(storeGroupCount, p, m, count+1)
				sum, _ := r.pair(storeGroupSum, p, m.key)
				r.put(storeGroupSum, p, m, sum+number(m.value[8:]))
				peak, _ := r.pair(storeGroupMax, p, m.key)
				r.put(storeGroupMax, p, m, max(peak, number(m.value)))
			case 3:
				events, peak := r.pair(storeTotal, p, m.key)
				r.put(storeTotal, p, m, events+1, max(peak, number(m.value)))
			}
		},
		forward: map[string]func(*reference, int, message, []byte, []byte){
			storeCount: tenth("count"), storeSum: tenth("sum"), storeGroupCount: tenth("group-count"), storeGroupSum: tenth("group-sum"),
			storeMax: func(r *reference, _ int, m message, value, old []byte) {
				peak, before := number(value), int64(-1)
				if old != nil {
					before = number(old)
				}
				r.to("max", m, peak, peak-before)
				if peak > before {
					r.send(2, m, fmt.Appendf(nil, "group-%02d", partitionOf(testHash, m.key, 16)), pack(peak, peak-before))
				}
			},
			storeGroupMax: func(r *reference, _ int, m message, value, _ []byte) {
				r.to("group-max", m, number(value))
				r.send(3, m, []byte(totalKey), value)
			},
			storeTotal: func(r *reference, _ int, m message, value, _ []byte) {
				r.to("total", m, number(value), number(value[8:]))
			},
		},
		generate: func(r *reference, _, keys int) ([]byte, []byte) {
			name := fmt.Appendf(nil, "key-%06d", r.rng.IntN(keys))
			value := make([]byte, 20)
			amount := uint64(r.rng.IntN(10000))
			if r.rng.IntN(8) == 0 {
				amount += uint64(r.perKey[string(name)]) * 10000
			}
			if r.wild && r.rng.IntN(3) == 0 {
				amount = r.rng.Uint64()
			}
			binary.BigEndian.PutUint64(value, amount)
			if r.rng.IntN(50) == 0 {
				value = value[:r.rng.IntN(8)]
			}
			return name, value
		},
	}
}

// soakKeys does for a record what the soak program does by key.
func soakKeys(r *reference, p int, m message) {
	amount := number(m.value)
	count, _ := r.pair(storeCount, p, m.key)
	r.put(storeCount, p, m, count+1)
	sum, _ := r.pair(storeSum, p, m.key)
	r.put(storeSum, p, m, sum+amount)
	old := int64(-1)
	if v := r.get(storeMax, p, m.key); v != nil {
		old = number(v)
	}
	r.put(storeMax, p, m, max(old, amount), max(old, amount)-old)
}

func referenceWordcount() program {
	return program{
		stores: [][]string{nil, {storeWords}},
		roles:  map[string]string{storeWords: "counts"},
		step: func(r *reference, sub, p int, m message) {
			if sub == 1 {
				count, _ := r.pair(storeWords, p, m.key)
				r.put(storeWords, p, m, count+1)
				return
			}
			for _, word := range strings.FieldsFunc(strings.ToLower(string(m.value)), func(c rune) bool { return c == ' ' || c == '.' }) {
				r.send(1, m, []byte(word), []byte(word))
			}
		},
		forward: map[string]func(*reference, int, message, []byte, []byte){
			storeWords: func(r *reference, _ int, m message, value, _ []byte) { r.to("counts", m, number(value)) },
		},
		generate: func(r *reference, _, keys int) ([]byte, []byte) {
			if r.rng.IntN(30) == 0 {
				return nil, []byte(" . ")
			}
			var line []byte
			for range 1 + r.rng.IntN(8) {
				// Low numbers come often, and so several times in a line.
				line = fmt.Appendf(line, "Word%d ", r.rng.IntN(1+r.rng.IntN(keys)))
			}
			return nil, append(bytes.TrimSpace(line), '.')
		},
	}
}

func referencePassthrough() program {
	return program{
		stores: [][]string{nil},
		step:   func(r *reference, _, _ int, m message) { r.emit("output", m) },
		generate: func(r *reference, n, keys int) ([]byte, []byte) {
			key, value := fmt.Appendf(nil, "key-%06d", r.rng.IntN(keys)), fmt.Appendf(nil, "value %d", n)
			switch r.rng.IntN(20) {
			case 0:
				value = nil
			case 1:
				value = []byte{}
			case 2:
				key = []byte{}
			}
			if r.rng.IntN(3) == 0 {
				key = nil
			}
			return key, value
		},
	}
}

func referenceEosTest(further bool) program {
	short := func(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	kept := func(r *reference, store string, p int, m message, none int32) int32 {
		if v := r.get(store, p, m.key); v != nil {
			return int32(binary.BigEndian.Uint32(v))
		}
		return none
	}
	of := program{
		stores:  [][]string{{storeEosMin, storeEosSum}},
		roles:   map[string]string{storeEosMin: "min", storeEosSum: "sum"},
		forward: make(map[string]func(*reference, int, message, []byte, []byte)),
		step: func(r *reference, sub, p int, m message) {
			if m.key == nil || len(m.value) != 4 {
				return
			}
			n := int32(binary.BigEndian.Uint32(m.value))
			if sub == 1 {
				r.putValue(storeEosMax, p, m, short(max(n, kept(r, storeEosMax, p, m, math.MinInt32))))
				count, _ := r.pair(storeEosCnt, p, m.key)
				r.put(storeEosCnt, p, m, count+1)
				return
			}
			r.emit("echo", m)
			r.putValue(storeEosMin, p, m, short(min(n, kept(r, storeEosMin, p, m, math.MaxInt32))))
			sum, _ := r.pair(storeEosSum, p, m.key)
			r.put(storeEosSum, p, m, sum+int64(n))
			if further {
				r.emit("repartition", m)
				r.send(1, m, m.key, m.value)
			}
		},
		generate: func(r *reference, _, keys int) ([]byte, []byte) {
			n := int32(r.rng.IntN(15_000) - 5000)
			if r.wild {
				n = int32(r.rng.Uint32())
			}
			key, value := fmt.Append(nil, r.rng.IntN(keys)), short(n)
			switch r.rng.IntN(60) {
			case 0:
				key = nil
			case 1:
				value = value[1:]
			}
			return key, value
		},
	}
	if further {
		of.stores = append(of.stores, []string{storeEosMax, storeEosCnt})
		maps.Copy(of.roles, map[string]string{storeEosMax: "max", storeEosCnt: "cnt"})
	}
	for store, role := range of.roles {
		of.forward[store] = func(r *reference, _ int, m message, _, _ []byte) { r.emit(role, m) }
	}
	return of
}
