package soak

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eostop/faults/verify"
)

const (
	// A schedule counts as failing if it does in so many of so many tries: virtual time is not repeatable to the bit.
	shrinkFailures = 2
	shrinkTries    = 5
	// shrinkGap is what is left between two things that happened one after the other, where that is enough.
	shrinkGap = 5 * time.Second
)

// Attempt is what came of one run of a schedule.
type Attempt struct {
	Kinds []string      // what was wrong; none: it did not fail
	At    time.Duration // when the first of it was seen, from the moment when all threads were RUNNING; 0 = not known
}

// Failures says what was wrong with a run. A run whose verdict is unknown did not fail.
func Failures(r *Report) Attempt {
	var a Attempt
	seen := func(at time.Time) {
		if d := at.Sub(r.began); !at.IsZero() && !r.began.IsZero() && d > 0 && (a.At == 0 || d < a.At) {
			a.At = d
		}
	}
	for _, d := range r.Threads.Died {
		if d.Survivable {
			a.Kinds = append(a.Kinds, "died of "+d.Cause)
			seen(d.At)
		}
	}
	if r.Verdict == verify.Violation {
		for _, w := range r.Witnesses {
			a.Kinds = append(a.Kinds, w.Kind)
			seen(w.At)
		}
		if len(a.Kinds) == 0 {
			a.Kinds = append(a.Kinds, string(verify.Violation))
		}
	}
	slices.Sort(a.Kinds)
	a.Kinds = slices.Compact(a.Kinds)
	return a
}

// Shrunk is a schedule that still fails.
type Shrunk struct {
	Script Script
	Length time.Duration // of the load
	Runs   int           // how many runs it took to find it
}

// ErrNotRepeated says that a schedule that has failed once did not fail often enough when it was tried again.
var ErrNotRepeated = errors.New("the failure does not repeat")

// Shrinking looks for the shortest part of a schedule that still fails in the same way.
type Shrinking struct {
	// Try runs a schedule. Its error ends the search.
	Try func(ctx context.Context, script Script, length time.Duration) (Attempt, error)
	// Calm is how long a run goes on after the last that is done to it, so that what follows from that is seen.
	Calm time.Duration
	// Tell hears now and then how far the search is; nil tells nobody.
	Tell func(best Shrunk)
}

// shrinker is one search.
type shrinker struct {
	Shrinking
	ctx   context.Context //nolint:containedctx // of the one call that it lives for
	kinds []string        // what must be wrong again
	best  Shrunk
}

// Shrink searches, beginning with a schedule that has failed as first says. It returns the best it has found, also with an
// error: ErrNotRepeated, the one of a run, or that of ctx.
func (s Shrinking) Shrink(ctx context.Context, script Script, length time.Duration, first Attempt) (Shrunk, error) {
	h := &shrinker{Shrinking: s, ctx: ctx, kinds: first.Kinds, best: Shrunk{Script: script, Length: length}}
	err := h.search(first)
	return h.best, err
}

