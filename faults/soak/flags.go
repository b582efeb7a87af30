package soak

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A flagSpec is one row of the table of flags. Each flag sets one configuration key.
type flagSpec struct {
	name  string
	short string
	key   string // empty: special
	arg   string // what the help calls the value; empty for a switch
	usage string
	// value is what a switch sets when it is given without a value; its opposite inverts with =false.
	value    string
	repeated bool
	real     bool // has no meaning on virtual time
}

// hoursFlag is the flag of simulate that sets load.duration in hours.
const hoursFlag = "hours"

// flagSpecs is the table of all flags of run and config, in the order of the help.
func flagSpecs() []flagSpec {
	return []flagSpec{
		{name: "config", arg: "FILE", usage: "configuration file (else $XDG_CONFIG_HOME/eostop/config.yaml, else the built-in one)"},
		{name: "brokers", key: "cluster.brokers", arg: "HOST:PORT,..", usage: "a real cluster instead of the embedded broker", real: true},
		{name: "application-id", key: "application.id", arg: "ID", usage: "group, and prefix of topics and transactional ids"},
		{name: "topology", key: "application.topology", arg: "NAME", usage: "the program that runs: soak, passthrough, wordcount, eostest or eostest-complex"},
		{name: "instances", key: "runtime.instances", arg: "N", usage: "instances of the application"},
		{name: "threads", key: "runtime.threads", arg: "N", usage: "stream threads of each instance"},
		{name: "name", key: "application.name", arg: "PREFIX", usage: "instances are called PREFIX1, PREFIX2, .."},
		{name: "guarantee", key: "runtime.guarantee", arg: "NAME", usage: "processing guarantee: exactly_once_v2, exactly_once or at_least_once"},
		{name: "profile", key: "faults.profile", arg: "NAME", usage: "error handling: fixed, that of an old Kafka Streams, or a known bug"},
		{name: "rate", key: "load.rate", arg: "REC_PER_S", usage: "records a second"},
		{name: "records", key: "load.records", arg: "N", usage: "stop the load after N records"},
		{name: "duration", key: "load.duration", arg: "D", usage: "stop the load after this time, like 60s"},
		{name: "seed", key: "load.seed", arg: "N", usage: "seed of the load; 0 takes a new one"},
		{name: "input", key: "load.input", arg: "FILE", usage: "the lines of a text file as records, instead of generated ones"},
		{name: "cut", key: "faults.cuts", arg: "SPEC", usage: "cut an instance off: INSTANCE@START+LENGTH[:both|in|out]", repeated: true},
		{name: "fault", key: "faults.faults", arg: "SPEC", usage: "inject a fault: KIND,key=value..@START[+LENGTH]; help lists them", repeated: true},
		{name: "schedule", key: "faults.schedule", arg: "NAME|FILE", usage: "more cuts and faults: soak, soak-2019, storm, timeouts, flap, mixed, or a FILE.yaml"},
		{name: "shrink", key: "faults.shrink", value: "true", usage: "if the run fails, look for the shortest schedule that still does"},
		{name: "state-dir", key: "runtime.state_dir", arg: "DIR", usage: "where instances keep their state", real: true},
		{name: "no-load", key: "load.enabled", value: "false", usage: "no load generator", real: true},
		{name: "no-verify", key: "verify.enabled", value: "false", usage: "no verifier, and no verdict"},
		{name: "report", key: "session.report", arg: "FILE.json", usage: "write the report as JSON"},
		{name: "junit", key: "session.junit", arg: "FILE.xml", usage: "write the report as JUnit XML"},
		{name: "session", key: "session.file", arg: "FILE.jsonl", usage: "write the session log while the session runs"},
		{name: "metrics", key: "session.metrics", arg: "ADDR", usage: "serve Prometheus metrics, like 127.0.0.1:9464", real: true},
		{name: "pprof", key: "session.pprof", arg: "ADDR", usage: "serve the profiler, like 127.0.0.1:6060"},
		{name: "log-file", key: "session.log_file", arg: "FILE", usage: "write the log of the clients and the runtime"},
		{name: "log-level", key: "session.log_level", arg: "L", usage: "debug, info, warn or error"},
		{name: "theme", key: "ui.theme", arg: "NAME", usage: "colours: ansi, colorblind or mono", real: true},
		{name: "plain", key: "ui.plain", value: "true", usage: "no dashboard, progress as whole lines"},
		{name: "headless", key: "ui.headless", value: "true", usage: "no dashboard even on a terminal", real: true},
	}
}

