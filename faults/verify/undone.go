package verify

// undone remembers records of transactions that were aborted, as far as something may have gone wrong with them, by their places
// (topic-partition@offset).
type undone = remembered[owedName, string]

// inputStream stands for the input in the names of what is undone.
const inputStream = -1

// abortedInput notes an input that was aborted: no output may be made of it.
func (t *tracker) abortedInput(origin Provenance, partition int32, offset int64) {
	t.undone.put(inputOrigin(origin), t.inputName(partition, offset))
}

// abortedOutput notes an output that was aborted: the input will be processed again.
func (t *tracker) abortedOutput(o *outputRecord) {
	if name, ok := t.nameOf(o.stream, o.provenance, o.key); ok {
		t.undone.put(name, t.outputName(o))
	}
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
	t.report(KindZombieWrite, o, t.nameOfInput(o), "its producer was known under a later epoch before")
}
