package soak

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hindranceEvery is how often brokers are asked what keeps the threads from running.
const hindranceEvery = time.Second

// hindrance asks the brokers, once and without trying again as clients do, whether the coordinators that the application needs are
// there: a cluster that has just begun takes seconds. It is empty if they are, or if nobody says that they are not.
func (s *Session) hindrance(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, hindranceEvery)
	defer cancel()
	id := s.cfg.Application.ID
	beat := kmsg.NewPtrHeartbeatRequest() // of nobody
	beat.Group = id
	if err := s.cluster.coordinator(ctx, 0, id, beat); err != nil {
		return fmt.Sprintf("group coordinator: %v", err)
	}
	if !runtime.Guarantee(s.cfg.Runtime.Guarantee).Transactional() {
		return ""
	}
	transactionalID := id + "-"
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{transactionalID}
	if err := s.cluster.coordinator(ctx, 1, transactionalID, describe); err != nil {
		return fmt.Sprintf("transaction coordinator: %v", err)
	}
	return ""
}

// coordinator returns why there is no coordinator of a kind, or why it does not serve yet.
func (c *cluster) coordinator(ctx context.Context, kind int8, key string, probe kmsg.Request) error {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKey, find.CoordinatorKeys = kind, key, []string{key}
	var answer kmsg.Response
	err := errors.New("no broker")
	for _, seed := range c.client.SeedBrokers() {
		if answer, err = seed.Request(ctx, find); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("not found: %w", err)
	}
	found := answer.(*kmsg.FindCoordinatorResponse)
	node, code := found.NodeID, found.ErrorCode
	for _, f := range found.Coordinators {
		node, code = f.NodeID, f.ErrorCode
	}
	if code != 0 {
		return unready(code)
	}
	answer, err = c.client.Broker(int(node)).Request(ctx, probe)
	if err != nil && strings.Contains(err.Error(), "broker is too old") { // the client's error has no name
		return nil // brokers before 3.0 cannot be asked for transactions
	}
	if err != nil {
		return fmt.Errorf("node %d does not answer: %w", node, err)
	}
	switch r := answer.(type) {
	case *kmsg.HeartbeatResponse:
		code = r.ErrorCode
	case *kmsg.DescribeTransactionsResponse:
		for _, state := range r.TransactionStates {
			code = state.ErrorCode
		}
	}
	return unready(code)
}

// unready returns the error of a coordinator that is not ready; what else it may have against the request is no concern.
func unready(code int16) error {
	for _, err := range []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator} {
		if code == err.Code {
			return errors.New(err.Message)
		}
	}
	return nil
}
