package ui

import (
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// sgr is a pair of control sequences around a text. The zero value leaves the text as it is.
type sgr struct{ on, off string }

// styles are the meanings that the screen tells apart. Colours only support what a word, a glyph or a position says.
type styles struct {
	ok, warn, bad, dim, accent, bold, head sgr
	okBadge, warnBadge, badBadge           sgr // reversed, for the verdict
	selected                               sgr // the cursor's row in the focused panel
}

// Themes names the themes that Options.Theme takes.
func Themes() []string { return []string{"ansi", "colorblind", "mono"} }

type palette struct{ ok, warn, bad, accent string }

// The palettes take from the 16 ANSI colours only, so that they follow the user's terminal theme.
var palettes = map[string]palette{
	"ansi":       {ok: "2", warn: "3", bad: "1", accent: "6"},
	"colorblind": {ok: "4", warn: "3", bad: "5", accent: "6"}, // Blue and magenta differ for those who see red as green.
}

// newStyles takes the SGR pairs once from lipgloss: concatenating a ready pair costs a hundredth of Style.Render.
func newStyles(theme string) *styles {
	p, ok := palettes[theme]
	if !ok {
		return monoStyles()
	}
	r := lipgloss.NewRenderer(io.Discard)
	r.SetHasDarkBackground(true) // Nothing here depends on it, and it must not be asked for.
	r.SetColorProfile(termenv.ANSI)
	fg := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return &styles{
		ok: pair(fg(p.ok)), warn: pair(fg(p.warn)), bad: pair(fg(p.bad).Bold(true)),
		// Faint instead of colour 8, which some themes give the colour of the background.
		dim: pair(r.NewStyle().Faint(true)), accent: pair(fg(p.accent)),
		bold: pair(r.NewStyle().Bold(true)), head: pair(r.NewStyle().Faint(true)),
		okBadge:   pair(fg(p.ok).Reverse(true).Bold(true)),
		warnBadge: pair(fg(p.warn).Reverse(true).Bold(true)),
		badBadge:  pair(fg(p.bad).Reverse(true).Bold(true)),
		selected:  pair(r.NewStyle().Reverse(true)),
	}
}

// monoStyles keeps bold and reverse, which NO_COLOR does not forbid; lipgloss's Ascii profile would drop them too.
func monoStyles() *styles {
	bold, reverse := sgr{"\x1b[1m", "\x1b[0m"}, sgr{"\x1b[7m", "\x1b[0m"}
	badge := sgr{"\x1b[1;7m", "\x1b[0m"}
	return &styles{bad: bold, accent: bold, bold: bold, okBadge: badge, warnBadge: badge, badBadge: badge, selected: reverse}
}

// noStyles is for terminals that know no control sequences, and for tests.
func noStyles() *styles { return &styles{} }

func pair(st lipgloss.Style) sgr {
	on, off, _ := strings.Cut(st.Render("\x00"), "\x00")
	return sgr{on, off}
}
