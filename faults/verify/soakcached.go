package verify

import "fmt"

// What the soak model does where a cache swallows intermediate results, or outputs carry no provenance.

// checkCached judges an output behind a cache. Wrong is what is wrong with its form.
func (m *soakModel) checkCached(stream int, e *Effect, value []byte, wrong string) Finding {
	k, f := &m.keys[e.Unit], &e.Facts
	switch {
	case stream < soakGroupCount:
		if wrong == "" {
			wrong = checkTenth(stream, f, value)
		}
		k.tenths[stream] = f[stream-soakCount+factCount]
		return Finding{Wrong: wrong}
	case f[factDelta] <= 0:
		return Finding{Wrong: "the input does not change its key's maximum"}
	case !e.Due.Has(stream):
		return Finding{Wrong: "what it is made of was not written for this input"}
	}
	g := &m.groups[k.group]
	m.prove(stream, e)
	finding := Finding{Wrong: wrong}
	if wrong == "" {
		finding = m.checkLedgers(stream, g, value)
	}
	if stream == soakGroupMax {
		finding.Due = Bit(soakTotal)
		m.pass(g, value)
	}
	return finding
}

// pass takes note that what the group-max stream shows goes on to the total.
func (m *soakModel) pass(g *soakGroup, value []byte) {
	m.total.events.apply(1)
	if len(value) == 8 {
		m.total.peak.apply(min(number(value), g.ledger(soakGroupMax).applied))
	}
}

// loosen gives up the upper bounds of the total, after a fault in what it is made of.
func (m *soakModel) loosen() { m.total.events.loose, m.total.peak.loose = true, true }

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
	m.prove(stream, e)
	if stream == soakGroupMax {
		return Bit(soakTotal)
	}
	return 0
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
	return stream < soakMax && m.keys[e.Unit].tenths[stream] == e.Facts[stream-soakCount+factCount]
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
	if !forced && !m.ready(stream, group, value, 0) {
		return "", false
	}
	if stream == soakGroupMax {
		g.maxima++
		if m.mode.Cached {
			m.pass(g, value)
		}
	}
	return m.checkLedgers(stream, g, value).Wrong, true
}
