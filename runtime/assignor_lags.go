package runtime

import (
	"context"
	"fmt"
	"time"
)

// memberOffsets are what a member has said about the state on its process's disk, by task: an offset sum, latestOffset or
// unknownOffset.
type memberOffsets map[TaskID]int64

// offsetsOf reads a subscription. That a task runs counts only where the member owns it in the newest generation: what a member
// ran that has missed a generation may have gone on elsewhere.
func offsetsOf(sub *subscription, owned []TaskID) memberOffsets {
	offsets := memberOffsets{}
	for name, sum := range sub.Stored {
		id, err := ParseTaskID(name)
		if err != nil {
			continue
		}
		if sub.Version < 2 || sum < latestOffset {
			sum = unknownOffset
		}
		offsets[id] = sum
	}
	for _, id := range owned {
		if _, ok := offsets[id]; !ok {
			offsets[id] = unknownOffset
		}
	}
	return offsets
}

// offsetsByProcess merges what the members of each process have said: they share its disk, but have looked at different times. A
// task that a member of the process says it runs, and nobody of the process owns, is one of unknown extent.
func offsetsByProcess(members []assignee, offsets []memberOffsets) map[string]memberOffsets {
	owned := map[string]map[TaskID]bool{}
	for _, m := range members {
		if owned[m.process] == nil {
			owned[m.process] = map[TaskID]bool{}
		}
		for _, id := range m.owned {
			owned[m.process][id] = true
		}
	}
	merged := map[string]memberOffsets{}
	for i, m := range members {
		at := merged[m.process]
		if at == nil {
			at = memberOffsets{}
			merged[m.process] = at
		}
		for id, sum := range offsets[i] {
			if sum == latestOffset && !owned[m.process][id] {
				sum = unknownOffset
			}
			have, ok := at[id]
			switch {
			case !ok || sum == latestOffset:
				at[id] = sum
			case have != latestOffset:
				at[id] = max(have, sum)
			}
		}
	}
	return merged
}

// changelogEnds are the sums of the first and the last offsets of a task's changelogs.
type changelogEnds struct{ start, end int64 }

// lagsFrom works out how many records each process has to restore: the difference between the end of the changelogs and its own
// position, or all there is where nobody knows the position or it cannot be right.
func lagsFrom(offsets map[string]memberOffsets, ends map[TaskID]changelogEnds) (lags map[string]map[TaskID]int64, whole map[TaskID]int64) {
	lags, whole = map[string]map[TaskID]int64{}, map[TaskID]int64{}
	for id, e := range ends {
		whole[id] = e.end - e.start
	}
	for process, sums := range offsets {
		lags[process] = map[TaskID]int64{}
		for id, sum := range sums {
			e, known := ends[id]
			switch {
			case sum == latestOffset:
				lags[process][id] = 0
			case !known:
				lags[process][id] = unknownLag // not a task with changelogs
			case sum < 0 || sum > e.end:
				lags[process][id] = whole[id]
			default:
				lags[process][id] = e.end - max(sum, e.start)
			}
		}
	}
	return lags, whole
}

// lagsAmong compares processes with each other where the ends of the changelogs are not known: one that runs a task lags by
// nothing, the others by what the foremost of them has more.
func lagsAmong(offsets map[string]memberOffsets) map[string]map[TaskID]int64 {
	most := map[TaskID]int64{}
	for _, sums := range offsets {
		for id, sum := range sums {
			most[id] = max(most[id], sum)
		}
	}
	lags := map[string]map[TaskID]int64{}
	for process, sums := range offsets {
		lags[process] = map[TaskID]int64{}
		for id, sum := range sums {
			switch {
			case sum == latestOffset:
				lags[process][id] = 0
			case sum < 0:
				lags[process][id] = most[id] + 1 // as if there were nothing
			default:
				lags[process][id] = most[id] - sum + 1
			}
		}
	}
	return lags
}

// endsLimit is how long the leader may take to list the ends of the changelogs; the members wait for it. endsRetry is the pause after
// an error that passes, as for topics that are so new that the metadata does not know them yet.
const (
	endsLimit = 3 * time.Second
	endsRetry = 100 * time.Millisecond
)

// changelogEnds lists the ends of the changelogs of stateful tasks. Topics that this rebalance has created are empty, and need
// not be known to all brokers yet.
func (p *program) changelogEnds(ctx context.Context, adm *admin, tasks []assignorTask, created map[string]bool) (map[TaskID]changelogEnds, error) {
	var partitions []topicPartition
	for _, t := range tasks {
		for _, tp := range p.changelogs(t.id) {
			if !created[tp.topic] {
				partitions = append(partitions, tp)
			}
		}
	}
	bounds, err := boundsOf(ctx, adm, partitions)
	if err != nil {
		return nil, fmt.Errorf("list ends of changelogs: %w", err)
	}
	ends := map[TaskID]changelogEnds{}
	for _, t := range tasks {
		if !t.stateful {
			continue
		}
		var sum changelogEnds
		for _, tp := range p.changelogs(t.id) {
			sum.start += bounds[tp].start
			sum.end += bounds[tp].end
		}
		ends[t.id] = sum
	}
	return ends, nil
}

// boundsOf lists the bounds of logs, once more after errors that pass, until endsLimit is over.
func boundsOf(ctx context.Context, adm *admin, partitions []topicPartition) (map[topicPartition]logBounds, error) {
	ctx, cancel := context.WithTimeout(ctx, endsLimit)
	defer cancel()
	for {
		bounds, err := adm.logBounds(ctx, partitions)
		if class, _ := Classify(err); err == nil || class != Retriable {
			return bounds, err
		}
		pause := time.NewTimer(endsRetry)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, err
		}
	}
}
