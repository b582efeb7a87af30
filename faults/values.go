package faults

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// values reads the values of keys and collects what is wrong with them. A key that is not there is its zero value.
type values struct {
	keys map[string]string
	errs []error
}

func (v *values) problem(key, valid string) {
	v.errs = append(v.errs, fmt.Errorf("%s=%s: valid: %s", key, v.keys[key], valid))
}

// text returns a value that must not be empty.
func (v *values) text(key, valid string) string {
	text, there := v.keys[key]
	if there && text == "" {
		v.problem(key, valid)
	}
	return text
}

func (v *values) number(key string) int {
	text, there := v.keys[key]
	if !there {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		v.problem(key, "1 and more")
	}
	return n
}

func (v *values) duration(key string) time.Duration {
	text, there := v.keys[key]
	if !there {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > maxDelay {
		v.problem(key, "a duration of more than 0s up to 24h, like 500ms")
	}
	return d
}

func (v *values) seed() uint64 {
	text, there := v.keys["seed"]
	if !there {
		return 0
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		v.problem("seed", "0 and more")
	}
	return seed
}

// fraction reads a decimal number of more than 0.
func (v *values) fraction(key string, most float64, valid string) float64 {
	text, there := v.keys[key]
	if !there {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f <= 0 || f > most {
		v.problem(key, valid)
	}
	return f
}

// size reads bytes, like 64KiB.
func (v *values) size(key string) int64 {
	text, there := v.keys[key]
	if !there {
		return 0
	}
	digits, factor := text, int64(1)
	for _, unit := range []struct {
		name   string
		factor int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}} {
		if number, ok := strings.CutSuffix(text, unit.name); ok {
			digits, factor = number, unit.factor
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > maxRate/factor {
		v.problem(key, "bytes a second, like 64KiB or 100kB")
		return 0
	}
	return n * factor
}

func (v *values) direction() Direction {
	text, there := v.keys["direction"]
	if !there {
		return Both
	}
	d, err := ParseDirection(text)
	if err != nil {
		v.problem("direction", "both, in, out")
	}
	return d
}

func (v *values) end() End {
	switch text, there := v.keys["end"]; {
	case !there:
		return AnyEnd
	case text == Commit.String():
		return Commit
	case text == Abort.String():
		return Abort
	default:
		v.problem("end", "commit, abort")
		return AnyEnd
	}
}

// list reads names joined by +.
func (v *values) list(key string) []string {
	text, there := v.keys[key]
	if !there {
		return nil
	}
	return strings.Split(text, "+")
}

func (v *values) apis() []string {
	list := v.list("api")
	if len(list) == 1 && list[0] == "any" {
		return nil
	}
	for _, name := range list {
		if _, ok := apiKey(name); !ok {
			v.problem("api", "any, or Kafka's names of requests"+near(name, APINames()))
		}
	}
	return list
}

// code reads an error code by its name or number.
func (v *values) code(text string) (int16, bool) {
	if code, ok := codeOf[strings.ToUpper(text)]; ok {
		return code, true
	}
	n, err := strconv.ParseInt(text, 10, 16)
	return int16(n), err == nil
}

func (v *values) rule(kind string, lasting bool) *Rule {
	r := &Rule{
		APIs: v.apis(), Instance: v.text("instance", "a name, like i1"), Node: v.text("node", "a node id, or HOST:PORT"),
		ClientID: v.text("client", "a pattern, like *-producer"), TransactionalID: v.text("txn", "a pattern, like app-*"),
		Topic: v.text("topic", "a pattern, like *-changelog"), Thread: v.number("thread"), End: v.end(),
		Nth: v.number("nth"), Count: v.number("count"), Seed: v.seed(), Delay: v.duration("delay"),
		Probability: v.fraction("probability", 1, "more than 0 up to 1"),
	}
	if r.Count == 0 && (r.Nth > 0 || !lasting) {
		r.Count = 1
	}
	if text, there := v.keys["code"]; there {
		code, ok := v.code(text)
		if !ok || code == 0 {
			v.problem("code", "Kafka's names of errors"+near(text, CodeNames()))
		}
		r.Code = code
	}
	for _, text := range v.list("answered") {
		code, ok := v.code(text)
		if !ok {
			v.problem("answered", "NONE, or Kafka's names of errors"+near(text, CodeNames()))
		}
		r.Answered = append(r.Answered, code)
	}
	if text, there := v.keys["close"]; there {
		if text != "true" && text != "false" {
			v.problem("close", "true, false")
		}
		r.Close = text == "true"
	}
	switch kind {
	case KindError:
		r.Action = Reject
	case KindRewrite:
		r.Action = Rewrite
	case KindDelayResponse:
		r.Action = DelayResponse
	case KindDropResponse:
		r.Action = DropResponse
	case KindHold:
		r.Action = HoldRequest
	default:
		r.Action = Close
	}
	return r
}

func (v *values) impairment(kind string) *Impairment {
	i := &Impairment{
		Node: v.text("node", "a node id, or HOST:PORT"), Direction: v.direction(), Seed: v.seed(),
		Delay: v.duration("delay"), Jitter: v.duration("jitter"), Cut: kind == KindCut, HalfOpen: kind == KindHalfOpen,
	}
	v.text("instance", "a name, like i1")
	switch kind {
	case KindThrottle:
		i.Rate = v.size("rate")
	case KindReset:
		i.Resets = v.fraction("rate", maxResets, "connections a second, like 0.5")
	}
	return i
}

// near returns the names that somebody may have meant.
func near(text string, names []string) string {
	text = strings.ToUpper(text)
	names = slices.Clone(names)
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(EditDistance(text, strings.ToUpper(a)), EditDistance(text, strings.ToUpper(b)))
	})
	return ", like " + strings.Join(names[:3], ", ")
}

// EditDistance counts the single bytes that must be changed, added or left out to make b of a: how far a typing error is from what
// was meant.
func EditDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
