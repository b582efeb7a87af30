package soak

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"eostop/faults"
)

// FaultChoice is a kind of fault as somebody may ask for it by hand.
type FaultChoice struct {
	Text string // an example, which ParseFaultNow reads
	Does string
}

// FaultChoices lists what can be done now to an instance or to one of its threads, and to brokers if they are embedded.
func (c *Config) FaultChoices(instance string, thread int) []FaultChoice {
	var choices []FaultChoice
	for _, kind := range faultKinds() {
		f, err := ParseFault(kind.Example)
		if err != nil {
			continue // tests read every example
		}
		if f.Instance != "" {
			f.Instance = instance
		}
		if f.Thread > 0 {
			f.Thread = thread
		}
		f.Start = 0
		v := &validator{config: c}
		if v.fault("by hand", &f); len(v.errs) == 0 {
			choices = append(choices, FaultChoice{f.now(), kind.Does})
		}
	}
	return choices
}

// FaultChoices lists what Inject can do to an instance or to one of its threads.
func (s *Session) FaultChoices(instance string, thread int) []FaultChoice {
	cfg := s.present()
	return cfg.FaultChoices(instance, thread)
}

// present is the configuration with as many threads as there are: some may have been added.
func (s *Session) present() Config {
	cfg := s.cfg
	for _, i := range s.Snapshot().Instances {
		for _, t := range i.Threads {
			cfg.Runtime.Threads = max(cfg.Runtime.Threads, t.Index)
		}
	}
	return cfg
}

// now writes a fault as ParseFaultNow reads it.
func (f FaultSpec) now() string {
	text := f.what()
	if f.Length > 0 {
		text += " for " + formatDuration(f.Length)
	}
	return text
}

// ParseFaultNow reads KIND[,key=value..][ for LENGTH]: a fault that is to happen at once.
func ParseFaultNow(text string) (FaultSpec, error) {
	what, length, lasts := strings.Cut(text, " for ")
	spec := strings.TrimSpace(what) + "@0s"
	if lasts {
		spec += "+" + strings.TrimSpace(length)
	}
	f, err := parseFault(spec)
	if err != nil {
		return FaultSpec{}, fmt.Errorf("fault %q: %s", text, oneLine(err))
	}
	return f, nil
}

// ParseCutNow reads LENGTH[:both|in|out], or a direction alone, which is a cut that lasts until somebody heals it (a length of 0).
func ParseCutNow(text string) (faults.Direction, time.Duration, error) {
	text = strings.TrimSpace(text)
	if d, err := faults.ParseDirection(text); err == nil {
		return d, 0, nil
	}
	length, direction, directed := strings.Cut(text, ":")
	if !directed {
		direction = faults.Both.String()
	}
	d, err := faults.ParseDirection(direction)
	took, other := time.ParseDuration(length)
	if err != nil || other != nil || took <= 0 || took > maxSpecTime {
		return 0, 0, fmt.Errorf("cut %q is not LENGTH[:both|in|out]; like 20s, 5m:in, or out alone to heal it by hand", text)
	}
	return d, took, nil
}

// Cut is Partition for a time, or without one until somebody heals it, as ParseCutNow reads it.
func (s *Session) Cut(instance, text string) error {
	d, length, err := ParseCutNow(text)
	if err != nil {
		return err
	}
	m, err := s.find(instance)
	if err != nil {
		return err
	}
	return s.ask(command{do: func(e *experiment, now time.Time) error {
		if length > 0 && e.phase != PhaseRunning {
			return fmt.Errorf("cut %q: only while the load runs; %s alone cuts until it is healed by hand", text, d)
		}
		e.cut(m, d, length, now)
		e.schedule.dropByHand(instance) // the last word counts
		if length > 0 {
			e.schedule.heals = append(e.schedule.heals, plannedHeal{instance, now.Sub(e.began) + length, true})
		}
		return nil
	}})
}

// errNotByHand is said where a session was not prepared for faults that its script does not have.
var errNotByHand = errors.New("the session was not prepared for faults by hand")

// Inject does what a fault says at once, as ParseFaultNow reads it.
func (s *Session) Inject(text string) error {
	f, err := ParseFaultNow(text)
	if err != nil {
		return err
	}
	if !s.byHand {
		return errNotByHand
	}
	cfg := s.present()
	v := &validator{config: &cfg}
	if v.fault("by hand", &f); len(v.errs) > 0 {
		return fmt.Errorf("fault %q: %s", text, oneLine(errors.Join(v.errs...)))
	}
	return s.ask(command{do: func(e *experiment, now time.Time) error {
		if e.phase != PhaseRunning {
			return fmt.Errorf("fault %q: only while the load runs", text)
		}
		f.Start = now.Sub(e.began).Round(time.Millisecond)
		e.fault(f, now, true)
		return nil
	}})
}

// AddThread starts another stream thread of an instance and returns its name.
func (s *Session) AddThread(instance string) (string, error) {
	m, err := s.find(instance)
	if err != nil {
		return "", err
	}
	return m.instance.AddThread()
}

// removeTimeout is what a thread has to commit, close its tasks and leave.
const removeTimeout = 20 * time.Second

// RemoveThread ends the stream thread of an instance with the highest number and returns its name.
func (s *Session) RemoveThread(instance string) (string, error) {
	m, err := s.find(instance)
	if err != nil {
		return "", err
	}
	if s.Snapshot().ThreadsAlive <= 1 {
		return "", errors.New("it is the last one: nobody would be left to work")
	}
	ctx, cancel := context.WithTimeout(s.ctx, removeTimeout)
	defer cancel()
	return m.instance.RemoveThread(ctx)
}

// find is member for a name that somebody has typed.
func (s *Session) find(instance string) (*member, error) {
	if m := s.member(instance); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no instance %q; there are %s", instance, s.memberNames())
}
