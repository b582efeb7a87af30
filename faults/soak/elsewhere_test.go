package soak

import (
	"slices"
	"testing"
	"time"

	"eostop/runtime"
)

// TestElsewhere: what the coordinator tells of members in other processes, as instances with threads and tasks.
func TestElsewhere(t *testing.T) {
	program, err := Program("app")
	if err != nil {
		t.Fatal(err)
	}
	members := []groupMember{
		{"m4", "b1-StreamThread-2-consumer", "/10.0.0.2", map[string][]int32{"app-by-key-repartition": {3}, "app-input": {7, 2}}},
		{"m1", "i1-StreamThread-1-consumer", "/10.0.0.1", map[string][]int32{"app-input": {0}}},
		{"m3", "b1-StreamThread-1-consumer", "/10.0.0.2", map[string][]int32{"other": {1}}},
		{"m2", "i1-StreamThread-1-consumer", "/10.0.0.3", nil},
		{"m5", "tool", "/10.0.0.4", nil},
	}
	others := elsewhere(members, []string{"m1"}, sourceTopics(program, "app"))
	var got []string
	for i := range others {
		got = append(got, others[i].Name+" "+others[i].Host)
		for _, thread := range others[i].Threads {
			got = append(got, thread.Name)
			for _, task := range thread.Tasks {
				got = append(got, task.ID)
			}
		}
	}
	want := []string{
		"b1 /10.0.0.2", "b1-StreamThread-1", "b1-StreamThread-2", "0_2", "0_7", "1_3",
		"i1 /10.0.0.3", "i1-StreamThread-1", "tool /10.0.0.4", "tool",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestACutWhoseTasksGoElsewhere: the group gives the tasks of an instance to a member in another process. It is expelled, but
// when its tasks were taken over nobody here knows.
func TestACutWhoseTasksGoElsewhere(t *testing.T) {
	start := time.Unix(1_000_000_000, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	own := []runtime.InstanceStatus{{Name: "a1", Threads: []runtime.ThreadStatus{{Name: "a1-StreamThread-1", Tasks: []runtime.TaskStatus{{ID: "0_1"}}}}}}
	with := func(before []Elsewhere, now time.Time, tasks ...string) []Elsewhere {
		thread := runtime.ThreadStatus{MemberID: "m"}
		for _, id := range tasks {
			thread.Tasks = append(thread.Tasks, runtime.TaskStatus{ID: id})
		}
		others := []Elsewhere{{Instance: Instance{InstanceStatus: runtime.InstanceStatus{Name: "b1", Threads: []runtime.ThreadStatus{thread}}}}}
		sinceSeen(others, before, now)
		return others
	}
	var cuts cutTracker
	cuts.begin("a1", "both", at(1), own)
	before := with(nil, at(0), "0_0")
	cuts.observe(at(2), own, before, 0)
	if cut := cuts.list()[0]; cut.Expelled {
		t.Fatal("expelled, though it has its task still")
	}
	again := with(before, at(3), "0_0", "0_1")
	if since := again[0].Threads[0].Tasks; !since[0].Since.Equal(at(0)) || !since[1].Since.Equal(at(3)) {
		t.Errorf("the tasks are said to be there since %v and %v", since[0].Since, since[1].Since)
	}
	cuts.observe(at(3), own, again, 0)
	if cut := cuts.list()[0]; !cut.Expelled || !cut.Away.Equal(at(3)) || cut.Takeover >= 0 {
		t.Errorf("%+v, want expelled at %v, and no takeover", cut, at(3))
	}
}
