package soak

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestEachFlagHasAKey(t *testing.T) {
	var config Config
	keys := map[string]bool{}
	for _, s := range settings(&config) {
		keys[s.key] = true
	}
	for _, spec := range flagSpecs() {
		if spec.key == "" && spec.name != "config" {
			t.Errorf("--%s sets nothing", spec.name)
		}
		if spec.key != "" && !keys[spec.key] {
			t.Errorf("--%s sets %s, which is no key", spec.name, spec.key)
		}
	}
}

func TestAllFlagsExist(t *testing.T) {
	usages := FlagUsages("run")
	for name := range strings.FieldsSeq(`config brokers application-id topology instances threads name guarantee profile rate
		records duration seed input cut fault schedule shrink state-dir no-load no-verify report junit session metrics pprof
		log-file log-level theme plain headless help`) {
		if !strings.Contains(usages, "--"+name+" ") {
			t.Errorf("--%s is missing in\n%s", name, usages)
		}
	}
}

func TestParseFlags(t *testing.T) {
	f, err := ParseFlags("config", []string{
		"--config=a.yaml", "--check", "--cut", "a@1s+1s", "--rate=1", "--cut", "b@1s+1s", "--rate", "2", "--no-load", "--headless=false",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Flags{ConfigFile: "a.yaml", Check: true, Values: []FlagValue{
		{"rate", "load.rate", []string{"2"}},
		{"cut", "faults.cuts", []string{"a@1s+1s", "b@1s+1s"}},
		{"no-load", "load.enabled", []string{"false"}},
		{"headless", "ui.headless", []string{"false"}},
	}}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got %+v\nwant %+v", f, want)
	}
	f, err = ParseFlags("run", []string{"--no-verify=false", "--fault", "help"})
	if err != nil || !f.FaultHelp || f.Values[0].Texts[0] != "true" {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err = ParseFlags("run", []string{"-h"}); err != nil || !f.Help {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestParseFlagsErrors(t *testing.T) {
	tests := []struct {
		args string
		want string
	}{
		{"--thread 3", "unknown flag --thread; did you mean --threads?"},
		{"--frobnicate", "unknown flag --frobnicate; see eostop run --help"},
		{"-x", "unknown flag -x; flags are long"},
		{"--rate", "flag --rate: a value is missing; write --rate REC_PER_S"},
		{"--check", "unknown flag --check"},
		{"--rate 5 extra", `unexpected argument "extra"; run takes flags only`},
		{"--config=", "flag --config: a file name is missing"},
		{"--=x", "bad flag syntax"},
	}
	for _, tt := range tests {
		_, err := ParseFlags("run", strings.Fields(tt.args))
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want one line with %q", tt.args, err, tt.want)
		}
	}
}