// FlagValue is a flag that was given, bound to its configuration key.
type FlagValue struct {
	Name  string
	Key   string
	Texts []string // one, or more for a repeated flag
}

// Flags is a parsed command line of the run or config command.
type Flags struct {
	ConfigFile string // --config
	Check      bool   // --check, of the config command only
	Yes        bool   // --yes, of the clean command only
	File       string // the argument of the replay command
	Help       bool   // --help
	FaultHelp  bool   // --fault help
	Values     []FlagValue
}

// recorder keeps what was given for a flag; it is parsed later, together with the other places of the configuration.
type recorder struct {
	spec  flagSpec
	texts []string
}

func (r *recorder) String() string { return "" }

// Type is what the help calls the value, but for switches, for which pflag has a name of its own.
func (r *recorder) Type() string {
	if r.spec.arg == "" {
		return "bool"
	}
	return r.spec.arg
}

// Set records one value; the flag of a switch may be given with =true or =false.
func (r *recorder) Set(text string) error {
	if r.spec.arg == "" && r.spec.value == "false" {
		switch text {
		case "true":
			text = "false"
		case "false":
			text = "true"
		}
	}
	if !r.spec.repeated {
		r.texts = nil
	}
	r.texts = append(r.texts, text)
	return nil
}

func newFlagSet(command string) (*pflag.FlagSet, []*recorder) {
	set := pflag.NewFlagSet(command, pflag.ContinueOnError)
	set.SortFlags = false
	set.Usage = func() {}
	specs := flagSpecs()
	switch command {
	case "config":
		specs = append(specs, flagSpec{name: "check", value: "true", usage: "only say whether the configuration is valid"})
	case "check":
		specs = only(specs, checkFlags...)
	case "verify":
		specs = only(specs, verifyFlags...)
		for i := range specs {
			if specs[i].name == "topology" {
				specs[i].usage = "the program whose model judges: " + strings.Join(TopologyNames(), ", ") + "; left out: the rules that need no model"
			}
		}
	case "replay":
		specs = only(specs, replayFlags...)
	case "clean":
		specs = append(only(specs, cleanFlags...), flagSpec{name: "yes", value: "true", usage: "remove without asking"})
	case "simulate":
		specs = slices.DeleteFunc(specs, func(s flagSpec) bool { return s.real })
		specs = append([]flagSpec{{name: hoursFlag, key: "load.duration", arg: "N", usage: "simulate so many hours, like 24 or 0.5"}}, specs...)
	}
	specs = append(specs, flagSpec{name: "help", short: "h", value: "true", usage: "this text"})
	var recorders []*recorder
	for _, spec := range specs {
		r := &recorder{spec: spec}
		flag := set.VarPF(r, spec.name, spec.short, spec.usage)
		if spec.arg == "" {
			flag.NoOptDefVal = "true"
		}
		recorders = append(recorders, r)
	}
	return set, recorders
}

// Flags of the commands that run nothing. Everything else can be set in the file or the environment.
var (
	checkFlags = []string{
		"config", "brokers", "application-id", "topology", "guarantee", "no-load", "no-verify", "report",
	}
	verifyFlags = []string{"config", "brokers", "application-id", "topology", "guarantee", "report", "junit", "plain"}
	replayFlags = []string{"config", "theme", "plain", "headless"}
	cleanFlags  = []string{"config", "brokers", "application-id", "topology", "state-dir"}
)

func only(specs []flagSpec, names ...string) []flagSpec {
	return slices.DeleteFunc(specs, func(s flagSpec) bool { return !slices.Contains(names, s.name) })
}

