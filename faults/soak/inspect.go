package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// needed are the requests that brokers must know, each in a version with what we rely on.
var needed = []struct {
	key     kmsg.Key
	version int16
	only    func(runtime.Guarantee) bool // nil = always
	why     string
}{
	{kmsg.Produce, 3, nil, "records with headers, KIP-82"},
	{kmsg.Fetch, 4, nil, "isolation levels, KIP-98"},
	{kmsg.JoinGroup, 2, nil, "groups with time-outs of their own"},
	{kmsg.OffsetFetch, 0, nil, "committed offsets"},
	{kmsg.CreateTopics, 1, nil, "internal topics"},
	{kmsg.InitProducerID, 0, runtime.Guarantee.Transactional, "transactions, KIP-98"},
	{kmsg.EndTxn, 0, runtime.Guarantee.Transactional, "transactions, KIP-98"},
	{kmsg.OffsetFetch, 7, runtime.Guarantee.Transactional, "stable offsets, KIP-447"},
	{kmsg.TxnOffsetCommit, 3, isV2, "offsets fenced by the group, KIP-447: Kafka 2.5"},
}

// useful are requests without which a run is possible.
var useful = []struct {
	key kmsg.Key
	why string
}{
	{kmsg.DeleteRecords, "repartition topics grow without end"},
	{kmsg.DescribeProducers, "stuck transactions are shown without their producer"},
	{kmsg.ListTransactions, "open transactions are not counted in the report"},
}

func isV2(g runtime.Guarantee) bool { return g == runtime.ExactlyOnceV2 }

// versions asks each broker what it can do.
func (i *inspection) versions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	all, err := i.admin.ApiVersions(ctx)
	if err != nil {
		i.add("brokers", CheckFailed, fmt.Sprintf("do not say what they can do: %v", err), "")
		return
	}
	var silent []string
	answered := kadm.BrokersApiVersions{}
	for _, v := range all.Sorted() {
		if v.Err != nil {
			silent = append(silent, fmt.Sprintf("%d (%v)", v.NodeID, v.Err))
			continue
		}
		answered[v.NodeID] = v
	}
	found := fmt.Sprintf("%d, cluster %s, Kafka %s", len(all), i.id, strings.TrimPrefix(i.version, "v"))
	switch {
	case len(answered) == 0:
		i.add("brokers", CheckFailed, "none can be reached where the cluster says it is: "+strings.Join(silent, ", "), "see advertised.listeners of the brokers")
		return
	case len(silent) > 0:
		i.add("brokers", CheckWarning, found+"; silent: "+strings.Join(silent, ", "), "start them, or see their advertised.listeners")
	default:
		i.add("brokers", CheckOK, found, "")
	}
	var missing, missed []string
	guarantee := runtime.Guarantee(i.cfg.Runtime.Guarantee)
	knows := func(key kmsg.Key, version int16) bool {
		for _, v := range answered {
			if have, ok := v.KeyMaxVersion(int16(key)); !ok || have < version {
				return false
			}
		}
		return true
	}
	for _, n := range needed {
		if (n.only == nil || n.only(guarantee)) && !knows(n.key, n.version) {
			missing = append(missing, fmt.Sprintf("%s %d (%s)", n.key.Name(), n.version, n.why))
		}
	}
	for _, u := range useful {
		if !knows(u.key, 0) {
			missed = append(missed, fmt.Sprintf("no %s: %s", u.key.Name(), u.why))
		}
	}
	switch {
	case len(missing) > 0:
		advice := "use newer brokers"
		if isV2(guarantee) {
			advice += ", or another --guarantee"
		}
		i.add("requests", CheckFailed, "unknown to the brokers: "+strings.Join(missing, ", "), advice)
	case len(missed) > 0:
		i.add("requests", CheckWarning, strings.Join(missed, "; "), "use newer brokers")
	default:
		i.add("requests", CheckOK, "all that are needed", "")
	}
	if guarantee.Transactional() {
		i.add("transaction protocol", CheckOK, transactionVersion(answered), "")
	}
}

