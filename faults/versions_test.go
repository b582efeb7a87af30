package faults_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"eostop/faults"
)

// invalidTxnState is a code that random messages do not have.
const invalidTxnState, producerFenced, unknownServerError = 48, 90, -1

// pieces writes b in random pieces.
func pieces(c net.Conn, b []byte, rnd *rand.Rand) <-chan result {
	return run(func() (n int, err error) {
		for len(b) > 0 && err == nil {
			m := 1 + rnd.IntN(len(b))
			if rnd.IntN(3) == 0 {
				m = 1 + rnd.IntN(min(20, len(b)))
			}
			if m, err = c.Write(b[:m]); err == nil {
				b = b[m:]
			}
			n += m
		}
		return n, err
	})
}

func TestRewriteEveryVersion(t *testing.T) {
	wired(t, func(w *wire) {
		correlation := int32(0)
		everyVersion(t, func(req kmsg.Request, resp kmsg.Response, rnd *rand.Rand) {
			correlation++
			request, response := requestFrame(req, correlation, "i1-StreamThread-1-producer"), responseFrame(resp, correlation)
			name := kmsg.NameForKey(req.Key())
			id := w.add(faults.Rule{APIs: []string{name}, Action: faults.Rewrite, Code: invalidTxnState})
			before := codesOf(reflect.ValueOf(resp), 0)
			codesOf(reflect.ValueOf(resp), invalidTxnState)
			want := responseFrame(resp, correlation)
			hits := 1
			if bytes.Equal(want, response) { // this version has no error code
				want, hits = response, 0
			}
			sent := pieces(w.client, request, rand.New(rand.NewPCG(rnd.Uint64(), 1)))
			w.gets(w.broker, request)
			answered := pieces(w.broker, response, rand.New(rand.NewPCG(rnd.Uint64(), 2)))
			w.gets(w.client, want)
			<-sent
			<-answered
			synctest.Wait()
			if n := w.rules.Hits(id); n != hits {
				t.Errorf("%d hits, want %d; the codes were %v", n, hits, before)
			}
			w.rules.Remove(id)
		})
	})
}

func TestRejectEveryVersion(t *testing.T) {
	// What clients of the group and the transactions use must be possible; for others it need not be.
	must := map[kmsg.Key]bool{
		kmsg.Produce: true, kmsg.Fetch: true, kmsg.ListOffsets: true, kmsg.Metadata: true, kmsg.OffsetCommit: true, kmsg.OffsetFetch: true,
		kmsg.FindCoordinator: true, kmsg.JoinGroup: true, kmsg.Heartbeat: true, kmsg.LeaveGroup: true, kmsg.SyncGroup: true,
		kmsg.DescribeGroups: true, kmsg.ListGroups: true, kmsg.CreateTopics: true, kmsg.DeleteTopics: true, kmsg.DeleteRecords: true,
		kmsg.InitProducerID: true, kmsg.OffsetForLeaderEpoch: true, kmsg.AddPartitionsToTxn: true, kmsg.AddOffsetsToTxn: true,
		kmsg.EndTxn: true, kmsg.TxnOffsetCommit: true, kmsg.DescribeConfigs: true, kmsg.CreatePartitions: true, kmsg.DeleteGroups: true,
		kmsg.OffsetDelete: true, kmsg.DescribeProducers: true, kmsg.DescribeTransactions: true, kmsg.ListTransactions: true,
		kmsg.ConsumerGroupHeartbeat: true, kmsg.ConsumerGroupDescribe: true, kmsg.DescribeCluster: true,
	}
	wired(t, func(w *wire) {
		correlation := int32(0)
		everyVersion(t, func(req kmsg.Request, _ kmsg.Response, rnd *rand.Rand) {
			correlation++
			name := kmsg.NameForKey(req.Key())
			id := w.add(faults.Rule{APIs: []string{name}, Action: faults.Reject, Code: producerFenced})
			defer w.rules.Remove(id)
			request := requestFrame(req, correlation, "i1-admin")
			sent := pieces(w.client, request, rnd)
			synctest.Wait()
			if w.rules.Hits(id) == 0 {
				if must[kmsg.Key(req.Key())] {
					t.Errorf("version %d of %s cannot be rejected", req.GetVersion(), name)
				}
				w.gets(w.broker, request)
				<-sent
				answer := responseFrame(kmsg.ResponseForKey(req.Key()), correlation)
				w.send(answer)
				w.gets(w.client, answer)
				return
			}
			<-sent
			resp := req.ResponseKind()
			var head []byte
			readFrame(w, &head)
			body := head[8:]
			if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
				body = body[1:]
			}
			if err := resp.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(responseFrame(resp, correlation), head) {
				t.Error("the answer is not as a broker would write it")
			}
			// Each code that the version has is the one asked for: setting them again changes nothing.
			codesOf(reflect.ValueOf(resp), producerFenced)
			if !bytes.Equal(responseFrame(resp, correlation), head) {
				t.Error("a code is missing")
			}
			asked := subjects(reflect.ValueOf(again(t, req)), "")
			// A response without lists, like that of a group's heartbeat, is about the request as a whole.
			if answered := subjects(reflect.ValueOf(resp), ""); must[kmsg.Key(req.Key())] && len(answered) > 0 && !slices.Equal(asked, answered) {
				t.Errorf("asked for %q, answered %q", asked, answered)
			}
		})
		w.silent(w.broker)
	})
}

// readFrame reads what follows the correlation id as well.
func readFrame(w *wire, frame *[]byte) {
	w.Helper()
	*frame = make([]byte, 4)
	_ = w.client.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(w.client, *frame); err != nil {
		w.Fatal(err)
	}
	*frame = append(*frame, make([]byte, binary.BigEndian.Uint32(*frame))...)
	if _, err := io.ReadFull(w.client, (*frame)[4:]); err != nil {
		w.Fatal(err)
	}
}

// again returns a message as its version has it: without what only other versions have.
func again(t *testing.T, req kmsg.Request) kmsg.Request {
	t.Helper()
	copied := kmsg.RequestForKey(req.Key())
	copied.SetVersion(req.GetVersion())
	if err := copied.ReadFrom(req.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// subjects lists what a message is about: topics with their partitions, groups, members and so on.
func subjects(v reflect.Value, path string) (list []string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			list = subjects(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			element := v.Index(i)
			if k := element.Kind(); k == reflect.String || k == reflect.Int32 {
				list = append(list, fmt.Sprint(path, "/", element.Interface()))
				continue
			}
			own := path
			for _, name := range []string{"Topic", "TopicID", "Partition", "Group", "Key", "TransactionalID", "MemberID", "ResourceName"} {
				if name == "MemberID" && !strings.HasSuffix(element.Type().Name(), "Member") {
					continue
				}
				if f := element.FieldByName(name); f.IsValid() && (name == "Partition" || !f.IsZero()) {
					if f.Kind() == reflect.Pointer && !f.IsNil() {
						f = f.Elem()
					}
					own += fmt.Sprint("/", f.Interface())
				}
			}
			if below := subjects(element, own); len(below) > 0 {
				list = append(list, below...)
			} else {
				list = append(list, own)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch v.Type().Field(i).Name {
			case "Topics", "TopicNames", "Partitions", "Groups", "Coordinators", "CoordinatorKeys", "Members", "Transactions",
				"TransactionStates", "TransactionalIDs", "Resources":
				list = append(list, subjects(v.Field(i), path)...)
			}
		}
	default:
	}
	return list
}
