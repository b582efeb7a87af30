package soak

import (
	"slices"
	"strings"

	"eostop/runtime"
)

// profile is an error handling that can be chosen: that of a version of Kafka Streams, or a known bug.
type profile struct {
	name       string
	about      string
	policy     runtime.Policy
	guarantees []runtime.Guarantee // that it existed with; nil = all
	// kafka is true for versions of Kafka Streams, which throw stores away after an unclean close.
	kafka    bool
	uncaught runtime.UncaughtHandler // nil = the thread is replaced
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
			policy: runtime.Kafka24RC(), guarantees: old, kafka: true,
		},
		{name: "kafka-2.3", about: "Kafka Streams 2.3", policy: runtime.Kafka23(), guarantees: old, kafka: true},
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
	if p.kafka {
		cfg.StateMode = runtime.StateWipe
	}
}
