package faults_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"eostop/faults"
)

func TestClientSeesTheCode(t *testing.T) {
	topics := func(partitions ...int32) []kmsg.AddPartitionsToTxnRequestTopic {
		return []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "out", Partitions: partitions}}
	}
	requests := map[string]func() kmsg.Request{
		"Produce": func() kmsg.Request {
			req := kmsg.NewPtrProduceRequest()
			req.Acks, req.TransactionID = -1, new("app-p1-1")
			req.Topics = []kmsg.ProduceRequestTopic{{Topic: "out", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 1}}}}
			return req
		},
		"AddPartitionsToTxn": func() kmsg.Request {
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.TransactionalID, req.Topics = "app-p1-1", topics(0, 1)
			return req
		},
		"AddOffsetsToTxn": func() kmsg.Request {
			req := kmsg.NewPtrAddOffsetsToTxnRequest()
			req.TransactionalID, req.Group = "app-p1-1", "app"
			return req
		},
		"TxnOffsetCommit": func() kmsg.Request {
			req := kmsg.NewPtrTxnOffsetCommitRequest()
			req.TransactionalID, req.Group = "app-p1-1", "app"
			req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "out", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: 1}}}}
			return req
		},
		"EndTxn": func() kmsg.Request {
			req := kmsg.NewPtrEndTxnRequest()
			req.TransactionalID = "app-p1-1"
			return req
		},
		"InitProducerID": func() kmsg.Request {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.TransactionalID, req.TransactionTimeoutMillis = new("app-p1-1"), 10_000
			return req
		},
		"JoinGroup":   joinGroup,
		"SyncGroup":   func() kmsg.Request { req := kmsg.NewPtrSyncGroupRequest(); req.Group = "app"; return req },
		"Heartbeat":   func() kmsg.Request { req := kmsg.NewPtrHeartbeatRequest(); req.Group = "app"; return req },
		"LeaveGroup":  func() kmsg.Request { req := kmsg.NewPtrLeaveGroupRequest(); req.Group = "app"; return req },
		"OffsetFetch": offsetFetch,
		"OffsetCommit": func() kmsg.Request {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.Generation = "app", -1
			req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "out", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0}}}}
			return req
		},
		"FindCoordinator": func() kmsg.Request {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKey, req.CoordinatorKeys, req.CoordinatorType = "app-p1-1", []string{"app-p1-1"}, 1
			return req
		},
		"ListOffsets": func() kmsg.Request {
			req := kmsg.NewPtrListOffsetsRequest()
			req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "out", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 0}}}}
			return req
		},
		"Fetch": func() kmsg.Request {
			req := kmsg.NewPtrFetchRequest()
			req.MaxBytes, req.SessionEpoch = 1000, -1
			req.Topics = []kmsg.FetchRequestTopic{{Topic: "out", Partitions: []kmsg.FetchRequestTopicPartition{{PartitionMaxBytes: 1000}}}}
			return req
		},
		"Metadata": func() kmsg.Request {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: new("out")}}
			return req
		},
		"DeleteRecords": func() kmsg.Request {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "out", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0}}}}
			return req
		},
	}
	for _, versions := range []*kversion.Versions{kversion.V2_4_0(), kversion.V3_0_0(), kversion.V3_7_0(), kversion.Stable()} {
		clustered(t, []kfake.Opt{kfake.MaxVersions(versions)}, func(c *cluster) {
			client := c.client(producerID)
			for name, request := range requests {
				for _, action := range []faults.Action{faults.Reject, faults.Rewrite} {
					id := c.add(faults.Rule{APIs: []string{name}, Action: action, Code: invalidTxnState})
					resp, err := client.Broker(0).Request(c.Context(), request())
					if err != nil {
						t.Fatalf("%s %s: %v", action, name, err)
					}
					found := codesOf(reflect.ValueOf(resp), 0)
					if !slices.Contains(found, invalidTxnState) {
						t.Errorf("%s %s version %d: the client sees %v", action, name, resp.GetVersion(), found)
					}
					if hit := <-c.hits; hit.API != name || hit.Version != resp.GetVersion() {
						t.Errorf("hit %+v", hit)
					}
					c.rules.Remove(id)
				}
			}
		})
	}
}

func joinGroup() kmsg.Request {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "app", "consumer", 10_000, 10_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "stream"}}
	return req
}

func offsetFetch() kmsg.Request {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = "app"
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "out", Partitions: []int32{0}}}
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "app", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "out", Partitions: []int32{0}}}}}
	return req
}

// What a transactional producer makes of a code, where it comes from the broker's place.
func TestTransactionSeesTheCode(t *testing.T) {
	for name, test := range map[string]struct {
		api, versions string
		step          string // at which the error shows
	}{
		"init":           {"InitProducerID", "3.7", "init"},
		"produce":        {"Produce", "3.7", "produce"},
		"add partitions": {"AddPartitionsToTxn", "3.7", "produce"},
		"add offsets":    {"AddOffsetsToTxn", "3.7", "offsets"},
		"offsets":        {"TxnOffsetCommit", "3.7", "offsets"},
		"end":            {"EndTxn", "3.7", "end"},
		"produce, new":   {"Produce", "4.0", "produce"},
		"offsets, new":   {"TxnOffsetCommit", "4.0", "offsets"},
		"end, new":       {"EndTxn", "4.0", "end"},
	} {
		for _, action := range []faults.Action{faults.Reject, faults.Rewrite} {
			t.Run(fmt.Sprintf("%s %s", action, name), func(t *testing.T) {
				clustered(t, []kfake.Opt{kfake.MaxVersions(kversion.FromString(test.versions))}, func(c *cluster) {
					c.add(faults.Rule{APIs: []string{test.api}, Action: action, Code: invalidTxnState, Count: 1})
					step, err := c.transaction()
					if step != test.step || !errors.Is(err, kerr.InvalidTxnState) {
						t.Errorf("the error is %v at %q, want INVALID_TXN_STATE at %q", err, step, test.step)
					}
					if hit := <-c.hits; !slices.Equal(hit.TransactionalIDs, []string{"app-p1-1"}) {
						t.Errorf("hit %+v", hit)
					}
				})
			})
		}
	}
}
