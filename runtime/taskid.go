package runtime

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// TaskID names a task: partition Partition of sub-topology Subtopology, written "0_3".
type TaskID struct {
	Subtopology int
	Partition   int32
}

func (id TaskID) String() string {
	return strconv.Itoa(id.Subtopology) + "_" + strconv.Itoa(int(id.Partition))
}

// MarshalText makes a TaskID a JSON string.
func (id TaskID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *TaskID) UnmarshalText(text []byte) error {
	parsed, err := ParseTaskID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// ParseTaskID reads "0_3".
func ParseTaskID(s string) (TaskID, error) {
	sub, part, ok := strings.Cut(s, "_")
	if ok {
		subtopology, err1 := strconv.ParseUint(sub, 10, 31)
		partition, err2 := strconv.ParseUint(part, 10, 31)
		if err1 == nil && err2 == nil {
			return TaskID{Subtopology: int(subtopology), Partition: int32(partition)}, nil
		}
	}
	return TaskID{}, fmt.Errorf("task id %q: must be <sub-topology>_<partition>", s)
}

// compareTaskIDs orders by sub-topology, then partition.
func compareTaskIDs(a, b TaskID) int {
	return cmp.Or(cmp.Compare(a.Subtopology, b.Subtopology), cmp.Compare(a.Partition, b.Partition))
}
