package processes

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"eostop/faults/soak"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestMigration hands an application over between Kafka Streams and this runtime, both ways and back: each goes on at the committed
// offsets, with the partition times in their metadata, and from the changelogs of the other. In the end the verifier judges all
// outputs and changelogs from the first record on.
//
//	EOSTOP_TEST_BROKERS=HOST:PORT go test -run TestMigration ./faults/soak/processes
func TestMigration(t *testing.T) {
	broker := os.Getenv(testBrokers)
	if broker == "" {
		t.Skipf("%s is not set: it names a broker", testBrokers)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	m := &migration{T: t, broker: broker, app: fmt.Sprintf("migration-%d", time.Now().Unix()), dir: t.TempDir(), admin: kadm.NewClient(client)}
	createSoakTopics(t, m.admin, m.app)
	m.java(1)
	m.ours(1)
	m.java(2)
	report := m.ours(2)
	if report.Verdict != "clean" {
		t.Errorf("%s: %v", report.Verdict, report.Reasons)
	}
	if s := report.State; s.DigestChecked == nil || *s.DigestChecked != 7*soakPartitions || s.Rebuilt != 0 || s.Wiped != 0 {
		t.Errorf("%+v, want all stores compared, none rebuilt or wiped", s)
	}
}

const (
	migrated       = 5000 // records that are processed between two handovers
	soakPartitions = 9    // of the topics that a soak program needs on Kafka Streams
)

// migration is one application that changes hands.
type migration struct {
	*testing.T
	broker, app, dir string
	admin            *kadm.Client
}

// java lets Kafka Streams process some records.
func (m *migration) java(round int64) {
	m.Helper()
	cmd := kafkaStreams(m.T, m.broker, m.app, "java", filepath.Join(m.dir, "java"),
		"statestore.cache.max.bytes=0") // else some outputs are left out
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	said := make(chan []string)
	go func() {
		var lines []string
		for s := bufio.NewScanner(out); s.Scan(); {
			lines = append(lines, s.Text())
		}
		said <- lines
	}()
	cfg := soak.DefaultLoadConfig()
	cfg.Rate, cfg.Records, cfg.Partitions, cfg.Seed, cfg.Run = 1000, migrated, soakPartitions, round, uint64(time.Now().UnixNano())
	load, err := soak.NewGenerator(cfg, m.app+"-input", kgo.SeedBrokers(m.broker))
	if err != nil {
		m.Fatal(err)
	}
	if err := load.Run(m.Context()); err != nil {
		m.Fatal(err)
	}
	m.awaitProcessed()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.Fatal(err)
	}
	lines := <-said
	_ = cmd.Wait() // a JVM that a signal ends says 143
	if slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "ThreadDied") }) {
		m.Fatalf("Kafka Streams: %s", strings.Join(lines, "\n"))
	}
}

// ours lets this program process some records, and judge all that there are.
func (m *migration) ours(round int) *soak.Report {
	m.Helper()
	file := filepath.Join(m.dir, fmt.Sprintf("report-%d.json", round))
	out, err := process(m.T, "run", "--headless", "--plain", "--brokers", m.broker, "--application-id", m.app, "--rate", "1000",
		"--records", fmt.Sprint(migrated), "--state-dir", filepath.Join(m.dir, "ours"), "--report", file).CombinedOutput()
	if err != nil {
		m.Fatalf("%v\n%s", err, out)
	}
	report, err := soak.ReadReport(file)
	if err != nil {
		m.Fatal(err)
	}
	m.Logf("round %d: %s, %d records restored", round, report.Verdict, report.State.RestoredRecords)
	return report
}

// awaitProcessed waits until the group has committed the end of the input, and then until all its offsets have stood still for some
// seconds. The ends of repartition topics do not tell, for there are transaction markers that nobody commits.
func (m *migration) awaitProcessed() {
	m.Helper()
	const calm = 5 * time.Second
	input := m.app + "-input"
	last, since := int64(-1), time.Now()
	for began := time.Now(); time.Since(since) < calm; time.Sleep(500 * time.Millisecond) {
		ends, err := m.admin.ListEndOffsets(m.Context(), input)
		if err != nil {
			m.Fatal(err)
		}
		offsets, err := m.admin.FetchOffsets(m.Context(), m.app)
		if err != nil {
			m.Fatal(err)
		}
		sum, behind := int64(0), false
		offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
		ends.Each(func(end kadm.ListedOffset) {
			o, _ := offsets.Lookup(input, end.Partition)
			behind = behind || o.At < end.Offset
		})
		if sum != last || behind {
			last, since = sum, time.Now()
		}
		if time.Since(began) > 2*time.Minute {
			m.Fatal("Kafka Streams does not come to the end of the input")
		}
	}
}

// createSoakTopics creates the topics that a soak program does not create itself on Kafka Streams.
func createSoakTopics(t *testing.T, admin *kadm.Client, app string) {
	t.Helper()
	topics := slices.Collect(maps.Values(soak.Topics(app).Outputs))
	if _, err := admin.CreateTopics(t.Context(), soakPartitions, 1, nil, append(topics, app+"-input")...); err != nil {
		t.Fatal(err)
	}
}
