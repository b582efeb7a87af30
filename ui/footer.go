package ui

import (
	"time"

	"eostop/faults/soak"
)

// toast is a short message that goes away on its own.
type toast struct {
	text  string
	bad   bool
	times int
	until time.Time
}

const (
	toastTime = 5 * time.Second
	errorTime = 10 * time.Second
)

func (m *app) say(text string)     { m.toastFor(text, false, toastTime) }
func (m *app) complain(err string) { m.toastFor(err, true, errorTime) }

func (m *app) toastFor(text string, bad bool, d time.Duration) {
	text = clean(text)
	times := 1
	if m.toast.text == text {
		times = m.toast.times + 1
	}
	m.toast = toast{text: text, bad: bad, times: times, until: time.Now().Add(d)}
	m.dirty = true
}

// footer draws the last line: what is typed, a message, or hints. It is also drawn over the last line of a screen that
// has no footer, but only when there is something to say: then hints is false and the result may be empty.
func (m *app) footer(v *view, w int, hints bool) string {
	c := newSheet(w, 1, v.glyphs)
	switch {
	case m.mode == modeFilter:
		c.text(" /"+m.typed, v.styles.bold)
		c.text("_ ", v.styles.bold)
		if v.width >= 60 {
			c.text(" ! inverts, enter keeps, esc clears", v.styles.dim)
		}
	case m.mode == modePrompt:
		m.prompt.draw(v, c)
	case m.toast.text != "":
		st, mark := v.styles.ok, v.glyphs.good
		if m.toast.bad {
			st, mark = v.styles.bad, v.glyphs.bad
		}
		text := " " + mark + " " + m.toast.text
		if m.toast.times > 1 {
			text += " (x" + count(int64(m.toast.times)) + ")"
		}
		c.text(text, st)
	case m.player != nil:
		m.player.draw(v, c)
	case m.frozen != nil:
		c.text(" FROZEN "+tick(m.live.At.Sub(m.frozen.snap.At))+" ", v.styles.warnBadge)
		c.text(first(w-16, " the view stands still, the application goes on; space resumes", " space resumes"), v.styles.warn)
	case m.live.Phase == soak.PhaseDraining || m.live.Phase == soak.PhaseVerifying || m.live.Phase == soak.PhaseStopping:
		c.text(" "+first(w-2, phaseWords[m.live.Phase]+"; q stops now", phaseWords[m.live.Phase]), v.styles.warn)
	case hints:
		m.hints(v, c)
		return c.lines[0]
	default:
		return ""
	}
	c.end()
	return c.lines[0]
}

var phaseWords = map[string]string{
	soak.PhaseDraining:  "the load has stopped, the application works off what is left",
	soak.PhaseVerifying: "comparing stores, changelogs and model",
	soak.PhaseStopping:  "closing the instances",
}

// hints shows the most useful keys, as many as have room.
func (m *app) hints(v *view, c *sheet) {
	items := make([]item, 0, len(keymap))
	for _, b := range keymap {
		if b.hint == "" {
			continue
		}
		text, drop := b.hint, 3
		switch b.action {
		case actPartition:
			target := m.target(v)
			if target == "" {
				continue
			}
			if in := m.liveInstance(target); in != nil && in.Cut {
				text = "heal"
			}
			text, drop = text+" "+target, 2
		case actHelp, actQuit:
			drop = 1
		case actFreeze, actZoom:
			drop = 4
		case actFilter:
			f := m.panels[m.focus].filterable()
			if f == nil {
				continue
			}
			if f.active() {
				text = "filter: " + f.text
			}
		default: // As it stands in the keymap.
		}
		items = append(items, item{drop: drop, parts: []part{{b.shortLabel(), v.styles.bold}, {" " + text, v.styles.dim}}})
	}
	drawItems(c, items)
}
