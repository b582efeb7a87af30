// Package noprobe keeps bubbletea v1 from querying the terminal in its package init, which costs five seconds on a
// terminal that does not answer. It imports only os, so it is initialised before bubbletea, which has to wait for
// golang.org/x. While the packages initialise, CI is set to 1, which termenv takes for "not a terminal": any other
// package init that reads CI sees that too.
package noprobe

import "os"

var ci, had = os.LookupEnv("CI")

func init() { setenv("1") }

// Restore puts CI back to what it was when the program started. It is the first line of main; calling it again
// does no harm.
func Restore() {
	if had {
		setenv(ci)
		return
	}
	if err := os.Unsetenv("CI"); err != nil {
		return // Only an invalid name fails, and this one is valid.
	}
}

func setenv(value string) {
	if err := os.Setenv("CI", value); err != nil {
		return // Only an invalid name or value fails: value came out of the environment.
	}
}