// secrecy warns where everybody on the way reads the password.
func (i *inspection) secrecy() {
	if i.settings.SASL.Mechanism == mechanismPlain && !i.settings.TLS.Enabled {
		i.add("password", CheckWarning, "PLAIN without TLS sends it in the clear", "set cluster.tls.enabled and use a listener with TLS, or use SCRAM")
	}
}

// transactionVersion says which transaction protocol the cluster has finalized.
func transactionVersion(all kadm.BrokersApiVersions) string {
	for _, v := range all {
		for _, f := range v.Raw().FinalizedFeatures {
			if f.Name == "transaction.version" && f.MaxVersionLevel >= 2 {
				return fmt.Sprintf("transaction.version %d: each transaction has an epoch of its own (KIP-890)", f.MaxVersionLevel)
			}
			if f.Name == "transaction.version" {
				return fmt.Sprintf("transaction.version %d: producers keep their epoch", f.MaxVersionLevel)
			}
		}
	}
	return "no transaction.version: producers keep their epoch"
}

// brokerSettings reads the settings of the brokers; nil where we may not.
func (i *inspection) brokerSettings(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	meta, err := i.admin.BrokerMetadata(ctx)
	if err != nil || len(meta.Brokers) == 0 {
		return nil
	}
	described, err := i.admin.DescribeBrokerConfigs(ctx, meta.Brokers.NodeIDs()[0])
	if err != nil || len(described) != 1 || described[0].Err != nil {
		i.add("broker settings", CheckUnknown, "they are not shown to us", "allow DESCRIBE_CONFIGS on the cluster to have limits checked beforehand")
		return nil
	}
	settings := map[string]string{}
	for _, c := range described[0].Configs {
		settings[c.Key] = c.MaybeValue()
	}
	return settings
}

// limit returns a setting in milliseconds.
func limit(settings map[string]string, key string) (time.Duration, bool) {
	n, err := strconv.ParseInt(settings[key], 10, 64)
	return time.Duration(n) * time.Millisecond, err == nil
}