func (h *shrinker) search(first Attempt) error {
	// What was begun after the failure cannot have caused it; then it need not run any longer either.
	shorter, length := h.best.Script, h.best.Length
	if first.At > 0 {
		shorter = shorter.until(first.At)
		length = min(length, max(first.At, shorter.last())+h.Calm)
	}
	repeated, err := h.accept(shorter, length)
	if err == nil && !repeated {
		repeated, err = h.accept(h.best.Script, h.best.Length)
	}
	if err != nil {
		return err
	}
	if !repeated {
		return fmt.Errorf("%w: it failed in less than %d of %d further runs", ErrNotRepeated, shrinkFailures, shrinkTries)
	}
	for _, step := range []func() error{h.drop, h.shorten, h.close, h.drop} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// accept makes a schedule the best one if it still fails.
func (h *shrinker) accept(script Script, length time.Duration) (bool, error) {
	fails, err := h.fails(script, length)
	if fails {
		h.best.Script, h.best.Length = script, length
	}
	if h.Tell != nil && err == nil {
		h.Tell(h.best)
	}
	return fails, err
}

// fails tries a schedule until it is clear whether it fails often enough.
func (h *shrinker) fails(script Script, length time.Duration) (bool, error) {
	failed := 0
	for try := range shrinkTries {
		if err := h.ctx.Err(); err != nil {
			return false, fmt.Errorf("shrink: %w", err)
		}
		a, err := h.Try(h.ctx, script, length)
		if err != nil {
			return false, fmt.Errorf("shrink: %w", err)
		}
		h.best.Runs++
		if slices.ContainsFunc(a.Kinds, func(kind string) bool { return slices.Contains(h.kinds, kind) }) {
			failed++
		}
		if failed == shrinkFailures {
			return true, nil
		}
		if left := shrinkTries - 1 - try; failed+left < shrinkFailures {
			break
		}
	}
	return false, nil
}

// drop leaves out what is not needed, in ever smaller pieces (Zeller's delta debugging).
func (h *shrinker) drop() error {
	for pieces := 2; h.best.Script.Len() > 1; {
		n := h.best.Script.Len()
		pieces = min(pieces, n)
		smaller := false
		for i := range pieces {
			rest := h.best.Script.without(i*n/pieces, (i+1)*n/pieces)
			fails, err := h.accept(rest, h.best.Length)
			if err != nil {
				return err
			}
			if fails {
				pieces, smaller = max(2, pieces-1), true
				break
			}
		}
		if !smaller {
			if pieces == n {
				return nil
			}
			pieces *= 2
		}
	}
	return nil
}

// shorten halves the lengths of what is left, each for as long as that goes.
func (h *shrinker) shorten() error {
	for i := range h.best.Script.Len() {
		for {
			shorter := h.best.Script.clone()
			length := shorter.length(i)
			if *length < 2*time.Second {
				break
			}
			*length = (*length / 2).Truncate(time.Millisecond)
			fails, err := h.accept(shorter, h.best.Length)
			if err != nil {
				return err
			}
			if !fails {
				break
			}
		}
	}
	return nil
}

// close closes the gaps between what is left, and lets the run end soon after.
func (h *shrinker) close() error {
	for _, script := range []Script{h.best.Script.closed(), h.best.Script} {
		length := script.last() + h.Calm
		if length >= h.best.Length {
			continue
		}
		if fails, err := h.accept(script, length); fails || err != nil {
			return err
		}
	}
	return nil
}

// clone returns a script that shares nothing.
func (s Script) clone() Script {
	return Script{Cuts: slices.Clone(s.Cuts), Faults: slices.Clone(s.Faults)}
}

// until returns what begins before a time.
func (s Script) until(at time.Duration) Script {
	c := s.clone()
	c.Cuts = slices.DeleteFunc(c.Cuts, func(cut CutSpec) bool { return cut.Start > at })
	c.Faults = slices.DeleteFunc(c.Faults, func(f FaultSpec) bool { return f.Start > at })
	return c
}

// without leaves out a range of cuts and faults, counted by their start.
func (s Script) without(from, to int) Script {
	out := Script{}
	for i, at := range s.order() {
		switch {
		case i >= from && i < to:
		case at < len(s.Cuts):
			out.Cuts = append(out.Cuts, s.Cuts[at])
		default:
			out.Faults = append(out.Faults, s.Faults[at-len(s.Cuts)])
		}
	}
	return out
}

// order returns the indices of cuts and, behind them, faults by their start.
func (s Script) order() []int {
	order := make([]int, s.Len())
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.start(a), s.start(b)) })
	return order
}

func (s Script) start(i int) time.Duration {
	if i < len(s.Cuts) {
		return s.Cuts[i].Start
	}
	return s.Faults[i-len(s.Cuts)].Start
}

// length returns the length of a cut or a fault by its index, to be changed.
func (s Script) length(i int) *time.Duration {
	if i < len(s.Cuts) {
		return &s.Cuts[i].Length
	}
	return &s.Faults[i-len(s.Cuts)].Length
}

// closed returns the script with the gaps closed in which nothing went on.
func (s Script) closed() Script {
	c := s.clone()
	earlier, over := time.Duration(0), time.Duration(0) // over: when all so far has ended
	for _, i := range s.order() {
		start := s.start(i)
		if gap := start - over; gap > shrinkGap {
			earlier += gap - shrinkGap
		}
		over = max(over, start+*s.length(i))
		if i < len(c.Cuts) {
			c.Cuts[i].Start -= earlier
		} else {
			c.Faults[i-len(c.Cuts)].Start -= earlier
		}
	}
	return c
}
