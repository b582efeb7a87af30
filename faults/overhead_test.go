package faults_test

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"eostop/faults"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// instant is a connection whose calls cost nothing, so that what is measured is the link.
type instant struct{ net.Conn }

func (instant) Read(b []byte) (int, error)       { return len(b), nil }
func (instant) Write(b []byte) (int, error)      { return len(b), nil }
func (instant) SetReadDeadline(time.Time) error  { return nil }
func (instant) SetWriteDeadline(time.Time) error { return nil }
func (instant) Close() error                     { return nil }

// BenchmarkOverhead measures what one call costs more than the call of the lower connection.
func BenchmarkOverhead(b *testing.B) {
	link := faults.NewLink("i1")
	b.Cleanup(link.Close)
	dial := link.Wrap(func(context.Context, string, string) (net.Conn, error) { return instant{}, nil })
	c, err := dial(b.Context(), "tcp", "broker:9092")
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 100)
	deadline := time.Now().Add(time.Hour)
	b.Run("Write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Write(buf)
		}
	})
	b.Run("Read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Read(buf)
		}
	})
	b.Run("SetReadDeadline", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = c.SetReadDeadline(deadline)
		}
	})
}

// BenchmarkRules compares, within one run, a request and its response over links: without rules, with a set that has
// no rule, with one that has a rule for another instance, and with one that has a rule for another API. The metrics are
// the ratios to the link without rules, and of that to the bare connection.
func BenchmarkRules(b *testing.B) {
	request, response := produceTo(1, -1, "out")
	for _, transport := range []string{"calls alone", "tcp"} {
		b.Run(transport, func(b *testing.B) {
			variants := []string{"bare", "link", "no-rule", "other-instance", "other-api"}
			conns := map[string]net.Conn{}
			for _, variant := range variants {
				link := faults.NewLink("i1")
				b.Cleanup(link.Close)
				rules := faults.NewRules(nil)
				rule := faults.Rule{APIs: []string{"EndTxn"}, Action: faults.Reject, Code: invalidTxnState}
				switch variant {
				case "other-instance":
					rule.Instance = "i2"
					fallthrough
				case "other-api":
					if _, err := rules.Add(rule); err != nil {
						b.Fatal(err)
					}
					fallthrough
				case "no-rule":
					link.SetRules(rules)
				}
				dial := func(context.Context, string, string) (net.Conn, error) {
					if transport == "tcp" {
						return answering(b, len(request), response), nil
					}
					return &scripted{response: response}, nil
				}
				if variant != "bare" {
					dial = link.Wrap(dial)
				}
				c, err := dial(b.Context(), "tcp", "broker:9092")
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = c.Close() })
				conns[variant] = c
			}
			took := map[string]time.Duration{}
			answer := make([]byte, len(response))
			for b.Loop() {
				for _, variant := range variants { // in turns, so that all have the same noise
					c, start := conns[variant], time.Now()
					for range 100 {
						if _, err := c.Write(request); err != nil {
							b.Fatal(err)
						}
						if _, err := io.ReadFull(c, answer); err != nil {
							b.Fatal(err)
						}
					}
					took[variant] += time.Since(start)
				}
			}
			b.ReportMetric(0, "ns/op") // of all together says nothing
			for _, variant := range variants[1:] {
				base := "link"
				if variant == "link" {
					base = "bare"
				}
				b.ReportMetric(float64(took[variant])/float64(took[base]), variant+"/"+base)
			}
		})
	}
}

// BenchmarkThroughput compares, within one run, how long a Kafka client takes to write records and to read them back: over bare
// connections, over links, and over links with a set that has no rule. The metrics are the medians of the ratios to the bare ones in each round.
func BenchmarkThroughput(b *testing.B) {
	const records = 5000
	variants := []string{"bare", "link", "no-rule"}
	clients := map[string]*kgo.Client{}
	for _, variant := range variants {
		broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, variant))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(broker.Close)
		dial := (&net.Dialer{}).DialContext
		if variant != "bare" {
			link := faults.NewLink("i1")
			b.Cleanup(link.Close)
			if variant == "no-rule" {
				link.SetRules(faults.NewRules(nil))
			}
			dial = link.Wrap(dial)
		}
		client, err := kgo.NewClient(
			kgo.SeedBrokers(broker.ListenAddrs()...), kgo.Dialer(dial), kgo.DefaultProduceTopic(variant), kgo.ConsumeTopics(variant),
			kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0),
		)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(client.Close)
		clients[variant] = client
	}
	value := make([]byte, 100)
	ratios := map[string][]float64{}
	for n := 0; b.Loop(); n++ {
		took := map[string]time.Duration{}
		for i := range variants { // in turns, and none always the first, so that all have the same noise
			variant := variants[(i+n)%len(variants)]
			client, start := clients[variant], time.Now()
			for range records {
				client.Produce(b.Context(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
					if err != nil {
						b.Error(err)
					}
				})
			}
			for read := 0; read < records; {
				fetches := client.PollFetches(b.Context())
				if err := fetches.Err(); err != nil {
					b.Fatal(err)
				}
				read += fetches.NumRecords()
			}
			took[variant] = time.Since(start)
			all := kadm.Offsets{}
			all.AddOffset(variant, 0, -1, -1) // so that memory does not grow
			if _, err := kadm.NewClient(client).DeleteRecords(b.Context(), all); err != nil {
				b.Fatal(err)
			}
		}
		for _, variant := range variants[1:] {
			ratios[variant] = append(ratios[variant], float64(took[variant])/float64(took["bare"]))
		}
	}
	b.ReportMetric(0, "ns/op") // of all together says nothing
	for _, variant := range variants[1:] {
		slices.Sort(ratios[variant])
		b.ReportMetric(ratios[variant][len(ratios[variant])/2], variant+"/bare")
	}
}

// scripted is a connection on which the same response is always there.
type scripted struct {
	instant
	response []byte
	read     int
}

func (s *scripted) Read(b []byte) (int, error) {
	n := copy(b, s.response[s.read:])
	s.read = (s.read + n) % len(s.response)
	return n, nil
}

// answering returns a connection to a server that gives the same response to each request of a size.
func answering(b *testing.B, size int, response []byte) net.Conn {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		defer server.Close()
		request := make([]byte, size)
		for {
			if _, err := io.ReadFull(server, request); err != nil {
				return
			}
			if _, err := server.Write(response); err != nil {
				return
			}
		}
	}()
	return client
}
