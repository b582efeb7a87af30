package ui

import (
	"slices"
	"strconv"
	"strings"

	"eostop/runtime/journal"
)

// eventsKept is how far the events panel scrolls back.
const eventsKept = 4096

// logLine is an event as the screen shows it: clean, and filtered by this text.
type logLine struct {
	event  journal.Event
	source string
	text   string
}

// eventLog collects the events of successive snapshots, which hold only the newest ones. Positions in it are sequence
// numbers, so that trimming never moves what is shown.
type eventLog struct {
	lines   []logLine
	last    uint64
	dropped uint64 // events that no snapshot showed
}

// add appends what is new in events, which are in the order of their Seq.
func (l *eventLog) add(events []journal.Event) {
	i, _ := slices.BinarySearchFunc(events, l.last+1, func(e journal.Event, seq uint64) int {
		return compare(e.Seq, seq)
	})
	events = events[i:]
	if len(events) == 0 {
		return
	}
	if first := events[0].Seq; first > l.last+1 {
		l.dropped += first - l.last - 1
	}
	for _, e := range events {
		l.lines = append(l.lines, logLine{event: e, source: clean(eventSource(e)), text: clean(eventText(e))})
	}
	l.last = events[len(events)-1].Seq
	if n := len(l.lines) - eventsKept; n > eventsKept/4 {
		l.lines = append(l.lines[:0], l.lines[n:]...)
	}
}

// since returns the lines with a Seq of at least seq.
func (l *eventLog) since(seq uint64) []logLine {
	i, _ := slices.BinarySearchFunc(l.lines, seq, func(line logLine, seq uint64) int {
		return compare(line.event.Seq, seq)
	})
	return l.lines[i:]
}

func (l *eventLog) clone() *eventLog {
	return &eventLog{lines: slices.Clone(l.lines), last: l.last, dropped: l.dropped}
}

// eventSource is who the event is about.
func eventSource(e journal.Event) string {
	switch {
	case e.Thread != "":
		return e.Thread
	case e.Instance != "":
		return e.Instance
	}
	return string(e.Kind)
}

// eventText is the short form of an event: what happened, and the cause. Kafka Streams puts the thread's name in
// brackets in front of its log lines; the source column has it already.
func eventText(e journal.Event) string {
	text := e.Text
	for _, prefix := range []string{"stream-thread [", "stream-client ["} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			if _, after, ok := strings.Cut(rest, "] "); ok {
				text = after
			}
		}
	}
	if text == "" {
		text = wordsOf(e)
	}
	if e.Cause != "" && !strings.Contains(text, e.Cause) {
		text += " (" + e.Cause + ")"
	}
	if e.Error != "" && !strings.Contains(text, e.Error) {
		text += ": " + e.Error
	}
	return text
}

// wordsOf makes a text for an event that brought none.
func wordsOf(e journal.Event) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(string(e.Kind), "_", " "))
	for _, part := range []string{e.Task, e.Store} {
		if part != "" {
			b.WriteString(" " + part)
		}
	}
	switch {
	case e.From != "":
		b.WriteString(" " + e.From + " -> " + e.To)
	case e.To != "":
		b.WriteString(" " + strings.ToLower(e.To))
	}
	if e.TransactionalID != "" {
		b.WriteString(" " + e.TransactionalID + " id " + strconv.FormatInt(e.ProducerID, 10) + " epoch " + strconv.Itoa(int(e.Epoch)))
	}
	if e.Count != 0 {
		b.WriteString(" " + count(e.Count))
	}
	if e.Duration != 0 {
		b.WriteString(" in " + span(e.Duration))
	}
	return b.String()
}
