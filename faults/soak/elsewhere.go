package soak

import (
	"context"
	"slices"
	"strings"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// lookEvery is how often the group's coordinator is asked who else is a member.
	lookEvery   = 2 * time.Second
	lookTimeout = 5 * time.Second
	// threadInfix is between the name of an instance and the number of a thread, consumerSuffix behind it in its client id.
	threadInfix    = "-StreamThread-"
	consumerSuffix = "-consumer"
)

// StateElsewhere is the state of instances and threads that run in other processes. What they do in detail their own process knows.
const StateElsewhere = "MEMBER"

// Elsewhere is an instance of the same application in another process, as the group's coordinator describes it.
type Elsewhere struct {
	Instance
	Host string `json:"host"` // as the broker sees it
}

// watchElsewhere keeps up to date who else is a member of the group, until ctx ends. While the group rebalances nobody can tell.
func (s *Session) watchElsewhere(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, lookTimeout)
		groups, err := s.cluster.admin.DescribeGroups(asked, s.cfg.Application.ID)
		cancel()
		if group := groups[s.cfg.Application.ID]; err == nil && group.Err == nil && (group.State == "Stable" || group.State == "Empty") {
			others := elsewhere(described(group.Members), s.ownMembers(), sourceTopics(s.program, s.cfg.Application.ID))
			sinceSeen(others, s.others(), time.Now())
			s.elsewhere.Store(&others)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// others returns what was heard last of members in other processes. Nobody may change it.
func (s *Session) others() []Elsewhere {
	if others := s.elsewhere.Load(); others != nil {
		return *others
	}
	return nil
}

// sinceSeen sets since when each task is known to be a member's: now, unless the member had it before.
func sinceSeen(others, before []Elsewhere, now time.Time) {
	type owned struct{ member, task string }
	since := map[owned]time.Time{}
	for i := range before {
		for _, t := range before[i].Threads {
			for _, task := range t.Tasks {
				since[owned{t.MemberID, task.ID}] = task.Since
			}
		}
	}
	for i := range others {
		for _, t := range others[i].Threads {
			for k := range t.Tasks {
				t.Tasks[k].Since = now
				if at, ok := since[owned{t.MemberID, t.Tasks[k].ID}]; ok {
					t.Tasks[k].Since = at
				}
			}
		}
	}
}

// remoteDigests names the stores of tasks in other processes, which cannot be asked for digests.
func (s *Session) remoteDigests() []verify.StoreDigest {
	subs := s.program.SubTopologies()
	var digests []verify.StoreDigest
	for _, instance := range s.others() {
		for i := range instance.Threads {
			for _, task := range instance.Threads[i].Tasks {
				var id runtime.TaskID
				if err := id.UnmarshalText([]byte(task.ID)); err != nil {
					continue
				}
				for _, store := range subs[id.Subtopology].Stores {
					digests = append(digests, verify.StoreDigest{Store: store.Name, Task: task.ID, Partition: id.Partition, Remote: true})
				}
			}
		}
	}
	return digests
}

// ownMembers returns the member ids of the session's own threads.
func (s *Session) ownMembers() []string {
	var ids []string
	for _, m := range s.members {
		for _, t := range m.instance.Status().Threads {
			ids = append(ids, t.MemberID)
		}
	}
	return ids
}

// sourceTopics maps the full names of a program's source topics to the sub-topologies that read them.
func sourceTopics(program *topology.Topology, applicationID string) map[string]int {
	internal := map[string]bool{}
	for _, r := range program.InternalRepartitionTopics() {
		internal[r.Name] = true
	}
	sources := map[string]int{}
	for id, sub := range program.SubTopologies() {
		for _, topic := range sub.Sources {
			if internal[topic] {
				topic = applicationID + "-" + topic
			}
			sources[topic] = id
		}
	}
	return sources
}

// groupMember is what the coordinator tells of a member.
type groupMember struct {
	id, client, host string
	partitions       map[string][]int32
}

func described(members []kadm.DescribedGroupMember) []groupMember {
	all := make([]groupMember, 0, len(members))
	for i := range members {
		m := groupMember{id: members[i].MemberID, client: members[i].ClientID, host: members[i].ClientHost, partitions: map[string][]int32{}}
		if assigned, ok := members[i].Assigned.AsConsumer(); ok {
			for _, topic := range assigned.Topics {
				m.partitions[topic.Topic] = topic.Partitions
			}
		}
		all = append(all, m)
	}
	return all
}

// elsewhere puts the members of a group that are not one's own in the order of instances and threads.
func elsewhere(members []groupMember, own []string, sources map[string]int) []Elsewhere {
	var others []Elsewhere
	for i := range members {
		m := &members[i]
		if slices.Contains(own, m.id) {
			continue
		}
		thread := strings.TrimSuffix(m.client, consumerSuffix)
		name, _, _ := strings.Cut(thread, threadInfix)
		at := slices.IndexFunc(others, func(e Elsewhere) bool { return e.Name == name && e.Host == m.host })
		if at < 0 {
			at = len(others)
			others = append(others, Elsewhere{
				Host:     m.host,
				Instance: Instance{InstanceStatus: runtime.InstanceStatus{Name: name, State: StateElsewhere, Connected: true}},
			})
		}
		others[at].Threads = append(others[at].Threads, runtime.ThreadStatus{
			Name: thread, Instance: name, State: StateElsewhere, Connected: true, MemberID: m.id, Generation: -1, Tasks: tasksOf(m, sources),
		})
	}
	slices.SortFunc(others, func(a, b Elsewhere) int { return strings.Compare(a.Name+" "+a.Host, b.Name+" "+b.Host) })
	for i := range others {
		slices.SortFunc(others[i].Threads, func(a, b runtime.ThreadStatus) int {
			return strings.Compare(a.Name+" "+a.MemberID, b.Name+" "+b.MemberID)
		})
	}
	return others
}

// tasksOf returns the tasks that a member has, by the partitions of its assignment.
func tasksOf(m *groupMember, sources map[string]int) []runtime.TaskStatus {
	var ids []runtime.TaskID
	for topic, partitions := range m.partitions {
		sub, known := sources[topic]
		for _, partition := range partitions {
			if id := (runtime.TaskID{Subtopology: sub, Partition: partition}); known && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, func(a, b runtime.TaskID) int {
		if a.Subtopology != b.Subtopology {
			return a.Subtopology - b.Subtopology
		}
		return int(a.Partition - b.Partition)
	})
	tasks := make([]runtime.TaskStatus, len(ids))
	for i, id := range ids {
		tasks[i] = runtime.TaskStatus{ID: id.String(), State: string(runtime.TaskRunning)}
	}
	return tasks
}
