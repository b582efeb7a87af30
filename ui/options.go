package ui

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Options says how the dashboard looks and where it is drawn.
type Options struct {
	// Theme is one of Themes.
	Theme string
	// ASCII draws with plain characters only. TERM=dumb, TERM=linux and a locale that is not UTF-8 have the same
	// effect.
	ASCII bool
	// FPS is how often a second a snapshot is taken and drawn while the terminal has the focus, 1 to 60.
	FPS int
	// Synchronized brackets frames with the control sequences for synchronized output (mode 2026), which terminals
	// that do not know them ignore.
	Synchronized bool
	// Output is the terminal; nil is os.Stdout. Input is where keys come from; nil is the terminal.
	Output *os.File
	Input  io.Reader
	// Environ is the environment in the form of os.Environ; nil is os.Environ itself. NO_COLOR, TERM and the locale
	// variables are read from it.
	Environ []string
}

// Default returns the options that suit most terminals.
func Default() Options {
	return Options{Theme: "ansi", FPS: 10, Synchronized: true}
}

// Validate returns every problem there is, joined.
func (o Options) Validate() error {
	var errs []error
	if !slices.Contains(Themes(), o.Theme) {
		errs = append(errs, fmt.Errorf("ui.theme: %q is none of %s", o.Theme, strings.Join(Themes(), ", ")))
	}
	if o.FPS < 1 || o.FPS > 60 {
		errs = append(errs, fmt.Errorf("ui.fps: %d is not between 1 and 60", o.FPS))
	}
	return errors.Join(errs...)
}

// getenv is the last value of a variable, as os/exec would hand it on.
func (o *Options) getenv(name string) string {
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	value := ""
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// look decides on characters and colours.
func (o *Options) look() (*glyphSet, *styles) {
	glyphs, st := &unicodeGlyphs, newStyles(o.Theme)
	if o.getenv("NO_COLOR") != "" {
		st = monoStyles()
	}
	switch term := o.getenv("TERM"); {
	case term == "dumb":
		glyphs, st = &asciiGlyphs, noStyles()
	case term == "linux", o.ASCII, !o.utf8():
		glyphs = &asciiGlyphs // The kernel's console font has few of the characters.
	}
	return glyphs, st
}

// utf8 is false only where the locale names another character set: many containers name none at all although the
// terminal shows UTF-8.
func (o *Options) utf8() bool {
	locale := o.getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = o.getenv(name)
		}
	}
	_, charset, named := strings.Cut(locale, ".")
	charset = strings.ToLower(charset)
	return !named || strings.HasPrefix(charset, "utf-8") || strings.HasPrefix(charset, "utf8")
}