// transactions tries whether we may use a transactional id, with the time-out that a run will ask for. The id begins as those
// of a run do; nothing is ever written under it.
func (i *inspection) transactions(ctx context.Context, settings map[string]string) {
	if !runtime.Guarantee(i.cfg.Runtime.Guarantee).Transactional() {
		return
	}
	wanted := i.cfg.Runtime.TransactionTimeout
	found := formatDuration(wanted)
	highest, known := limit(settings, "transaction.max.timeout.ms")
	if known {
		found += ", valid: up to " + formatDuration(highest)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	id := i.cfg.Application.ID + "-check"
	request := kmsg.NewPtrInitProducerIDRequest()
	request.TransactionalID, request.TransactionTimeoutMillis = &id, int32(wanted.Milliseconds())
	request.ProducerID, request.ProducerEpoch = -1, -1
	response, err := request.RequestWith(ctx, i.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	switch {
	case err == nil, errors.Is(err, kerr.ConcurrentTransactions): // another check at this moment
		i.add("transactions", CheckOK, "allowed with ids "+i.cfg.Application.ID+"-..", "")
		i.add("transaction time-out", CheckOK, found, "")
	case errors.Is(err, kerr.InvalidTransactionTimeout), !isAnswer(err) && known && wanted > highest:
		i.add("transaction time-out", CheckFailed, fmt.Sprintf("%s is more than the brokers take: %v", found, err),
			"lower runtime.transaction_timeout, or raise transaction.max.timeout.ms of the brokers")
	case isRefused(err):
		i.add("transactions", CheckFailed, fmt.Sprintf("not allowed with id %s: %v", id, err),
			fmt.Sprintf("allow WRITE on transactional ids with prefix %s-", i.cfg.Application.ID))
	default:
		i.add("transactions", CheckUnknown, fmt.Sprintf("the coordinator does not answer: %v", err),
			"a new cluster needs some seconds; else see __transaction_state and transaction.state.log.replication.factor")
	}
}

// group tries to join the group as a member that it does not know, with the time-outs of a run. The answer says whether
// we would be let in; nobody becomes a member by it.
func (i *inspection) group(ctx context.Context, settings map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	wanted := i.cfg.Runtime.SessionTimeout
	found := formatDuration(wanted)
	lowest, ok1 := limit(settings, "group.min.session.timeout.ms")
	highest, ok2 := limit(settings, "group.max.session.timeout.ms")
	if ok1 && ok2 {
		found += fmt.Sprintf(", valid: %s to %s", formatDuration(lowest), formatDuration(highest))
	}
	request := kmsg.NewPtrJoinGroupRequest()
	request.Group, request.MemberID, request.ProtocolType = i.cfg.Application.ID, "eostop-check", "consumer"
	request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = int32(wanted.Milliseconds()), int32(i.cfg.Runtime.RebalanceTimeout.Milliseconds())
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "stream"
	request.Protocols = append(request.Protocols, protocol)
	response, err := request.RequestWith(ctx, i.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	name := "group " + i.cfg.Application.ID
	switch {
	case err == nil, errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.MemberIDRequired), errors.Is(err, kerr.RebalanceInProgress):
		i.add(name, CheckOK, "may be joined", "")
		i.add("session time-out", CheckOK, found, "")
	case errors.Is(err, kerr.InvalidSessionTimeout):
		i.add("session time-out", CheckFailed, fmt.Sprintf("the brokers refuse %s", found),
			"change runtime.session_timeout, or group.min.session.timeout.ms and group.max.session.timeout.ms of the brokers")
	case errors.Is(err, kerr.InconsistentGroupProtocol), errors.Is(err, kerr.GroupIDNotFound):
		i.add(name, CheckFailed, fmt.Sprintf("belongs to an application of another kind: %v", err), "stop that one, or choose another --application-id")
	case isRefused(err):
		i.add(name, CheckFailed, fmt.Sprintf("may not be joined: %v", err), "allow READ on group "+i.cfg.Application.ID)
	default:
		i.add(name, CheckUnknown, fmt.Sprintf("the coordinator does not answer: %v", err),
			"a new cluster needs some seconds; else see __consumer_offsets and offsets.topic.replication.factor")
	}
}

// replicas compares the settings of the brokers with what keeps acknowledged records when a broker is lost.
func (i *inspection) replicas(settings map[string]string) {
	factor, configs := i.replication()
	text := fmt.Sprintf("%d for new topics, %d brokers", factor, i.nodes)
	switch {
	case factor < 0:
		i.add("replication", CheckOK, fmt.Sprintf("left to the cluster (default.replication.factor %s)", settings["default.replication.factor"]), "")
	case int(factor) > i.nodes:
		i.add("replication", CheckFailed, text, "set cluster.replication_factor to at most the number of brokers, or 0")
	case factor == 1:
		i.add("replication", CheckWarning, text, "a lost broker takes data with it; have three brokers for more than a test")
	default:
		i.add("replication", CheckOK, text+", min.insync.replicas "+configs["min.insync.replicas"], "")
	}
	if settings == nil {
		return
	}
	var weak []string
	for _, log := range []struct{ name, factor, inSync string }{
		{"__transaction_state", "transaction.state.log.replication.factor", "transaction.state.log.min.isr"},
		{"__consumer_offsets", "offsets.topic.replication.factor", ""},
	} {
		n, err := strconv.Atoi(settings[log.factor])
		if err != nil {
			continue
		}
		inSync, err := strconv.Atoi(settings[log.inSync])
		if err != nil {
			inSync = 1
		}
		switch {
		case n > i.nodes:
			weak = append(weak, fmt.Sprintf("%s wants %d replicas, and there are %d brokers", log.name, n, i.nodes))
		case i.nodes > 1 && n == 1:
			weak = append(weak, fmt.Sprintf("%s has one replica (%s)", log.name, log.factor))
		case n > 1 && inSync == n:
			weak = append(weak, fmt.Sprintf("%s stops with one broker (%s is %d of %d)", log.name, log.inSync, inSync, n))
		}
	}
	if settings["unclean.leader.election.enable"] == "true" {
		weak = append(weak, "unclean.leader.election.enable: acknowledged records may be lost")
	}
	if len(weak) > 0 {
		i.add("durability", CheckWarning, strings.Join(weak, "; "), "change the settings of the brokers")
		return
	}
	i.add("durability", CheckOK, "transactions and offsets are as safe as the number of brokers allows", "")
}

// sortedKeys returns the keys of a map in their order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
