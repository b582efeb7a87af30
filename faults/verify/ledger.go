package verify

import "fmt"

// ledger follows a number that grows with every effect, where outputs show only some of its states and nobody sees the
// order of the effects. So a single state is not known. But it lies between what must have gone in already and
// what there is in all, it never goes back, and at the end it is known.
type ledger struct {
	what  string // noun of the number
	every int64  // a filter only lets values pass that it divides; 1 = all
	step  int64  // distance between the values that are shown; 0 = they rise somehow
	most  bool   // a maximum instead of a sum: values may be shown again

	applied int64 // with everything that there is
	proved  int64 // with what is known to have gone in
	shown   int64 // the last one
	// loose is true after a fault, from which on nothing is known but that the number never goes back.
	loose bool
	// wrapped is true once the number has become too great for 64 bits, from which on it may be anything but at the end.
	wrapped bool
}

// apply takes note of an effect that there is.
func (l *ledger) apply(n int64) {
	grown := l.grow(l.applied, n)
	l.wrapped = l.wrapped || grown < l.applied
	l.applied = grown
}

// prove takes note that an effect has gone into the state that the next output shows.
func (l *ledger) prove(n int64) { l.proved = l.grow(l.proved, n) }

func (l *ledger) grow(to, n int64) int64 {
	if l.most {
		return max(to, n)
	}
	return to + n
}

// known tells whether a value can be made of what there is.
func (l *ledger) known(got int64) bool { return l.loose || l.wrapped || got <= l.applied }

// ready tells whether a value can be judged, of which own is a part: not if it is too great or too small, for there may be
// more to come that it is made of, or that makes it wrap around.
func (l *ledger) ready(got, own int64) bool {
	return l.known(got) && (l.loose || l.wrapped || got >= l.shown && got >= l.grow(l.proved, own))
}

// check judges the next value.
func (l *ledger) check(got int64) Finding {
	f := l.compare(got)
	if !l.known(got) {
		l.loose = true
		return f // it is either wrong, or right and something is missing that it is made of: the next value will tell
	}
	l.loose = l.loose || f.Wrong != ""
	l.shown = got
	return f
}

func (l *ledger) compare(got int64) (f Finding) {
	switch {
	case got%l.every != 0:
		f.Wrong = fmt.Sprintf("%s %d should not have been written: %d does not divide it", l.what, got, l.every)
	case !l.known(got):
		f.Wrong = fmt.Sprintf("%s %d, but there are only %d", l.what, got, l.applied)
	case l.wrapped:
	case got < l.shown:
		f.Wrong, f.Kind = fmt.Sprintf("%s %d after %d", l.what, got, l.shown), KindOutOfOrder
	case got == l.shown && !l.most:
		f.Wrong = fmt.Sprintf("%s %d once more", l.what, got)
	case l.loose:
	case l.step > 0 && got != l.shown+l.step:
		f.Wrong = fmt.Sprintf("%s %d, want %d", l.what, got, l.shown+l.step)
	case got < l.proved:
		f.Wrong = fmt.Sprintf("%s %d, want at least %d", l.what, got, l.proved)
	}
	return f
}

// short tells what is missing, where the last value shown must hold all that is proved.
func (l *ledger) short() string {
	if l.loose || l.wrapped || l.every > 1 || l.shown >= l.proved {
		return ""
	}
	l.loose = true
	return fmt.Sprintf("the last %s is %d, want at least %d", l.what, l.shown, l.proved)
}

// final tells what is missing at the end, when the last value shown must be the whole.
func (l *ledger) final() string {
	want := l.applied
	if l.step > 0 {
		want -= want % l.every // no value that the filter lets pass is jumped over
	}
	if l.loose || l.wrapped || l.shown >= want || want%l.every != 0 {
		return ""
	}
	return fmt.Sprintf("the last %s is %d, want %d", l.what, l.shown, want)
}
