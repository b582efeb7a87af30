package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// announcing is a balancer whose members announce a transactional id.
type announcing struct {
	kgo.GroupBalancer
	id string
}

func (a announcing) JoinGroupMetadata(topics []string, _ map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics, meta.Generation, meta.UserData = 3, topics, generation, []byte(a.id)
	return meta.AppendTo(nil)
}

// join has a member join group "app", which is through within half a second, as its leave is.
func (c *cluster) join(id string) *kgo.Client {
	c.t.Helper()
	return c.client(kgo.ConsumerGroup("app"), kgo.ConsumeTopics("app-input"), kgo.Balancers(announcing{kgo.RangeBalancer(), id}),
		kgo.HeartbeatInterval(50*time.Millisecond), kgo.DisableAutoCommit())
}

// TestExpelled has a member commit after it was expelled, and others that did not. The input holds six records at offsets 0 to 5, of which
// the first three were taken before.
func TestExpelled(t *testing.T) {
	tests := map[string]struct {
		// Members app-a and b are in the group; s writes under the id of b. The group goes on without b as if it were expelled once it is closed.
		do     func(s *stored, b *kgo.Client)
		mute   bool // members announce nothing
		zombie bool
	}{
		"a member": {do: func(s *stored, _ *kgo.Client) { s.outputs(3, 4, 5) }},
		"expelled": {do: func(s *stored, b *kgo.Client) {
			b.Close()
			time.Sleep(3 * time.Second)
			s.outputs(3, 4, 5)
		}, zombie: true},
		"expelled, and nobody knows whose it is": {do: func(s *stored, b *kgo.Client) {
			b.Close()
			time.Sleep(3 * time.Second)
			s.outputs(3, 4, 5)
		}, mute: true},
		"expelled, and back soon": {do: func(s *stored, b *kgo.Client) {
			b.Close()
			time.Sleep(3 * time.Second)
			s.outputs(3, 4, 5)
			time.Sleep(400 * time.Millisecond) // until it has been read, and looked
			s.c.join("app-b")
		}, zombie: true},
		"back before": {do: func(s *stored, b *kgo.Client) {
			b.Close()
			time.Sleep(3 * time.Second)
			s.c.join("app-b")
			time.Sleep(time.Second)
			s.outputs(3, 4, 5)
		}},
		"back before, and gone again": {do: func(s *stored, b *kgo.Client) {
			b.Close()
			time.Sleep(2500 * time.Millisecond)
			b = s.c.join("app-b")
			time.Sleep(time.Second)
			s.outputs(3, 4, 5)
			b.Close()
		}},
		"back and gone between two looks": {do: func(s *stored, b *kgo.Client) {
			b.Close()
			time.Sleep(2500 * time.Millisecond)
			b = s.c.join("app-b")
			time.Sleep(200 * time.Millisecond)
			s.outputs(3, 4, 5)
			b.Close()
		}},
		"begun before": {do: func(s *stored, b *kgo.Client) {
			s.open(3, 4, 5)
			b.Close()
			time.Sleep(3 * time.Second)
			s.end() // it may have sent its offsets in time
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				s := newStored(c)
				s.cfg.Group = "app"
				s.cfg.TransactionalIDs = func(userData []byte) []string { return []string{string(userData)} }
				if tt.mute {
					s.cfg.TransactionalIDs = func([]byte) []string { return nil }
				}
				s.cl = c.client(kgo.TransactionalID("app-b"))
				s.outputs(0, 1, 2)
				v := c.start(*s.cfg)
				c.join("app-a")
				b := c.join("app-b")
				time.Sleep(3 * time.Second)
				tt.do(s, b)
				time.Sleep(4 * time.Second)
				status := c.finish(v, nil)
				if !tt.zombie {
					if status.Verdict != Clean {
						t.Errorf("%+v", status)
					}
					return
				}
				w := firstWitness(t, status, 1)
				if w.Kind != KindZombieWrite || w.Input != "app-input-0@3" || !slices.Equal(w.Outputs, []string{"app-output-0@4"}) || !strings.HasPrefix(w.Transaction, "app-b (producer id ") {
					t.Errorf("%+v", w)
				}
			})
		})
	}
}

// open begins a transaction with the outputs of some inputs.
func (s *stored) open(sequences ...int64) {
	s.c.t.Helper()
	if err := s.cl.BeginTransaction(); err != nil {
		s.c.t.Fatal(err)
	}
	for _, seq := range sequences {
		out := records(s.cfg.Outputs["output"], 0, []message{s.message(seq, fmt.Sprint("value ", seq))})
		if err := s.cl.ProduceSync(s.c.t.Context(), out...).FirstErr(); err != nil {
			s.c.t.Fatal(err)
		}
	}
}

// TestLeftBehind has a producer write under an epoch that it has left behind in another partition. Which came first is only known if the
// log was read in between.
func TestLeftBehind(t *testing.T) {
	for name, tt := range map[string]struct {
		do     func(s *stored)
		zombie bool
	}{
		"the epoch is behind":  {func(s *stored) { s.fence("app-input"); time.Sleep(3 * time.Second); s.outputs(3, 4, 5) }, true},
		"it is so later":       {func(s *stored) { s.outputs(3, 4, 5); time.Sleep(3 * time.Second); s.fence("app-input") }, false},
		"nobody knows":         {func(s *stored) { s.fence("app-input"); s.outputs(3, 4, 5) }, false},
		"nor the other way":    {func(s *stored) { s.outputs(3, 4, 5); s.fence("app-input") }, false},
		"it was begun before":  {func(s *stored) { s.open(3, 4, 5); s.fence("app-input"); time.Sleep(3 * time.Second); s.end() }, false},
		"it goes on all along": {func(s *stored) { time.Sleep(3 * time.Second); s.outputs(3, 4, 5) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				s := newStored(c)
				v := c.start(*s.cfg)
				s.outputs(0, 1, 2)
				time.Sleep(3 * time.Second)
				tt.do(s)
				time.Sleep(4 * time.Second)
				status := c.finish(v, nil)
				if !tt.zombie {
					if status.Verdict != Clean {
						t.Errorf("%+v", status)
					}
					return
				}
				w := firstWitness(t, status, 3)
				if w.Kind != KindZombieWrite || w.Input != "app-input-0@3" || !slices.Equal(w.Outputs, []string{"app-output-0@4"}) || w.Transaction == "" {
					t.Errorf("%+v", w)
				}
			})
		})
	}
}

func (s *stored) end() {
	s.c.t.Helper()
	if err := s.cl.EndTransaction(s.c.t.Context(), kgo.TryCommit); err != nil {
		s.c.t.Error(err)
	}
}
