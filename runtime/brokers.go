package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// errBrokerTooOld is wrapped by the error that names broker and request.
var errBrokerTooOld = errors.New("the Kafka cluster seems to be on a too old version")

// fencedByGroup is the first version of TxnOffsetCommit that carries member id and generation (KIP-447, Kafka 2.5). In an older
// one they are left out without a word, and nothing fences a member that was expelled.
const fencedByGroup = 3

// versionsLimit is how long the brokers may take to say what they know: one that is down must not hold the others' answer up.
const versionsLimit = 3 * time.Second

// minVersions keeps a producer of exactly_once_v2 from falling back to requests that do not fence, also where a broker is
// replaced by an older one while it runs.
func minVersions() *kversion.Versions {
	v := new(kversion.Versions)
	v.SetMaxKeyVersion(kmsg.TxnOffsetCommit.Int16(), fencedByGroup)
	return v
}

// brokerCheck makes sure, once for an instance, that the brokers can do what the guarantee rests on. Its zero value has not
// looked yet. Any thread may use it.
type brokerCheck struct{ passed atomic.Bool }

// ok asks the brokers. An error that is not errBrokerTooOld says nothing about them; then it is to be called again.
func (c *brokerCheck) ok(ctx context.Context, a *admin, guarantee Guarantee) error {
	if guarantee != ExactlyOnceV2 || c.passed.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, versionsLimit)
	defer cancel()
	brokers, err := a.adm.ApiVersions(ctx)
	if err != nil {
		return fmt.Errorf("ask brokers for their versions: %w", err)
	}
	answered := false
	for _, b := range brokers.Sorted() {
		if b.Err != nil {
			continue // it is down; a producer that meets it later does not fall back
		}
		answered = true
		if newest, _ := b.KeyMaxVersion(kmsg.TxnOffsetCommit.Int16()); newest < fencedByGroup {
			return fmt.Errorf("%w: processing guarantee %s requires broker version 2.5 or higher, but broker %d knows TxnOffsetCommit up to version %d only and not %d; update the brokers, or use %s",
				errBrokerTooOld, ExactlyOnceV2, b.NodeID, newest, fencedByGroup, ExactlyOnce)
		}
	}
	c.passed.Store(answered)
	return nil
}
