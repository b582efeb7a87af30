package ui

import (
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"

	"eostop/faults/soak"
)

// prompt is a line that is typed for what needs more than a key. Where there are choices, up and down go through them.
type prompt struct {
	label, hint string
	text        string
	choices     []soak.FaultChoice
	at          int
	do          func(text string) tea.Cmd
}

// choicesShown is how many choices are listed at a time.
const choicesShown = 11

// ask lets the user type. What is offered is listed in an overlay meanwhile.
func (m *app) ask(p *prompt) {
	m.mode, m.prompt = modePrompt, p
	if len(p.choices) > 0 {
		p.text = p.choices[0].Text
		m.show(m.view(), p.page)
	}
}

// answered takes the prompt away.
func (m *app) answered() {
	m.mode, m.prompt, m.overlay = modeNormal, nil, nil
}

func (m *app) typePrompt(msg tea.KeyMsg) tea.Cmd {
	p := m.prompt
	switch msg.Type {
	case tea.KeyEnter:
		m.answered()
		return p.do(p.text)
	case tea.KeyEsc:
		m.answered()
	case tea.KeyUp, tea.KeyShiftTab:
		p.choose(-1)
	case tea.KeyDown, tea.KeyTab:
		p.choose(1)
	default:
		p.text = edited(p.text, msg)
	}
	return nil
}

// choose takes another choice over into the line.
func (p *prompt) choose(step int) {
	if n := len(p.choices); n > 0 {
		p.at = (p.at + step + n) % n
		p.text = p.choices[p.at].Text
	}
}

// page lists the choices around the present one.
func (p *prompt) page(v *view) *page {
	list := &page{title: "what can be done, " + count(int64(p.at+1)) + " of " + count(int64(len(p.choices)))}
	from := clamp(p.at-choicesShown/2, 0, max(0, len(p.choices)-choicesShown))
	for i := from; i < min(from+choicesShown, len(p.choices)); i++ {
		if i != p.at {
			list.text("  " + p.choices[i].Text)
			continue
		}
		list.lines = append(list.lines, pageLine{name: v.glyphs.cursor + " " + p.choices[i].Text})
		list.text("  " + p.choices[i].Does)
	}
	return list
}

// draw shows the end of what is typed, where it does not fit as a whole.
func (p *prompt) draw(v *view, c *sheet) {
	label := " " + p.label + ": "
	text := []rune(p.text)
	if room := c.width - width(label) - 2; len(text) > room {
		text = append([]rune(v.glyphs.ellipsis), text[len(text)-max(0, room-1):]...)
	}
	c.text(label, v.styles.bold)
	c.text(string(text)+"_ ", v.styles.bold)
	if room := c.width - c.col; room > width(p.hint) {
		c.text(p.hint, v.styles.dim)
	}
}

// edited is a line after a key.
func edited(line string, msg tea.KeyMsg) string {
	switch msg.Type {
	case tea.KeyBackspace:
		_, size := utf8.DecodeLastRuneInString(line)
		line = line[:len(line)-size]
	case tea.KeyCtrlU:
		line = ""
	case tea.KeyRunes, tea.KeySpace:
		if !msg.Alt {
			line += clean(string(msg.Runes))
		}
	default: // Keys that are no text.
	}
	return line
}
