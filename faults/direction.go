package faults

import "fmt"

// Direction is a direction of a link, seen from the instance.
type Direction uint8

// The directions. The zero value is Both.
const (
	Both Direction = iota
	In             // from the broker to the client
	Out            // from the client to the broker
)

// String returns "both", "in" or "out".
func (d Direction) String() string {
	switch d {
	case Both:
		return "both"
	case In:
		return "in"
	case Out:
		return "out"
	default:
		return fmt.Sprintf("direction(%d)", uint8(d))
	}
}

// ParseDirection is the inverse of Direction.String.
func ParseDirection(s string) (Direction, error) {
	switch s {
	case "both":
		return Both, nil
	case "in":
		return In, nil
	case "out":
		return Out, nil
	default:
		return Both, fmt.Errorf("direction %q is none of both, in, out", s)
	}
}

// cuts says which directions are cut.
type cuts struct{ in, out bool }

func (c cuts) any() bool { return c.in || c.out }

// and returns c with d cut as well.
func (c cuts) and(d Direction) cuts {
	return cuts{in: c.in || d != Out, out: c.out || d != In}
}

// direction is meaningful only if anything is cut.
func (c cuts) direction() Direction {
	switch {
	case !c.out:
		return In
	case !c.in:
		return Out
	default:
		return Both
	}
}
