//go:build !race

package soak

// raced says that the race detector is on.
const raced = false