// flagSet returns the flags of a command; nil if it has none.
func flagSet(command string) *pflag.FlagSet {
	switch command {
	case "run", "config", "simulate", "check", "clean", "verify", "replay":
		set, _ := newFlagSet(command)
		return set
	case "matrix":
		return new(MatrixFlags).set()
	case "bench":
		return new(BenchFlags).set()
	case "diff":
		return new(DiffFlags).set()
	}
	return nil
}

// FlagUsages returns the help of the flags of a command that has some.
func FlagUsages(command string) string { return flagSet(command).FlagUsages() }

// ParseFlags parses the arguments behind the command: run, config, simulate, check, clean, verify or replay. Its error is a UsageError.
func ParseFlags(command string, args []string) (*Flags, error) {
	set, recorders := newFlagSet(command)
	if err := set.Parse(args); err != nil {
		return nil, &UsageError{Err: flagError(command, set, err)}
	}
	f := &Flags{}
	switch {
	case command == "replay":
		f.File = set.Arg(0)
	case set.NArg() > 0:
		return nil, Usagef("unexpected argument %q; %s takes flags only, see eostop %s --help", set.Arg(0), command, command)
	}
	for _, r := range recorders {
		switch {
		case len(r.texts) == 0:
		case r.spec.name == "help":
			f.Help = r.texts[0] == "true"
		case r.spec.name == "check":
			f.Check = r.texts[0] == "true"
		case r.spec.name == "yes":
			f.Yes = r.texts[0] == "true"
		case r.spec.name == "config":
			f.ConfigFile = r.texts[0]
			if f.ConfigFile == "" {
				return nil, Usagef("flag --config: a file name is missing")
			}
		case r.spec.name == hoursFlag:
			hours, err := strconv.ParseFloat(r.texts[0], 64)
			if limit := maxSpecTime.Hours(); err != nil || !(hours > 0 && hours <= limit) {
				return nil, Usagef("flag --hours: %q is not a number of hours; valid: above 0 and up to %v", r.texts[0], limit)
			}
			length := time.Duration(hours * float64(time.Hour)).Round(time.Millisecond)
			f.Values = append(f.Values, FlagValue{Name: hoursFlag, Key: r.spec.key, Texts: []string{formatDuration(length)}})
		case r.spec.name == "fault" && slices.Contains(r.texts, "help"):
			f.FaultHelp = true
		default:
			f.Values = append(f.Values, FlagValue{Name: r.spec.name, Key: r.spec.key, Texts: r.texts})
		}
	}
	if command == "replay" && !f.Help && set.NArg() != 1 {
		return nil, Usagef("replay takes one session log, as --session or the key e write it, not %d; see eostop replay --help", set.NArg())
	}
	if set.Changed(hoursFlag) && set.Changed("duration") {
		return nil, Usagef("--hours and --duration say the same; leave one of them out")
	}
	return f, nil
}

// flagError says in one line what pflag found wrong and what to do about it.
func flagError(command string, set *pflag.FlagSet, err error) error {
	var (
		unknown  *pflag.NotExistError
		required *pflag.ValueRequiredError
		invalid  *pflag.InvalidValueError
	)
	see := fmt.Sprintf("see eostop %s --help", command)
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("unknown flag -%s; flags are long, like --rate; %s", unknown.GetSpecifiedShortnames(), see)
	case errors.As(err, &unknown):
		var names []string
		set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if slices.ContainsFunc(flagSpecs(), func(s flagSpec) bool { return s.name == unknown.GetSpecifiedName() }) {
			return fmt.Errorf("%s has no flag --%s; %s", command, unknown.GetSpecifiedName(), see)
		}
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			return fmt.Errorf("unknown flag --%s; did you mean --%s? %s", unknown.GetSpecifiedName(), near, see)
		}
		return fmt.Errorf("unknown flag --%s; %s", unknown.GetSpecifiedName(), see)
	case errors.As(err, &required):
		return fmt.Errorf("flag --%s: a value is missing; write --%s %s", required.GetSpecifiedName(),
			required.GetSpecifiedName(), required.GetFlag().Value.Type())
	case errors.As(err, &invalid):
		return invalid.Unwrap()
	default:
		return fmt.Errorf("%s; %s", strings.TrimSpace(err.Error()), see)
	}
}
