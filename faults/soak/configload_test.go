package soak

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// writeConfig puts a configuration file into a fresh folder.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eostop.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadConfigPrecedence(t *testing.T) {
	path := writeConfig(t, "load:\n  rate: 1\n  keys: 1\n  seed: 1\nruntime:\n  commit_interval: 1s\n")
	flags, err := ParseFlags("run", []string{"--rate", "3", "--no-verify"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ReadConfig(Sources{
		Embedded: embedded(t), File: path, Flags: flags.Values,
		Env: []string{"EOSTOP_LOAD_RATE=2", "EOSTOP_LOAD_KEYS=2", "EOSTOP_LOAD_SEED=", "EOSTOP_CLUSTER_EMBEDDED_VERSION=4.0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Load.Rate, want.Load.Keys, want.Load.Seed = 3, 2, 1
	want.Runtime.CommitInterval = time.Second
	want.Verify.Enabled = false
	want.Cluster.Embedded.Version = "4.0"
	if !reflect.DeepEqual(l.Config, want) {
		t.Errorf("got %+v\nwant %+v", l.Config, want)
	}
	for key, origin := range map[string]string{
		"load.rate": "flag --rate", "load.keys": "env EOSTOP_LOAD_KEYS", "load.seed": "file " + path, "load.records": "default",
		"runtime.commit_interval": "file " + path, "verify.enabled": "flag --no-verify",
		"cluster.embedded.version": "env EOSTOP_CLUSTER_EMBEDDED_VERSION",
	} {
		if got := l.Origin(key); got != origin {
			t.Errorf("%s comes from %q, want %q", key, got, origin)
		}
	}
}

func TestReadConfigFindsTheUsersFile(t *testing.T) {
	home := t.TempDir()
	xdg := filepath.Join(home, "xdg")
	for folder, text := range map[string]string{
		filepath.Join(xdg, "eostop"):             "load: {rate: 1}\n",
		filepath.Join(home, ".config", "eostop"): "load: {rate: 2}\n",
	} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		env  []string
		want float64
	}{
		{"XDG", []string{"HOME=" + home, "XDG_CONFIG_HOME=" + xdg}, 1},
		{"home", []string{"HOME=" + home}, 2},
		{"relative XDG", []string{"HOME=" + home, "XDG_CONFIG_HOME=xdg"}, 2},
		{"no file", []string{"HOME=" + xdg}, 20000},
		{"no home", nil, 20000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := ReadConfig(Sources{Embedded: embedded(t), Env: tt.env})
			if err != nil || l.Config.Load.Rate != tt.want {
				t.Errorf("rate %v, %v; want %v", l.Config.Load.Rate, err, tt.want)
			}
		})
	}
}

func TestReadConfigErrors(t *testing.T) {
	file := func(text string) Sources { return Sources{File: writeConfig(t, text)} }
	flags := func(args ...string) Sources {
		f, err := ParseFlags("run", args)
		if err != nil {
			t.Fatal(err)
		}
		return Sources{Flags: f.Values}
	}
	tests := []struct {
		name string
		from Sources
		want []string // each is in one of the problems, in this order
	}{
		{"unknown section", file("runtme:\n  threads: 2\n"), []string{":1:1: unknown key runtme; did you mean runtime?"}},
		{"unknown key", file("runtime:\n  threadz: 2\n"), []string{":2:3: unknown key runtime.threadz; did you mean threads?"}},
		{"unknown nested key", file("cluster:\n  embedded:\n    node: 2\n"), []string{":3:5: unknown key cluster.embedded.node; did you mean nodes?"}},
		{"two problems", file("load:\n  x: 1\n  keys: many\n"), []string{":2:3: unknown key load.x; valid: enabled, input, rate, interval", `:3:9: load.keys: "many" is not a whole number`}},
		{"duration without unit", file("runtime:\n  commit_interval: 100\n"), []string{`:2:20: runtime.commit_interval: "100" is not a duration; write it with a unit`}},
		{"size", file("session: {memory: big}\n"), []string{`:1:19: session.memory: "big" is not a size`}},
		{"bool", file("verify: {enabled: maybe}\n"), []string{`verify.enabled: "maybe" is neither true nor false`}},
		{"nan", file("load: {rate: .nan}\n"), []string{`load.rate: ".nan" is not a number`}},
		{"cut", file("faults:\n  cuts:\n  - i1@1s+1s\n  - i1@1+1s\n"), []string{`:4:5: faults.cuts: cut "i1@1+1s": START: "1" is not a duration`}},
		{"section is a scalar", file("load: 5\n"), []string{":1:7: load holds keys, one per line; valid: enabled, input, rate"}},
		{"scalar is a section", file("load:\n  rate:\n    high: 1\n"), []string{"load.rate: takes a single value here"}},
		{"list in a list", file("cluster:\n  brokers: [[a:1]]\n"), []string{"cluster.brokers: takes a single value here"}},
		{"list for a scalar", file("load:\n  rate: [1, 2]\n"), []string{"load.rate: takes a single value here"}},
		{"no mapping", file("- a\n"), []string{"a configuration file holds keys"}},
		{"twice", file("load:\n  rate: 1\n  rate: 2\n"), []string{":3:3: "}},
		{"not yaml", file("load: {\n"), []string{":1:7: "}},
		{"alias", file("load: {rate: &x 1}\n"), []string{"load.rate: anchors, aliases and tags are not supported"}},
		{"two documents", file("load: {rate: 1}\n---\nload: {rate: 2}\n"), []string{"a second document"}},
		{"no such file", Sources{File: "/nonexistent/eostop.yaml"}, []string{"flag --config: there is no file /nonexistent/eostop.yaml"}},
		{"a folder", Sources{File: os.TempDir()}, []string{"cannot read the configuration " + os.TempDir() + ": is a directory"}},
		{"environment", Sources{Env: []string{"EOSTOP_LOAD_RATE=fast"}}, []string{`environment EOSTOP_LOAD_RATE: "fast" is not a number`}},
		{"unknown variable", Sources{Env: []string{"EOSTOP_LOAD_RAT=1", "EOSTOP_CI=1", "EOSTOPX=1"}}, []string{"environment EOSTOP_LOAD_RAT: there is no such key; did you mean EOSTOP_LOAD_RATE?"}},
		{"flag", flags("--threads", "many", "--duration=60"), []string{`flag --threads: "many" is not a whole number`, `flag --duration: "60" is not a duration`}},
		{"cut flag", flags("--cut", "i2@10s"), []string{`flag --cut: cut "i2@10s": write INSTANCE@START+LENGTH`}},
		{"switch", flags("--no-load=perhaps"), []string{`flag --no-load: "perhaps" is neither true nor false`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.from.Embedded == nil {
				tt.from.Embedded = embedded(t)
			}
			_, err := ReadConfig(tt.from)
			if _, ok := errors.AsType[*UsageError](err); !ok {
				t.Fatalf("%T %v, want a UsageError", err, err)
			}
			problems := Problems(err)
			if len(problems) != len(tt.want) {
				t.Fatalf("problems %q, want %d", problems, len(tt.want))
			}
			for i, want := range tt.want {
				if !strings.Contains(problems[i].Error(), want) {
					t.Errorf("problem %q, want it to contain %q", problems[i], want)
				}
			}
		})
	}
}

func TestTheRateSuitsTheProgram(t *testing.T) {
	for _, tt := range []struct {
		args   string
		rate   float64
		origin string
	}{
		{"", 20000, "default"},
		{"--topology passthrough", 20000, "default"},
		{"--topology wordcount", 2000, "default of wordcount"},
		{"--topology wordcount --rate 20000", 20000, "flag --rate"},
		{"--topology nonsense", 20000, "default"},
	} {
		flags, err := ParseFlags("run", strings.Fields(tt.args))
		if err != nil {
			t.Fatal(err)
		}
		l, err := ReadConfig(Sources{Embedded: embedded(t), Flags: flags.Values})
		if err != nil || l.Config.Load.Rate != tt.rate || l.Origin("load.rate") != tt.origin {
			t.Errorf("%s: rate %v from %s, %v; want %v from %s", tt.args, l.Config.Load.Rate, l.Origin("load.rate"), err, tt.rate, tt.origin)
		}
	}
}

func TestFileErrorShowsTheLineWithACaret(t *testing.T) {
	path := writeConfig(t, "# mine\nruntime:\n  threads: 3\n  threadz: 4 # oops\n")
	_, err := ReadConfig(Sources{Embedded: embedded(t), File: path})
	want := "\n   4 |   threadz: 4 # oops\n         ^"
	if err == nil || !strings.HasPrefix(err.Error(), path+":4:3: unknown key") || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got\n%v\nwant it to end with%s", err, want)
	}
}

func TestValidateSaysWhereTheValueCameFrom(t *testing.T) {
	flags, err := ParseFlags("run", []string{"--cut", "i9@1s+1s", "--threads=0"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ReadConfig(Sources{Embedded: embedded(t), Flags: flags.Values, Env: []string{"EOSTOP_UI_FPS=99"}})
	if err != nil {
		t.Fatal(err)
	}
	err = l.Validate()
	if _, ok := errors.AsType[*UsageError](err); !ok {
		t.Fatalf("%T %v", err, err)
	}
	var got []string
	for _, p := range Problems(err) {
		got = append(got, p.Error())
	}
	want := []string{
		"runtime.threads: 0 is out of range; valid: 1 to 64 (from flag --threads)",
		`faults.cuts[0]: there is no instance "i9"; valid: i1, i2, i3 (from flag --cut)`,
		"ui.fps: 99 is out of range; valid: 1 to 30 (from env EOSTOP_UI_FPS)",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestTextCanBeReadBack(t *testing.T) {
	flags, err := ParseFlags("run", []string{
		"--brokers", "a:1,b:2", "--cut", "i2@10s+20s:in", "--cut", "i1@5s+5s", "--rate", "0.5", "--seed=-7",
		"--fault", "panic,instance=i3,thread=2@15s", "--report", `C:\odd "name" # true`, "--name", "true", "--state-dir", "-",
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ReadConfig(Sources{
		Embedded: embedded(t), Flags: flags.Values,
		Env: []string{"EOSTOP_FAULTS_FAULTS=stall,instance=i1,thread=1@10s+25s; panic,instance=i1,thread=1@1s", "EOSTOP_APPLICATION_ID=007"},
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadConfig(Sources{Embedded: embedded(t), File: writeConfig(t, l.Text())})
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, l.Text())
	}
	if !reflect.DeepEqual(again.Config, l.Config) {
		t.Errorf("read back as %+v\nwas %+v\nin\n%s", again.Config, l.Config, l.Text())
	}
	for _, want := range []string{
		"cluster:\n  brokers: [\"a:1\", \"b:2\"]",
		"  embedded:\n    nodes: 1 ",
		"# flag --brokers\n", "\n  cuts: [\"i2@10s+20s:in\", \"i1@5s+5s\"]", "# default\n", "# env EOSTOP_APPLICATION_ID\n",
	} {
		if !strings.Contains(l.Text(), want) {
			t.Errorf("%q is not in\n%s", want, l.Text())
		}
	}
}

func TestEnvironmentListsOfFaults(t *testing.T) {
	l, err := ReadConfig(Sources{Embedded: embedded(t), Env: []string{
		"EOSTOP_FAULTS_FAULTS=stall,instance=i1,thread=1@10s+25s; panic,instance=i1,thread=1@1s",
		"EOSTOP_FAULTS_CUTS=i1@1s+1s, i2@1s+1s", "EOSTOP_CLUSTER_BROKERS=a:1, b:2",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Config.Faults.Faults) != 2 || len(l.Config.Faults.Cuts) != 2 || len(l.Config.Cluster.Brokers) != 2 {
		t.Errorf("%+v %+v", l.Config.Faults, l.Config.Cluster)
	}
}

func TestEmptyFileAndEmptySections(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "load:\nfaults:\n  cuts:\n  # - i1@1s+1s\n", "\r\nload:\r\n"} {
		l, err := ReadConfig(Sources{Embedded: embedded(t), File: writeConfig(t, text)})
		if err != nil || !reflect.DeepEqual(l.Config, Default()) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzReadYAML(f *testing.F) {
	f.Add("load:\n  rate: 5\n")
	f.Add("faults: {cuts: [i1@1s+1s], faults: []}\n")
	f.Add("runtime:\n  commit_interval: 1h\n  x: &a [1, {b: c}]\n")
	f.Add("? [a]\n: b\n<<: *a\n--- !x |\n  y\n")
	f.Add(string(embedded(f)))
	f.Fuzz(func(t *testing.T, text string) {
		config := Default()
		if _, err := readYAML("fuzz", []byte(text), &config, configFile); err != nil {
			_ = err.Error() // Must not fail on any place.
			return
		}
		_ = config.Validate()
		l := Loaded{Config: config, origins: map[string]string{}}
		again := Default()
		if _, err := readYAML("again", []byte(l.Text()), &again, configFile); err != nil {
			t.Fatalf("%v\nin\n%s", err, l.Text())
		}
		if back := (&Loaded{Config: again, origins: l.origins}).Text(); back != l.Text() {
			t.Errorf("%s\nreads back as\n%s", l.Text(), back)
		}
	})
}
