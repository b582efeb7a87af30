package ui

import tea "github.com/charmbracelet/bubbletea"

// action is what a key does.
type action int

const (
	actNone action = iota
	actQuit
	actHelp
	actExplain
	actVerdict
	actPartition
	actHealAll
	actCutFor
	actInject
	actKill
	actAddThread
	actRemoveThread
	actExport
	actBack
	actForward
	actFarBack
	actFarForward
	actStepBack
	actStep
	actSlower
	actFaster
	actFinding
	actFreeze
	actFilter
	actSort
	actReverse
	actFollow
	actLevel
	actNextPanel
	actPreviousPanel
	actPanel // one of the digits
	actZoom
	actUp
	actDown
	actPageUp
	actPageDown
	actTop
	actBottom
	actClose
	actRedraw
	actSuspend
)

// binding is one line of the keymap.
type binding struct {
	action action
	keys   []string // bubbletea's names
	label  string   // as help shows them
	hint   string   // in the footer; empty: not there
	help   string
	group  string
}

// keymap is the only place where keys are said: dispatch, footer, help and Keys come from it. Its order is that of the
// footer, and within a group that of the help.
var keymap = []binding{
	{actPartition, []string{"p"}, "p", "cut", "cut the selected instance off from the brokers, or heal it", "do"},
	{actCutFor, []string{"P"}, "P", "", "cut it off for a time, or in one direction", "do"},
	{actHealAll, []string{"H"}, "H", "", "heal every instance that is cut off", "do"},
	{actInject, []string{"F"}, "F", "", "inject a fault: all kinds, to choose from and to change", "do"},
	{actKill, []string{"x"}, "x", "", "kill the selected thread; it is replaced", "do"},
	{actAddThread, []string{"A"}, "A", "", "add a stream thread to the instance", "do"},
	{actRemoveThread, []string{"D"}, "D", "", "remove the last stream thread of the instance", "do"},
	{actExport, []string{"e"}, "e", "export", "write the session log to a file", "do"},
	{actNextPanel, []string{"tab", "right", "l"}, "tab right", "panel", "next panel", "move"},
	{actPreviousPanel, []string{"shift+tab", "left", "h"}, "shift-tab left", "", "previous panel", "move"},
	{actPanel, []string{"1", "2", "3", "4", "5", "6", "7"}, "1..7", "", "the panel with this number", "move"},
	{actExplain, []string{"enter"}, "enter", "explain", "explain the selected row", "look"},
	{actVerdict, []string{"v"}, "v", "", "the verdict: what was checked, and the witnesses", "look"},
	{actFilter, []string{"/"}, "/", "filter", "show only rows that contain a text; ! first: that do not", "look"},
	{actFreeze, []string{" "}, "space", "freeze", "freeze the view; the application goes on", "look"},
	{actSort, []string{"s"}, "s", "", "sort by the next column", "look"},
	{actReverse, []string{"S"}, "S", "", "reverse the order", "look"},
	{actFollow, []string{"f"}, "f", "", "events: follow the newest", "look"},
	{actLevel, []string{"L"}, "L", "", "events: hide what is less than info, warnings, errors", "look"},
	{actZoom, []string{"z"}, "z", "zoom", "give the panel the whole screen", "move"},
	{actDown, []string{"j", "down"}, "j down", "", "down", "move"},
	{actUp, []string{"k", "up"}, "k up", "", "up", "move"},
	{actPageDown, []string{"pgdown", "ctrl+d"}, "pgdn ctrl-d", "", "a page down", "move"},
	{actPageUp, []string{"pgup", "ctrl+u"}, "pgup ctrl-u", "", "a page up", "move"},
	{actTop, []string{"g", "home"}, "g home", "", "to the top", "move"},
	{actBottom, []string{"G", "end"}, "G end", "", "to the end", "move"},
	{actClose, []string{"esc"}, "esc", "", "close, leave the zoom, clear the filter", "move"},
	{actBack, []string{"["}, "[", "", "ten seconds back", "replay"},
	{actForward, []string{"]"}, "]", "", "ten seconds on", "replay"},
	{actFarBack, []string{"{"}, "{", "", "a minute back", "replay"},
	{actFarForward, []string{"}"}, "}", "", "a minute on", "replay"},
	{actStepBack, []string{","}, ",", "", "a picture back", "replay"},
	{actStep, []string{"."}, ".", "", "a picture on", "replay"},
	{actSlower, []string{"<"}, "<", "", "play slower", "replay"},
	{actFaster, []string{">"}, ">", "", "play faster", "replay"},
	{actFinding, []string{"!"}, "!", "", "to the first sign that the run failed", "replay"},
	{actHelp, []string{"?"}, "?", "help", "this help", "other"},
	{actQuit, []string{"q", "ctrl+c"}, "q ctrl-c", "quit", "stop the load, drain and leave; again: stop now", "do"},
	{actRedraw, []string{"ctrl+l"}, "ctrl-l", "", "draw the screen anew", "other"},
	{actSuspend, []string{"ctrl+z"}, "ctrl-z", "", "suspend the whole program", "other"},
}

var keyGroups = []struct{ id, title string }{{"do", "Do"}, {"look", "Look"}, {"move", "Move"}, {"replay", "Only in a replay, where space pauses and plays"}, {"other", "Other"}}

// Key is one entry of the keymap, for help texts outside the dashboard.
type Key struct{ Keys, Help string }

// Keys lists the keys of the dashboard in the order of its help.
func Keys() []Key {
	keys := make([]Key, 0, len(keymap))
	for _, b := range keymap {
		keys = append(keys, Key{b.label, b.help})
	}
	return keys
}

// actionOf finds what a key does, and which of several keys of one action it was.
func actionOf(msg tea.KeyMsg) (action, int) {
	if msg.Paste {
		return actNone, 0 // Pasted text is not typed at us.
	}
	name := msg.String()
	for _, b := range keymap {
		for i, k := range b.keys {
			if k == name {
				return b.action, i
			}
		}
	}
	return actNone, 0
}

// shortLabel is the first of the keys, for the footer.
func (b *binding) shortLabel() string {
	for i := range len(b.label) {
		if b.label[i] == ' ' {
			return b.label[:i]
		}
	}
	return b.label
}
