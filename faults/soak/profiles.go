package soak

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/faults"
	"eostop/runtime"
	"eostop/runtime/state"
)

// profile is an error handling that can be chosen: that of a version of Kafka Streams, or a known bug.
type profile struct {
	name       string
	about      string
	policy     runtime.Policy
	guarantees []runtime.Guarantee // that it existed with; nil = all
	// kafka is true for versions of Kafka Streams, which throw stores away after an unclean close.
	kafka    bool
	uncaught runtime.UncaughtHandler // nil = replaceThread
	// of2019 is true for the releases that KAFKA-9231 is about, which come with their surroundings: record caches that are on,
	// the recording level debug, and what happens with brokers of that time and not with later ones.
	of2019 bool
}

// profiles lists what --profile can be, the default first.
func profiles() []profile {
	old := []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce}
	exactly := []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.ExactlyOnce}
	shutDown := func(string, error) runtime.UncaughtResponse { return runtime.ShutdownClient }
	return []profile{
		{name: profileFixed, about: "nothing recoverable ends a thread"},
		{
			name: "kafka-4.3", about: "Kafka Streams 4.3: threads die of a transaction that timed out (KAFKA-20785), and their client with them",
			policy: runtime.Kafka43(), guarantees: []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.AtLeastOnce}, kafka: true, uncaught: shutDown,
		},
		{
			name: "kafka-2.4.0-rc", about: "the release candidates of Kafka Streams 2.4.0, with the three bugs of KAFKA-9231",
			policy: runtime.Kafka24RC(), guarantees: old, kafka: true, of2019: true,
		},
		{name: "kafka-2.3", about: "Kafka Streams 2.3", policy: runtime.Kafka23(), guarantees: old, kafka: true, of2019: true},
		{name: "no-reinit", about: "a producer that was fenced is used again", policy: runtime.Policy{NoReinit: true}, guarantees: exactly},
		{name: "read-uncommitted-restore", about: "stores are restored with what was never committed", policy: runtime.Policy{ReadUncommittedRestore: true}, guarantees: exactly},
		{name: "restart-on-fence", about: "after an abort the stores keep what was not committed", policy: runtime.Policy{RestartOnFence: true}, guarantees: exactly},
		{name: "shared-txn-id", about: "all threads use one transactional id", policy: runtime.Policy{SharedTransactionalID: true}, guarantees: []runtime.Guarantee{runtime.ExactlyOnceV2}},
		{name: "commit-after-failed-send", about: "a transaction is committed although a record was lost", policy: runtime.Policy{CommitAfterFailedSend: true}, guarantees: exactly},
		{name: "forget-generation", about: "offsets are committed without member id and generation", policy: runtime.Policy{ForgetGeneration: true}, guarantees: []runtime.Guarantee{runtime.ExactlyOnceV2}},
	}
}

// findProfile returns the profile of that name.
func findProfile(name string) (profile, bool) {
	all := profiles()
	i := slices.IndexFunc(all, func(p profile) bool { return p.name == name })
	if i < 0 {
		return profile{}, false
	}
	return all[i], true
}

// ProfileNames lists the profiles, the default first.
func ProfileNames() []string {
	var names []string
	for _, p := range profiles() {
		names = append(names, p.name)
	}
	return names
}

// existed reports whether the profile ever had the guarantee.
func (p *profile) existed(guarantee runtime.Guarantee) bool {
	return p.guarantees == nil || slices.Contains(p.guarantees, guarantee)
}

func (p *profile) describeGuarantees() string { return strings.Join(names(p.guarantees), ", ") }

// apply makes an instance behave as the profile does.
func (p *profile) apply(cfg *runtime.Config) {
	cfg.Policy, cfg.UncaughtHandler = p.policy, p.uncaught
	if cfg.UncaughtHandler == nil {
		cfg.UncaughtHandler = replaceThread
	}
	if p.kafka {
		cfg.StateMode = runtime.StateWipe
	}
	if p.of2019 {
		cfg.RecordCache, cfg.RecordingLevel = recordCache2019, state.RecordingDebug
	}
}

// replaceThread replaces a thread that has died. One that the brokers have refused has no successor: that would be refused, too, and
// ask again and again.
func replaceThread(thread string, err error) runtime.UncaughtResponse {
	if _, cause := runtime.Classify(err); runtime.Refused(cause) {
		return runtime.ShutdownClient
	}
	return runtime.DefaultUncaughtHandler(thread, err)
}

// recordCache2019 is the record cache of an instance. It is small, so that it is as full at a low load with few keys as that of
// the soak in KAFKA-9231 was with its many keys: an entry that has to make room is sent at once.
const recordCache2019 = 4 << 10

// recordCache is the record cache of an instance.
func (c *Config) recordCache() Size {
	if p, ok := findProfile(c.Faults.Profile); ok && p.of2019 {
		return recordCache2019
	}
	return c.Runtime.RecordCache
}

// recordingLevel is how much is recorded of metrics.
func (c *Config) recordingLevel() string {
	if p, ok := findProfile(c.Faults.Profile); ok && p.of2019 {
		return "debug"
	}
	return c.Runtime.RecordingLevel
}

// What brokers and disks of 2019 did by themselves, as faults of a named schedule.
const (
	// lostProducerEvery is once in what time a broker answers a transactional producer that it does not know it any more. Brokers
	// before Kafka 2.5 forgot a producer when its records had been deleted, as Streams does with repartition topics.
	lostProducerEvery = time.Hour
	// openFails is how often a store cannot be opened when its folder has just been thrown away and the lock of the old database
	// is not free yet.
	openFails = 0.03
)

// Injected2019 says what the schedule soak-2019, and any named schedule of a profile of 2019, has besides cuts.
const Injected2019 = "Injected besides cuts, for brokers and disks do not do it by themselves any more: once an hour a Produce of a transactional producer is answered\n" +
	"with UNKNOWN_PRODUCER_ID (rule: error,api=Produce,code=UNKNOWN_PRODUCER_ID,txn=*), and 3 % of the stores whose folder was thrown away cannot be\n" +
	"opened the first time (rule: store-open-fails,wiped=true,probability=0.03). Fences are real ones."

// surroundings returns what happened in 2019 besides cuts. Neither concerns at_least_once: its producers had no id, and its
// stores are never thrown away.
func surroundings(f Frame) []FaultSpec {
	h := fnv.New64a()
	_, _ = h.Write([]byte("2019")) // never fails
	rng := rand.New(rand.NewPCG(uint64(f.Seed), h.Sum64()))
	length := f.Length
	if length <= 0 {
		length = openEnd
	}
	all := []FaultSpec{{
		Kind: FaultStoreOpen, Keys: joinKeys(map[string]string{"probability": strconv.FormatFloat(openFails, 'g', -1, 64), keyWiped: "true"}),
		Length: length,
	}}
	every := min(lostProducerEvery, length)
	for from := time.Duration(0); from+every <= length; from += every {
		all = append(all, FaultSpec{
			Kind: faults.KindError, Keys: joinKeys(map[string]string{"api": "Produce", "code": "UNKNOWN_PRODUCER_ID", "txn": "*"}),
			Start: from + every/8 + time.Duration(rng.Int64N((every*3/4).Milliseconds()))*time.Millisecond,
		})
	}
	return all
}
