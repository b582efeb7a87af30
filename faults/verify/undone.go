package verify

// undone remembers records of transactions that were aborted, as far as something may have gone wrong with them. It remembers a
// bounded number of them, the newest.
type undone struct {
	names map[owedName]string // to topic-partition@offset
	order []owedName          // a ring
	next  int
}

// maxUndone is how many are remembered.
const maxUndone = 1 << 14

// inputStream stands for the input in the names of what is undone.
const inputStream = -1

func (u *undone) add(name owedName, where string) {
	if u.names == nil {
		u.names = make(map[owedName]string)
	}
	if _, ok := u.names[name]; ok {
		u.names[name] = where
		return
	}
	if len(u.order) < maxUndone {
		u.order = append(u.order, name)
	} else {
		delete(u.names, u.order[u.next])
		u.order[u.next] = name
		u.next = (u.next + 1) % maxUndone
	}
	u.names[name] = where
}

// abortedInput notes an input that was aborted: no output may be made of it.
func (t *tracker) abortedInput(origin Provenance, partition int32, offset int64) {
	t.undone.add(inputOrigin(origin), t.inputName(partition, offset))
}

// abortedOutput notes an output that was aborted: the input will be processed again.
func (t *tracker) abortedOutput(o *outputRecord) {
	name := owedName{o.provenance.Partition, int32(o.stream), noUnit, o.provenance.Run, o.provenance.Sequence}
	if t.splits {
		if int(o.provenance.Partition) >= len(t.backlogs) {
			return
		}
		var ok bool
		if name.unit, ok = t.model.Unit(o.stream, o.provenance.Partition, o.key); !ok {
			return
		}
	}
	t.undone.add(name, t.outputName(o))
}

// ofAborted reports an output that was made of an input that was aborted; it returns false if none such is known.
func (t *tracker) ofAborted(o *outputRecord) bool {
	input, ok := t.undone.names[inputOrigin(o.provenance)]
	if ok {
		t.report(KindAbortedRead, o, input, "the input was aborted")
	}
	return ok
}

func inputOrigin(origin Provenance) owedName {
	return owedName{partition: origin.Partition, stream: inputStream, unit: noUnit, run: origin.Run, seq: origin.Sequence}
}

// zombie reports an output that was committed although its producer had been fenced.
func (t *tracker) zombie(o *outputRecord) {
	var input string
	if o.hasHeader && int(o.provenance.Partition) < len(t.backlogs) {
		input = t.originName(o.provenance)
	}
	t.report(KindZombieWrite, o, input, "its producer was known under a later epoch before")
}
