package verify

import "fmt"

// What the soak model does where a cache swallows intermediate results.

// checkCached judges an output. Wrong is what is wrong with its form.
func (m *soakModel) checkCached(stream int, e *Effect, value []byte, wrong string) Finding {
	k, f := &m.keys[e.Unit], &e.Facts
	g := &m.groups[k.group]
	switch {
	case stream == soakMax:
		return m.checkMaximum(e, value, wrong)
	case !soakSecond.Has(stream):
		if wrong == "" {
			wrong = checkTenth(stream, f, value)
		}
		k.tenths[stream-soakCount] = f[stream-soakCount+factCount]
		return Finding{Wrong: wrong}
	case !e.Due.Has(stream):
		return Finding{Wrong: "what it is made of was not written for this input"}
	}
	m.prove(stream, e)
	var due Bits
	if stream == soakGroupMax { // each one goes on to the total
		m.total.events.apply(1)
		m.total.peak.apply(f[factMax])
		due = Bit(soakTotal)
	}
	if wrong != "" {
		return Finding{Wrong: wrong, Due: due}
	}
	if stream == soakGroupMax {
		// What was shown of the group is what the total is made of.
		m.total.peak.apply(min(number(value), g.ledger(stream).applied))
	}
	finding := m.checkLedgers(stream, g, value)
	finding.Due = due
	return finding
}

// checkMaximum judges an output of the max stream. Its delta says on which one it follows, so that none can be missing
// between.
func (m *soakModel) checkMaximum(e *Effect, value []byte, wrong string) Finding {
	k, f := &m.keys[e.Unit], &e.Facts
	g := &m.groups[k.group]
	delta := f[factMax] - k.shown
	finding := Finding{Wrong: wrong}
	if wrong == "" {
		switch got := number(value[8:]); {
		case number(value) != f[factMax]:
			finding.Wrong = differs("max", number(value), f[factMax], 1)
		case got >= 0 && got < delta:
			finding.Kind = KindLost
			finding.Wrong = fmt.Sprintf("it follows on max %d, but the last one seen is %d", f[factMax]-got, k.shown)
		default:
			finding.Wrong = differs("delta", got, delta, 1)
		}
	}
	if finding.Wrong != "" {
		m.loosen(g)
	}
	k.shown, f[factDelta] = f[factMax], delta
	if delta <= 0 { // it wraps around
		finding.Settled = soakSecond
		return finding
	}
	g.note(delta, f[factMax])
	if m.anonymous {
		return finding
	}
	// The total is made of what the group shows.
	finding.Due = Bit(soakGroupCount) | Bit(soakGroupSum) | Bit(soakGroupMax)
	return finding
}

// loosen gives up the upper bounds of a group, and so of the total, after a fault in what they are made of.
func (m *soakModel) loosen(g *soakGroup) {
	for i := range g.ledgers {
		g.ledgers[i].loose = true
	}
	m.total.events.loose, m.total.peak.loose = true, true
}

// prove takes note that a change has gone into what a stream shows.
func (m *soakModel) prove(stream int, e *Effect) {
	g := &m.groups[m.keys[e.Unit].group]
	switch stream {
	case soakGroupCount:
		g.ledger(stream).prove(1)
	case soakGroupSum:
		g.ledger(stream).prove(e.Facts[factDelta])
	case soakGroupMax:
		g.ledger(stream).prove(e.Facts[factMax])
	case soakTotal:
		m.total.events.prove(1)
		m.total.peak.prove(e.Facts[factMax])
	}
}

// checkLedgers judges the value of a ledger's stream, whose form is right.
func (m *soakModel) checkLedgers(stream int, g *soakGroup, value []byte) Finding {
	if stream != soakTotal {
		return g.ledger(stream).check(number(value))
	}
	f := m.total.events.check(number(value))
	if peak := m.total.peak.check(number(value[8:])); f.Wrong == "" {
		f = peak
	}
	return f
}

// Stands implements Model.
func (m *soakModel) Stands(stream int, e *Effect) Bits {
	switch {
	case stream == soakMax:
		return soakSecond
	case !soakSecond.Has(stream):
		return 0
	case stream == soakGroupMax:
		m.prove(stream, e)
		return Bit(soakTotal)
	default:
		m.prove(stream, e)
		return 0
	}
}

// Short implements Model.
func (m *soakModel) Short(stream int, e *Effect) string {
	switch stream {
	case soakGroupMax:
		g := &m.groups[m.keys[e.Unit].group]
		if short := g.ledger(stream).short(); short != "" {
			return fmt.Sprintf("%s: %s", g.name, short)
		}
	case soakTotal:
		if short := m.total.events.short(); short != "" {
			return short
		}
		return m.total.peak.short()
	}
	return ""
}

// Finals implements Model.
func (m *soakModel) Finals() []Missing {
	if m.lax || !m.mode.Cached && !m.anonymous {
		return nil
	}
	var all []Missing
	note := func(stream int, name string, l *ledger) {
		if wrong := l.final(); wrong != "" {
			all = append(all, Missing{stream, fmt.Sprintf("%s: %s", name, wrong)})
		}
	}
	for i := range m.keys {
		k := &m.keys[i]
		for stream, n := range [2]int64{soakCount: k.count, soakSum: k.sum} {
			if m.anonymous && m.mode.Cached && n%soakEvery == 0 && n != k.tenths[stream] {
				all = append(all, Missing{stream, fmt.Sprintf("%q: the last one is %d, want %d", k.name, k.tenths[stream], n)})
			}
		}
	}
	for i := range m.groups {
		g := &m.groups[i]
		for stream := soakGroupCount; stream <= soakGroupMax; stream++ {
			note(stream, string(g.name), g.ledger(stream))
		}
		if changes := g.ledger(soakGroupCount).applied; !m.mode.Cached && g.maxima < changes {
			all = append(all, Missing{soakGroupMax, fmt.Sprintf("%s: %d maxima, want %d", g.name, g.maxima, changes)})
		}
	}
	note(soakTotal, totalKey, &m.total.events)
	note(soakTotal, totalKey, &m.total.peak)
	return all
}

// Fingerprint implements Model.
func (m *soakModel) Fingerprint(int, []byte, []byte) int64 { return 0 }

// Covered implements Model.
func (m *soakModel) Covered(stream int, e *Effect) bool {
	k, f := &m.keys[e.Unit], &e.Facts
	switch {
	case stream == soakMax:
		return k.shown == f[factMax] || m.lax && k.shown > f[factMax]
	case soakSecond.Has(stream):
		return false
	default:
		return k.tenths[stream-soakCount] == f[stream-soakCount+factCount]
	}
}

// CheckAnonymous implements Model.
func (m *soakModel) CheckAnonymous(stream int, name, value []byte, forced bool) (wrong string, ready bool) {
	g := &m.groups[0]
	if stream != soakTotal {
		if g = m.group(name); g == nil {
			return fmt.Sprintf("there is no group %q", name), true
		}
	}
	if wrong := m.checkForm(stream, nil, g.name, name, value); wrong != "" {
		return wrong, true
	}
	group := 0
	for i := range m.groups {
		if &m.groups[i] == g {
			group = i
		}
	}
	if !forced && !m.ready(stream, group, value) {
		return "", false
	}
	if stream == soakGroupMax {
		g.maxima++
		if m.mode.Cached {
			m.total.events.apply(1)
			m.total.peak.apply(number(value))
		}
	}
	return m.checkLedgers(stream, g, value).Wrong, true
}
