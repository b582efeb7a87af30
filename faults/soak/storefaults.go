package soak

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"eostop/faults"
	"eostop/runtime/state"
)

// FaultStoreOpen makes the opening of stores fail as if somebody still had the lock of the database.
const FaultStoreOpen = "store-open-fails"

// keyWiped chooses stores that are opened again.
const keyWiped = "wiped"

// storeFaults lets openings of stores fail. Stream threads ask it, each for its own stores.
type storeFaults struct {
	mu     sync.Mutex // short
	active []*storeFault
	// wiped holds, for each task of an instance whose folder was thrown away, the stores that were opened since.
	wiped map[string]map[string]bool
}

// storeFault is a fault that goes on.
type storeFault struct {
	FaultSpec
	wiped       bool
	nth, count  int
	probability float64
	random      *rand.Rand
	matches     int
	hits        int
	hit         func(instance, task, store string)
}

func newStoreFaults() *storeFaults { return &storeFaults{wiped: map[string]map[string]bool{}} }

// newStoreFault reads what the keys say; a fault without a length happens once unless count says how often.
func newStoreFault(f FaultSpec, seed uint64) (*storeFault, error) {
	live := &storeFault{FaultSpec: f, nth: 1, probability: 1}
	if f.Length == 0 {
		live.count = 1
	}
	for key, value := range f.values() {
		var err error
		switch key {
		case keyWiped:
			live.wiped, err = strconv.ParseBool(value)
		case "nth":
			live.nth, err = strconv.Atoi(value)
		case "count":
			live.count, err = strconv.Atoi(value)
		case "probability":
			live.probability, err = strconv.ParseFloat(value, 64)
		case "seed":
			seed, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil || live.nth < 1 || live.count < 0 || !(live.probability > 0 && live.probability <= 1) {
			return nil, fmt.Errorf("%s=%s is out of range", key, value)
		}
	}
	live.random = rand.New(rand.NewPCG(seed, 0))
	return live, nil
}

// start lets a fault act until the returned function is called.
func (s *storeFaults) start(f *storeFault) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = append(s.active, f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, other := range s.active {
			if other == f {
				s.active = append(s.active[:i:i], s.active[i+1:]...)
				return
			}
		}
	}
}

// wipe notes that a task's folder was thrown away.
func (s *storeFaults) wipe(instance, task string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wiped[instance+"/"+task] = map[string]bool{}
}

// open is asked about a store that is about to be opened. Its error is what the opening fails with.
func (s *storeFaults) open(instance, task, store string) error {
	hit, ends := s.choose(instance, task, store)
	if hit == nil {
		return nil
	}
	hit.hit(instance, task, store)
	return fmt.Errorf("%w: injected by --fault %s", ends, FaultStoreOpen)
}

func (s *storeFaults) choose(instance, task, store string) (*storeFault, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, wiped := s.wiped[instance+"/"+task]
	wiped = wiped && !since[store]
	if wiped {
		since[store] = true
	}
	for _, f := range s.active {
		if f.Instance != "" && f.Instance != instance || f.wiped && !wiped || f.count > 0 && f.hits >= f.count {
			continue
		}
		f.matches++
		if f.matches < f.nth || f.random.Float64() >= f.probability {
			continue
		}
		f.hits++
		return f, state.ErrInUse
	}
	return nil, nil
}

// storeFaultKind describes the fault for the parser and for people.
func storeFaultKind() faultKind {
	return faultKind{FaultKind: faults.FaultKind{
		Name: FaultStoreOpen, Takes: []string{keyInstance, keyWiped, "nth", "count", "probability", "seed"},
		Does:    "a store cannot be opened, as if its database were still locked",
		Example: "store-open-fails,instance=i2@20s",
	}, place: onStore}
}
