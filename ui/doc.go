// Package ui is the terminal: one bubbletea model that polls immutable snapshots of a session and draws them into a
// grid, and the two plain forms of the same picture, [Progress] and [Summary].
//
// The package pulls and is never pushed to: ten times a second (once, when the terminal has lost the focus) the model
// asks [Session] for a snapshot, draws the whole frame into strings of exactly the terminal's size, and keeps it until
// something changes. Panels are plain structs that hold only view state (cursor, sort, filter); they draw what the
// snapshot says and nothing else.
//
// File map:
//
//	run.go       Run, Session, the program around the model, restoring the terminal
//	options.go   Options, what the environment says about colours and glyphs
//	app.go       the model: messages, modes, toasts
//	actions.go   what the keys do
//	keys.go      the one keymap: dispatch, footer and help come from it
//	layout.go    the pure function from a size to rectangles
//	frame.go     header, panels, overlay and footer put together
//	header.go, chrome.go, footer.go  the parts that are no panels
//	sheet.go, styles.go, glyphs.go, units.go  drawing: cells, SGR pairs, characters, numbers
//	table.go, columns.go, filter.go  the table that five panels share
//	threads.go, producers.go, stores.go, tasks.go, cuts.go, throughput.go, events.go  the panels
//	history.go, eventlog.go  what the ui remembers between snapshots: rates, samples, events
//	explain.go, overlay.go  what enter, v and ? show
//	terminal.go  the output of the program: synchronized frames
//	progress.go, summary.go  the plain forms
//
// Invariants that have caused bugs elsewhere: a frame has exactly as many lines as the terminal and each line exactly
// its width (bubbletea drops lines from the top otherwise); every text from outside passes clean before it reaches the
// screen; meaning is never carried by colour alone; nothing in Update waits.
package ui
