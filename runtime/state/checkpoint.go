package state

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// checkpointFile is the name of a task's checkpoint in its folder.
const checkpointFile = ".checkpoint"

const checkpointVersion = 0

// OffsetUnknown stands in a checkpoint for a store that has a changelog and of which no offset is known. The store is sound all the same.
const OffsetUnknown = -4

// TopicPartition names a changelog partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns the name as Kafka writes it.
func (p TopicPartition) String() string { return p.Topic + "-" + strconv.Itoa(int(p.Partition)) }

// CheckpointOffset returns what a checkpoint says of a store with that position: the offset that was applied last.
func CheckpointOffset(position int64) int64 {
	if position <= 0 {
		return OffsetUnknown
	}
	return position - 1
}

// CheckpointPosition returns the position of a store of which a checkpoint says that, -1 if it does not know.
func CheckpointPosition(offset int64) int64 {
	if offset < 0 {
		return -1
	}
	return offset + 1
}

// ReadCheckpoint returns the offsets in the checkpoint of a task: by changelog partition the one that was applied last, or OffsetUnknown. It is empty
// if there is no checkpoint. Invalid offsets are left out, with a warning. The error is a *CheckpointError if the file cannot be understood.
//
// A checkpoint is for eager stores: those of a task can be trusted if and only if it is there. So it has to be deleted before the first record is processed,
// and to be written after all stores were flushed. Opening a store that is not on disk, or wiping one, deletes it.
func (d *Directory) ReadCheckpoint(task string) (map[TopicPartition]int64, error) {
	if err := validTask(task); err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	path := d.file(task, checkpointFile)
	data, err := d.readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return map[TopicPartition]int64{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint of task %s: %w", task, err)
	}
	offsets, invalid, err := parseCheckpoint(string(data))
	if err != nil {
		return nil, fmt.Errorf("read checkpoint of task %s: %w", task, &CheckpointError{Path: path, Problem: err.Error()})
	}
	if d.config.Warn != nil {
		for _, line := range invalid {
			d.config.Warn(fmt.Sprintf("checkpoint of task %s: line %q has an invalid offset and is left out", task, line))
		}
	}
	return offsets, nil
}

// WriteCheckpoint replaces the checkpoint of a task as a whole, durably. No offsets delete it. The stores have to be flushed before.
func (d *Directory) WriteCheckpoint(task string, offsets map[TopicPartition]int64) error {
	if len(offsets) == 0 {
		return d.DeleteCheckpoint(task)
	}
	data, err := formatCheckpoint(offsets)
	err = errors.Join(validTask(task), err)
	if err == nil {
		err = d.makeFolder(d.file(task))
	}
	if err == nil {
		err = d.writeFile(d.file(task, checkpointFile), data)
	}
	if err != nil {
		return fmt.Errorf("write checkpoint of task %s: %w", task, err)
	}
	return nil
}

// DeleteCheckpoint removes the checkpoint of a task, durably, if there is one.
func (d *Directory) DeleteCheckpoint(task string) error {
	err := validTask(task)
	if err == nil {
		err = d.fs.Remove(d.file(task, checkpointFile))
	}
	// Also what was not found is made durable: it may have been removed by a call that then failed.
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = d.syncFolder(d.file(task))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete checkpoint of task %s: %w", task, err)
	}
	return nil
}

func validOffset(offset int64) bool { return offset >= 0 || offset == OffsetUnknown }

// formatCheckpoint writes the format of Kafka Streams' OffsetCheckpoint: version, number of lines, and in each line topic, partition and offset.
func formatCheckpoint(offsets map[TopicPartition]int64) ([]byte, error) {
	b := fmt.Appendf(nil, "%d\n%d\n", checkpointVersion, len(offsets))
	for _, p := range slices.SortedFunc(maps.Keys(offsets), comparePartitions) {
		if offset := offsets[p]; !validOffset(offset) {
			return nil, fmt.Errorf("offset %d of %s is negative", offset, p)
		}
		if p.Topic == "" || strings.ContainsFunc(p.Topic, isSpace) {
			return nil, fmt.Errorf("topic %q cannot stand in a line", p.Topic)
		}
		if p.Partition < 0 {
			return nil, fmt.Errorf("partition %d of topic %s is negative", p.Partition, p.Topic)
		}
		b = fmt.Appendf(b, "%s %d %d\n", p.Topic, p.Partition, offsets[p])
	}
	return b, nil
}

func comparePartitions(a, b TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// isSpace is what Java's \s matches.
func isSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// parseCheckpoint reads what formatCheckpoint and Kafka Streams write. Invalid are the lines whose offset is none.
func parseCheckpoint(text string) (offsets map[TopicPartition]int64, invalid []string, err error) {
	lines := slices.Collect(strings.Lines(text))
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], "\r\n")
	}
	if len(lines) < 2 {
		return nil, nil, errors.New("it ends prematurely")
	}
	version, err := strconv.ParseInt(lines[0], 10, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("version %q is not a number", lines[0])
	}
	if version != checkpointVersion {
		return nil, nil, fmt.Errorf("unknown version %d", version)
	}
	expected, err := strconv.ParseInt(lines[1], 10, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("number of entries %q is not a number", lines[1])
	}
	offsets = map[TopicPartition]int64{}
	for _, line := range lines[2:] {
		fields := strings.FieldsFunc(line, isSpace)
		if len(fields) != 3 {
			return nil, nil, fmt.Errorf("malformed line %q", line)
		}
		partition, err := strconv.ParseInt(fields[1], 10, 32)
		offset, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err := errors.Join(err, err2); err != nil || partition < 0 {
			return nil, nil, fmt.Errorf("malformed line %q", line)
		}
		if !validOffset(offset) {
			invalid = append(invalid, line)
			expected--
			continue
		}
		offsets[TopicPartition{fields[0], int32(partition)}] = offset
	}
	if int64(len(offsets)) != expected {
		return nil, nil, fmt.Errorf("expected %d entries but found %d", expected, len(offsets))
	}
	return offsets, invalid, nil
}
