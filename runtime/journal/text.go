package journal

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// lineTime is the time format of Kafka's log4j pattern.
const lineTime = "2006-01-02 15:04:05,000"

// Line renders the event as Kafka Streams would have logged it, as one line without a line break:
//
//	[2026-11-23 04:54:02,650] INFO stream-thread [i1-StreamThread-2] State transition from RUNNING to PARTITIONS_REVOKED
//
// The time is in the location of At. The event's Error follows the text unless the text quotes it. Control
// sequences are removed, so the line is safe for a terminal whatever the event quotes.
func (e Event) Line() string {
	var b strings.Builder
	b.Grow(64 + len(e.Thread) + len(e.Text) + len(e.Error))
	b.WriteByte('[')
	b.WriteString(e.At.Format(lineTime))
	b.WriteString("] ")
	b.WriteString(e.Level.String())
	b.WriteByte(' ')
	text := e.Text
	if text == "" {
		text = e.describe()
	}
	if !strings.HasPrefix(text, "stream-thread [") && !strings.HasPrefix(text, "stream-client [") {
		switch {
		case e.Thread != "":
			b.WriteString("stream-thread [" + e.Thread + "] ")
		case e.Instance != "":
			b.WriteString("stream-client [" + e.Instance + "] ")
		}
	}
	b.WriteString(text)
	if e.Error != "" && !strings.Contains(text, e.Error) {
		b.WriteString(": ")
		b.WriteString(e.Error)
	}
	return Clean(b.String())
}

// describe stands in for a missing Text.
func (e *Event) describe() string {
	var b strings.Builder
	if e.Task != "" {
		b.WriteString("task [" + e.Task + "] ")
	}
	switch {
	case e.From != "" && e.To != "":
		b.WriteString("State transition from " + e.From + " to " + e.To)
	default:
		b.WriteString(string(e.Kind))
		if e.To != "" {
			b.WriteString(" " + e.To)
		}
	}
	if e.Store != "" {
		b.WriteString(" store " + e.Store)
	}
	if e.TransactionalID != "" {
		b.WriteString(" transactionalId " + e.TransactionalID + " producerId " + strconv.FormatInt(e.ProducerID, 10) +
			" epoch " + strconv.Itoa(int(e.Epoch)))
	}
	if e.Count != 0 {
		b.WriteString(" count " + strconv.FormatInt(e.Count, 10))
	}
	if e.Duration != 0 {
		b.WriteString(" in " + strconv.FormatInt(int64(e.Duration/time.Millisecond), 10) + " ms")
	}
	if e.Cause != "" {
		b.WriteString(" (" + e.Cause + ")")
	}
	return b.String()
}

// Clean makes text from outside safe to show on one line of a terminal: terminal control sequences are removed
// whole, line breaks and tabs become a space, other control characters and those that reorder text are dropped,
// invalid UTF-8 becomes U+FFFD.
func Clean(s string) string {
	clean := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == esc || r >= 0x80 && r < 0xa0 && r != nextLine:
			i += sequence(s[i:], r, n)
			continue
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

const (
	esc       = 0x1b
	bell      = 0x07
	nextLine  = 0x85
	c1CSI     = 0x9b
	c1DCS     = 0x90
	c1SOS     = 0x98
	c1OSC     = 0x9d
	c1PM      = 0x9e
	c1APC     = 0x9f
	c1ST      = 0x9c
	c1Private = 0x40 // an escape sequence ESC x is the C1 control x + 0x40
)

// sequence returns the length of the control sequence at the start of s, which begins with r of n bytes: a C1
// control or an escape character. An unfinished sequence reaches to the end of the line, so that it cannot
// swallow more than a terminal would.
func sequence(s string, r rune, n int) int {
	i := n
	if r == esc {
		if i == len(s) {
			return i
		}
		if c := s[i]; c >= '@' && c <= '_' {
			r = rune(c) + c1Private
			i++
		} else {
			// Intermediate bytes, then one final byte.
			for i < len(s) && s[i] >= ' ' && s[i] <= '/' {
				i++
			}
			if i < len(s) && s[i] >= '0' && s[i] <= '~' {
				i++
			}
			return i
		}
	}
	switch r {
	case c1CSI:
		for i < len(s) && s[i] >= ' ' && s[i] <= '?' {
			i++
		}
		if i < len(s) && s[i] >= '@' && s[i] <= '~' {
			i++
		}
	case c1OSC, c1DCS, c1SOS, c1PM, c1APC:
		for i < len(s) && s[i] != '\n' {
			switch {
			case s[i] == bell:
				return i + 1
			case s[i] == esc && i+1 < len(s) && s[i+1] == '\\':
				return i + 2
			case s[i] == esc:
				return i
			case strings.HasPrefix(s[i:], string(rune(c1ST))):
				return i + utf8.RuneLen(c1ST)
			}
			i++
		}
	}
	return i
}
