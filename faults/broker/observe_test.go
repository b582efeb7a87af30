package broker

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		var topics []string
		err := b.Observe(kmsg.CreateTopics.Int16(), func(req kmsg.Request) {
			for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
				topics = append(topics, topic.Topic)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		adm := kadm.NewClient(client(t, b))
		for _, topic := range []string{"first", "second"} {
			if _, err := adm.CreateTopic(within(t), 1, 1, nil, topic); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"first", "second"}; !slices.Equal(topics, want) {
			t.Errorf("observed the creation of %v, want %v", topics, want)
		}
		b.Close()
		if err := b.Observe(kmsg.Fetch.Int16(), func(kmsg.Request) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("observing a closed broker: %v, want ErrClosed", err)
		}
	})
}
