package ui

import "strings"

// filter keeps rows that contain a text, whatever its case; an exclamation mark in front keeps the others.
type filter struct {
	text    string // as typed
	needle  string
	inverse bool
}

func (f *filter) set(text string) {
	f.text = text
	needle, inverse := strings.CutPrefix(text, "!")
	f.needle, f.inverse = strings.ToLower(needle), inverse
}

func (f *filter) active() bool { return f.needle != "" }

func (f *filter) match(s string) bool {
	return !f.active() || strings.Contains(strings.ToLower(s), f.needle) != f.inverse
}
