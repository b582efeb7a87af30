package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
	goruntime "runtime"
	"bufio"
	"runtime/pprof"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

const secs = 30
const rate = 20000

func measureConfig() Config {
	c := &cluster{}
	cfg := c.config()
	cfg.Dial = nil
	cfg.Seeds = []string{"127.0.0.1:19092"}
	return cfg
}

func TestMeasureChild(t *testing.T) {
	if os.Getenv("MEASURE_CHILD") == "" { t.Skip() }
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(19092), kfake.MaxVersions(kversion.V3_7_0()), kfake.BrokerConfigs(map[string]string{"log.segment.bytes": "4194304"}))
	if err != nil { t.Fatal(err) }
	defer fake.Close()
	c := &cluster{t: t, fake: fake}
	cfg := measureConfig()
	c.create(&cfg, 9)
	r := newReference(rand.New(rand.NewPCG(1, 0)), 9)
	r.generate(7, secs*rate, 10000)
	r.run()
	for _, log := range r.inputs { for i := range log { v := make([]byte, 100); copy(v, log[i].value); if len(log[i].value) >= 8 { log[i].value = v } } }
	cl, _ := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:19092"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0))
	tx, _ := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:19092"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.TransactionalID("x"), kgo.ProducerLinger(0))
	// created is at i ms; rescale to rate
	real := func(m message) time.Duration { return m.created.Sub(testStart) / time.Millisecond * (time.Second / rate) }
	type cur struct{ topic string; p int; log []message }
	var ins, outs []*cur
	for p, log := range r.inputs { ins = append(ins, &cur{cfg.Input, p, log}) }
	for role, topic := range cfg.Outputs { for p, log := range r.outputs[role] { outs = append(outs, &cur{topic, p, log}) } }
	fmt.Println("READY")
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	n := 0
	for range tick.C {
		el := time.Since(start)
		left := 0
		send := func(k *cur, bound time.Duration, cl *kgo.Client) {
			i := 0
			for i < len(k.log) && real(k.log[i]) <= bound {
				m := k.log[i]
				m.created = start.Add(real(m))
				rec := records(k.topic, k.p, []message{m})[0]
				rec.Headers = rec.Headers[1:]
				cl.Produce(context.Background(), rec, nil)
				i++
			}
			k.log = k.log[i:]
			left += len(k.log)
		}
		for _, k := range ins { send(k, el, cl) }
		n++
		if n%10 == 0 {
			tx.BeginTransaction()
			for _, k := range outs { send(k, el-100*time.Millisecond, tx) }
			tx.Flush(context.Background())
			if err := tx.EndTransaction(context.Background(), kgo.TryCommit); err != nil { t.Fatal(err) }
			if left == 0 { break }
		}
	}
	nn := 0
	for store, topic := range cfg.Changelogs { for p, log := range r.changelogs[store] { nn += len(log); for _, rec := range records(topic, p, log) { cl.Produce(context.Background(), rec, nil) } } }
	cl.Flush(context.Background())
	fmt.Println("changelog records", nn)
	fmt.Println("DONE")
	time.Sleep(20*time.Second)
}

func TestMeasure(t *testing.T) {
	if os.Getenv("MEASURE") == "" { t.Skip() }
	cmd := exec.Command(os.Args[0], "-test.run", "TestMeasureChild$", "-test.v")
	cmd.Env = append(os.Environ(), "MEASURE_CHILD=1")
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil { t.Fatal(err) }
	defer cmd.Wait()
	defer cmd.Process.Kill()
	sc := bufio.NewScanner(out)
	for sc.Scan() && sc.Text() != "READY" {}
	done := make(chan bool)
	go func() { for sc.Scan() { if sc.Text() == "DONE" { close(done) } else { fmt.Println("child:", sc.Text()) } } }()
	v, err := New(measureConfig())
	if err != nil { t.Fatal(err) }
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go v.Run(ctx)
	cpu := func() time.Duration { var ru syscall.Rusage; syscall.Getrusage(0, &ru); return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()) }
	time.Sleep(3*time.Second)
	f, _ := os.Create("/tmp/measure.cpu")
	pprof.StartCPUProfile(f)
	c0, t0, s0 := cpu(), time.Now(), v.Status()
	time.Sleep(20*time.Second)
	pprof.StopCPUProfile()
	c1, s1 := cpu(), v.Status()
	el := time.Since(t0)
	var ms goruntime.MemStats
	goruntime.ReadMemStats(&ms)
	fmt.Printf("in %.0f/s out %.0f/s cpu %.1f%% heap %d MB sys %d MB held %d lag %d latency %+v verdict %s\n", float64(s1.In-s0.In)/el.Seconds(), float64(s1.Out-s0.Out)/el.Seconds(), 100*float64(c1-c0)/float64(el), ms.HeapAlloc>>20, ms.Sys>>20, s1.Held, s1.Lag, s1.Latency, s1.Verdict)
	<-done
	fctx, fc := context.WithTimeout(ctx, 15*time.Second)
	defer fc()
	c0, t0 = cpu(), time.Now()
	s, err := v.Finish(fctx, nil)
	fmt.Println("finish took", time.Since(t0), cpu()-c0)
	fmt.Println(s.Verdict, s.In, s.Processed, s.Reasons, err)
}
