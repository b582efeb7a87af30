package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Observe has fn called with each request of one kind, given by its API key, before the request is handled, and before any
// other request is. So whatever fn does to a connection has been done when the answer is written. It cannot be taken back.
//
// The broker waits for fn: it must not block, must not call the broker, and must neither change the request nor keep it.
// It is [ErrClosed] to observe a closed broker.
func (b *Broker) Observe(key int16, fn func(req kmsg.Request)) error {
	err := b.use(func(c *kfake.Cluster) error {
		// A control function that handles nothing stays for good and leaves the request to the next one.
		c.ControlKey(key, func(req kmsg.Request) (kmsg.Response, error, bool) {
			fn(req)
			return nil, nil, false
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("observe requests of key %d: %w", key, err)
	}
	return nil
}
