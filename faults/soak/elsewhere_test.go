package soak

import (
	"slices"
	"testing"
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
