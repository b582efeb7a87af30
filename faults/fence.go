package faults

import "fmt"

// FenceRules returns one rule for each request of a transactional producer and each error code by which a broker tells
// it that its time is over: 6 x 7 rules, each of which rejects one request. Instance, thread, Nth and the rest are
// free to be set.
func FenceRules() []Rule {
	var rules []Rule
	for _, api := range []string{"Produce", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn", "InitProducerID"} {
		for _, code := range []string{
			"PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "INVALID_PRODUCER_ID_MAPPING", "UNKNOWN_PRODUCER_ID",
			"OUT_OF_ORDER_SEQUENCE_NUMBER", "INVALID_TXN_STATE", "TRANSACTION_ABORTABLE",
		} {
			rules = append(rules, Rule{
				ID: fmt.Sprintf("fence-%s-%s", api, code), APIs: []string{api}, Action: Reject, Code: codeOf[code], Count: 1,
			})
		}
	}
	return rules
}
