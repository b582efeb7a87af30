package verify

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// maxExpelled bounds how many transactional ids are remembered, and how many writes wait to be proved.
const maxExpelled = 1000

// members are those of the group in a look.
type members struct {
	stable      bool
	generations map[string]int32    // by member id: the generation that it was in when it joined the present one (KIP-792)
	newest      int32               // of these
	ids         map[string]struct{} // transactional ids that they announce
}

// expelled finds what members have committed after they were expelled: a transaction that was begun and committed while its transactional id was
// in nobody's subscription.
//
// Its begin is after a look at a stable group, for it lies behind the ends of the logs as of then. Its end is before another look, for its
// marker was read by then. A member has to have joined to commit offsets, and it commits them between the two. If both looks
// show the same members, each with the generation that it had come from, there was no rebalance between them: it would have had all of
// them join anew, from a later one. If the later look is at a group that rebalances, the first one at a stable group after it must show that
// it was the only rebalance: then nobody has come from a later generation than that of the first look, which is the one after
// those that its members had come from. Whoever has joined by then was no member at the time of the later look.
//
// What is between two looks that prove nothing is not judged: a member that comes back soon after its expulsion is not always seen.
type expelled struct {
	ids       map[string]struct{} // all that were ever announced
	since     *look               // at a stable group; nil = none
	producers map[int64]string    // of those who were not in it
	writes    []Witness           // committed since then, not proved yet
	joining   int                 // how many of these were read before a look at a group that rebalances; negative = there was none
}

// askGroup asks who is in the group, and whose producers were. Of a group that does not answer it returns nil.
func (v *Verifier) askGroup(ctx context.Context) (*members, map[int64]string) {
	if v.config.TransactionalIDs == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	groups, err := v.reader.admin.DescribeGroups(ctx, v.config.Group)
	group := groups[v.config.Group]
	if err != nil || group.Err != nil {
		return nil, nil
	}
	m := &members{stable: group.State == "Stable" && len(group.Members) > 0, generations: make(map[string]int32), newest: -1, ids: make(map[string]struct{})}
	if !m.stable {
		return m, nil // a group that rebalances does not say what its members announce
	}
	for i := range group.Members {
		joined, ok := group.Members[i].Join.AsConsumer()
		if !ok || joined.Version < 2 { // it says no generation
			return nil, nil
		}
		m.generations[group.Members[i].MemberID] = joined.Generation
		m.newest = max(m.newest, joined.Generation)
		for _, id := range v.config.TransactionalIDs(joined.UserData) {
			m.ids[id] = struct{}{}
		}
	}
	var gone []string
	for id := range v.expelled.ids { // the owner goroutine changes them only while no look is under way
		if _, ok := m.ids[id]; !ok {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return m, nil
	}
	described, err := v.reader.admin.DescribeTransactions(ctx, gone...)
	if err != nil {
		return m, nil // whose writes are whose stays unknown
	}
	producers := make(map[int64]string)
	for _, d := range described {
		if d.Err == nil && d.ProducerID >= 0 {
			producers[d.ProducerID] = d.TxnID
		}
	}
	return m, producers
}

// judgeExpelled puts what was written in order by a look.
func (v *Verifier) judgeExpelled(l *look) {
	x := &v.expelled
	if l.group != nil {
		for id := range l.group.ids {
			if x.ids == nil || len(x.ids) >= maxExpelled {
				x.ids = make(map[string]struct{})
			}
			x.ids[id] = struct{}{}
		}
	}
	switch since := x.since; {
	case l.group == nil:
		x.begin(nil)
	case since == nil:
		x.begin(l)
	case !l.group.stable:
		x.joining = max(x.joining, l.writes)
	case maps.Equal(since.group.generations, l.group.generations):
		v.proveExpelled(l.writes)
		maps.Copy(x.producers, l.expelled)
	default:
		if l.group.newest == since.group.newest+1 {
			v.proveExpelled(x.joining)
		}
		x.begin(l)
	}
}

// begin forgets what cannot be proved any more, and begins anew with a look if it is at a stable group.
func (x *expelled) begin(l *look) {
	x.since, x.producers, x.writes, x.joining = nil, nil, nil, -1
	// Where somebody was expelled there is somebody who has stayed, and has come from a generation.
	if l != nil && l.group.stable && l.group.newest >= 0 && l.ends != nil {
		x.since, x.producers = l, make(map[int64]string)
		maps.Copy(x.producers, l.expelled)
	}
}

// note notes an output that somebody has committed who was not in the group when it was last seen; it tells whether it is such.
func (x *expelled) note(rec *logRecord, input func() string) bool {
	id, ok := x.producers[rec.ProducerID]
	if !ok || rec.begin < x.since.ends[rec.Topic][rec.Partition] || rec.Offset != rec.begin || len(x.writes) == maxExpelled {
		return false
	}
	x.writes = append(x.writes, Witness{
		Kind: KindZombieWrite, Input: input(), Outputs: []string{placeName(rec.Topic, rec.Partition, rec.Offset)},
		Transaction: fmt.Sprintf("%s (%s)", id, writerName(rec.Record)), At: time.Now(),
		Detail: fmt.Sprintf("its transaction was begun and committed while no member of the group had announced the id %s: its member had been expelled", id),
	})
	return true
}

// proveExpelled reports the first so many of the writes of expelled members.
func (v *Verifier) proveExpelled(n int) {
	x := &v.expelled
	for i := range max(0, n) {
		v.judge.add(x.writes[i])
	}
	x.writes = x.writes[max(0, n):]
	x.joining = -1
}
