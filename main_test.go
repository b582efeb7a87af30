package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"eostop/faults/soak"
	"eostop/ui"

	"github.com/creack/pty"
)

// asProgram makes the test binary behave as the program itself, for tests that need a process of its own.
const asProgram = "EOSTOP_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// call runs one command line in this process, without a configuration file of the user's.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// process returns a process of the program, on a terminal that knows colours and answers nothing.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CI=") && !strings.HasPrefix(e, "TERM=") && !strings.HasPrefix(e, "TMUX") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, asProgram+"=1", "TERM=xterm-256color", "XDG_CONFIG_HOME="+t.TempDir())
	return cmd
}

func TestUsageErrorsAreOneLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("load:\n  rate: fast\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		want string
	}{
		{"replay", "replay takes one session log, as --session or the key e write it, not 0"},
		{"matrix x", `unexpected argument "x"; matrix takes flags only`},
		{"simulate --brokers a:1", "simulate has no flag --brokers; see eostop simulate --help"},
		{"simulate --hourz 2", "unknown flag --hourz; did you mean --hours?"},
		{"simulate --hours many", `flag --hours: "many" is not a number of hours; valid: above 0 and up to 10000`},
		{"simulate --hours 0", "is not a number of hours"},
		{"simulate --hours 1 --duration 1h", "--hours and --duration say the same; leave one of them out"},
		{"simulate --duration 0s", "load.duration: a simulation needs an end; name one with --hours"},
		{"simulate --schedule hurricane", `faults.schedule: "hurricane" is not a schedule; valid: soak, soak-2019, storm, timeouts, flap, mixed, scripted, or a file that ends in .yaml (from flag --schedule)`},
		{"simulate --schedule /nonexistent.yaml", "faults.schedule: cannot read /nonexistent.yaml: no such file or directory"},
		{"simulate --hours 1 --cut i1@2h+5m", "faults.cuts[0]: starts at 2h, but the run ends at load.duration (1h)"},
		{"replay x.jsonl", "session log: open x.jsonl: no such file or directory"},
		{"replay " + file, "session log " + file + ": line 1: it is not the header of a session log"},
		{"verify", "cluster.brokers: is missing; name the cluster with --brokers (the embedded broker leaves nothing)"},
		{"run --topology eostest --input main.go", "load.input: topology eostest takes numbers of 4 bytes, no lines of text; leave it out (from flag --input)"},
		{"verify --rate 3", "verify has no flag --rate; see eostop verify --help"},
		{"check", "cluster.brokers: is missing; name the cluster with --brokers (the embedded broker is always fit)"},
		{"check --rate 3", "check has no flag --rate; see eostop check --help"},
		{"clean --yes", "cluster.brokers: is missing; name the cluster with --brokers (the embedded broker leaves nothing)"},
		{"run --yes", "unknown flag --yes"},
		{"bench x", `unexpected argument "x"; bench takes flags only`},
		{"bench --records 0", "flag --records: 0 is out of range; valid: 1 and more"},
		{"bench --duration 5ms", "flag --duration: 5ms is too short; valid: 1s and more"},
		{"diff a b --tolerance 10", `flag --tolerance: "10" is not a percentage; write it like 10%`},
		{"diff a", "diff takes two reports, not 1"},
		{"completion", "completion takes one shell; valid: bash, fish, zsh"},
		{"completion csh", `completion for "csh" is not known; valid: bash, fish, zsh`},
		{"frob", `unknown command "frob"; valid: run, simulate, matrix, diff, config, check, clean, replay, verify, bench, completion, version, help`},
		{"version x", `unexpected argument "x"; version takes none`},
		{"run x", `unexpected argument "x"; run takes flags only`},
		{"--metrics 9464", `session.metrics: "9464" is not an address; write HOST:PORT`},
		{"run --schedule storm --cut i1@5s", "START+LENGTH"},
		{"run --input /nonexistent.txt", "load.input: there is no file /nonexistent.txt; name an existing one or leave it out"},
		{"--guarantee twice", `runtime.guarantee: "twice" is not a guarantee; valid: exactly_once_v2, exactly_once, at_least_once (from flag --guarantee)`},
		{"--profile kafka-2.3", `faults.profile: kafka-2.3 never existed with exactly_once_v2; valid with it: runtime.guarantee exactly_once, at_least_once (from flag --profile)`},
		{"--topology wordcuont", `application.topology: "wordcuont" is not a topology; valid: soak, passthrough, wordcount, eostest, eostest-complex (from flag --topology)`},
		{"--fault error,api=EndTx,code=INVALID_TXN_STATE@0s", `--fault: fault "error,api=EndTx,code=INVALID_TXN_STATE@0s": api=EndTx: valid: any, or Kafka's names of requests, like EndTxn`},
		{"--threadz 3", "unknown flag --threadz; did you mean --threads?"},
		{"--threads 0", "runtime.threads: 0 is out of range; valid: 1 to 64 (from flag --threads)"},
		{"--cut i2@10", `flag --cut: cut "i2@10": write INSTANCE@START+LENGTH`},
		{"--config /nonexistent.yaml", "flag --config: there is no file /nonexistent.yaml"},
		{"config --threads 0 --check", "runtime.threads: 0 is out of range"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := call(t, strings.Fields(tt.args)...)
			if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 ||
				!strings.HasPrefix(stderr, "eostop: ") || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want 2 and one line with %q", code, stdout, stderr, tt.want)
			}
		})
	}
	t.Run("configuration file", func(t *testing.T) {
		code, _, stderr := call(t, "--config", file)
		want := "eostop: " + file + ":2:9: load.rate: \"fast\" is not a number\n   2 |   rate: fast\n               ^\n"
		if code != 2 || stderr != want {
			t.Errorf("exit code %d, stderr\n%s\nwant\n%s", code, stderr, want)
		}
	})
}

func TestRunErrorsAreOneLine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().String()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--pprof", taken}, taken + ": bind: address already in use; choose another address with --pprof"},
		{[]string{"--metrics", taken}, taken + ": bind: address already in use; choose another address with --metrics"},
		{[]string{"--report", "/nonexistent/r.json"}, "session.report: cannot write /nonexistent/r.json: no such file or directory"},
		{[]string{"--junit", t.TempDir()}, "is a directory; name a file"},
		{[]string{"--log-file", "/nonexistent/x.log"}, "session.log_file: cannot write /nonexistent/x.log: no such file or directory"},
	}
	for _, tt := range tests {
		code, stdout, stderr := call(t, append([]string{"run", "--headless"}, tt.args...)...)
		if code != 4 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want 4 and one line with %q", tt.args, code, stdout, stderr, tt.want)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Setenv("EOSTOP_LOAD_KEYS", "5")
	code, stdout, stderr := call(t, "config", "--rate", "7")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	for _, want := range []string{"\n  rate: 7 ", "# flag --rate\n", "\n  keys: 5 ", "# env EOSTOP_LOAD_KEYS\n", "  threads: 3 "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if code, stdout, stderr := call(t, "config", "--check"); code != 0 || stdout != "the configuration is valid\n" || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	// What is wrong is shown together with all values, which helps to find out why.
	if code, stdout, _ := call(t, "config", "--threads", "0"); code != 2 || !strings.Contains(stdout, "threads: 0 ") {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"--help", "-h", "help", "run --help", "config -h"} {
		code, stdout, stderr := call(t, strings.Fields(args)...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "--headless") || !strings.Contains(stdout, "matrix") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	if code, stdout, _ := call(t, "simulate", "--help"); code != 0 || !strings.Contains(stdout, "--hours") || strings.Contains(stdout, "--theme") {
		t.Errorf("simulate: exit code %d, stdout %q", code, stdout)
	}
	if code, stdout, stderr := call(t, "run", "--fault", "help"); code != 0 || stdout != soak.FaultHelp() || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		code, stdout, stderr := call(t, arg)
		if code != 0 || !strings.HasPrefix(stdout, "eostop "+soak.Version) || strings.Count(stdout, "\n") != 1 || stderr != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", arg, code, stdout, stderr)
		}
	}
}

func TestThemesOfTheConfigurationAreThoseOfTheScreen(t *testing.T) {
	for _, theme := range ui.Themes() {
		if code, _, stderr := call(t, "config", "--check", "--theme", theme); code != 0 {
			t.Errorf("%s: %s", theme, stderr)
		}
		if code, _, stderr := call(t, "config", "--check", "--theme", "none"); code != 2 || !strings.Contains(stderr, theme) {
			t.Errorf("%s is not among the valid ones of %q", theme, stderr)
		}
	}
}

func TestReadmeIsUpToDate(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var keys strings.Builder
	keys.WriteString("| key | what it does |\n|---|---|\n")
	for _, k := range ui.Keys() {
		keys.WriteString("| `" + strings.ReplaceAll(k.Keys, " ", "` `") + "` | " + k.Help + " |\n")
	}
	for name, want := range map[string]string{"keys": keys.String(), "flags": "```\n" + soak.FlagUsages("run") + "```\n"} {
		_, rest, _ := strings.Cut(string(text), "<!-- "+name+" -->\n")
		got, _, ok := strings.Cut(rest, "<!-- /"+name+" -->")
		if !ok || got != want {
			t.Errorf("README.md must say between <!-- %s --> and <!-- /%s -->\n%s", name, name, want)
		}
	}
}

// output collects what a terminal shows, and wakes up whoever waits for it.
type output struct {
	t     *testing.T
	text  strings.Builder
	bytes chan []byte // closed when the terminal is gone
}

func watch(t *testing.T, terminal *os.File) *output {
	t.Helper()
	o := &output{t: t, bytes: make(chan []byte)}
	go func() {
		defer close(o.bytes)
		for {
			buf := make([]byte, 4096)
			n, err := terminal.Read(buf)
			o.bytes <- buf[:n]
			if err != nil {
				return // The program has ended.
			}
		}
	}()
	return o
}

// until waits for a text on the terminal; an empty one waits for the end of the program.
func (o *output) until(text string) string {
	o.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for text == "" || !strings.Contains(o.text.String(), text) {
		select {
		case part, ok := <-o.bytes:
			if !ok && text != "" {
				o.t.Fatalf("the program ended before it showed %q; it showed\n%q", text, o.text.String())
			}
			if !ok {
				return o.text.String()
			}
			o.text.Write(part)
		case <-limit.C:
			o.t.Fatalf("no %q within a minute; the terminal shows\n%q", text, o.text.String())
		}
	}
	return o.text.String()
}

func TestVersionAndConfigLeaveTheTerminalAlone(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"config"}, {"config", "--check"}} {
		// A question that nobody answers takes five seconds, each time; a busy machine is slow now and then. How fast it can
		// be is for .ci/run to measure.
		fastest := time.Hour
		for range 3 {
			began := time.Now()
			text := onTerminal(t, args)
			fastest = min(fastest, time.Since(began))
			if text == "" || strings.Contains(text, "\x1b") {
				t.Errorf("%v wrote %q", args, text)
			}
		}
		if fastest > 3*time.Second {
			t.Errorf("%v took %s", args, fastest)
		}
	}
}

// onTerminal runs the program on a terminal that does not answer, and returns what it wrote.
func onTerminal(t *testing.T, args []string) string {
	t.Helper()
	cmd := process(t, args...)
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	text := watch(t, terminal).until("")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return text
}

// light keeps runs with a whole application cheap.
func light(args ...string) []string {
	return append([]string{"run", "--rate", "200", "--instances", "1", "--threads", "1"}, args...)
}

func TestHeadlessRun(t *testing.T) {
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	code, stdout, stderr := call(t, light("--headless", "--duration", "1s", "--report", path("r.json"), "--junit", path("r.xml"),
		"--session", path("s.jsonl"), "--log-file", path("x.log"), "--pprof", "127.0.0.1:0", "--metrics", "127.0.0.1:0")...)
	if code != 0 || !strings.Contains(stdout, "clean") || strings.Contains(stderr, "eostop:") {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(path("r.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report soak.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if report.Verdict != "clean" || report.Records.In == nil || *report.Records.In == 0 || *report.Records.In != report.Records.Processed || report.Seed == 0 {
		t.Errorf("%s", text)
	}
	for name, mode := range map[string]os.FileMode{"r.json": 0o644, "r.xml": 0o644, "s.jsonl": 0o600, "x.log": 0o600} {
		info, err := os.Stat(path(name))
		if err != nil || info.Size() == 0 || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// onVirtualTime lets commands of this test run on the virtual time of a test, which cannot have that of a program.
func onVirtualTime(t *testing.T) {
	t.Helper()
	before := virtualTime
	virtualTime = soak.TestBubble(t)
	t.Cleanup(func() { virtualTime = before })
}

func TestSimulate(t *testing.T) {
	onVirtualTime(t)
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	code, stdout, stderr := call(t, "simulate", "--hours", "0.05", "--seed", "7", "--threads", "1", "--report", path("r.json"),
		"--junit", path("r.xml"), "--session", path("s.jsonl"), "--log-file", path("x.log"), "--pprof", "127.0.0.1:0")
	if code != 0 || !strings.Contains(stdout, "clean") || !strings.Contains(stdout, "\nsimulated     3m ") || strings.Contains(stdout, "repeat") {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if !strings.Contains(stderr, " of 00:03:00  stopped  clean  threads 3/3  1 cut\n") {
		t.Errorf("the progress is\n%s", stderr)
	}
	text, err := os.ReadFile(path("r.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report soak.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if report.Verdict != "clean" || report.Seed != 7 || len(report.Cuts) != 1 || !report.Cuts[0].Expelled || *report.Records.In < 3500 {
		t.Errorf("%s", text)
	}
	for _, name := range []string{"r.xml", "s.jsonl", "x.log"} {
		if info, err := os.Stat(path(name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestAFailedSimulationSaysHowToRepeatIt stalls the only thread for longer than the drain waits, among other things.
func TestAFailedSimulationSaysHowToRepeatIt(t *testing.T) {
	onVirtualTime(t)
	t.Setenv("EOSTOP_LOAD_KEYS", "7")
	code, stdout, stderr := call(t, "simulate", "--hours", "0.01", "--seed", "7", "--instances", "1", "--threads", "1", "--shrink", "--report", filepath.Join(t.TempDir(), "r.json"),
		"--cut", "i1@2s+3s", "--cut", "i1@9s+1s", "--fault", "stall,instance=i1,thread=1@20s+10m", "--fault", "stall,instance=i1,thread=1@4s+1s")
	if code != 1 {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	for _, want := range []string{
		"\nrepeat        EOSTOP_LOAD_KEYS=7 eostop simulate --hours 0.01 --instances 1 --threads 1 --cut i1@2s+3s --cut i1@9s+1s " +
			"--fault stall,instance=i1,thread=1@20s+10m --fault stall,instance=i1,thread=1@4s+1s --seed 7\n",
		"# the shortest schedule that was found to fail still, in ",
		"\n# EOSTOP_LOAD_KEYS=7 eostop simulate --instances 1 --threads 1 --seed 7 --schedule failed.yaml --duration ",
		"\ncuts: []\nfaults:\n  - \"stall,instance=i1,thread=1@",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "shrink: 1 cuts and faults") {
		t.Errorf("the progress is\n%s", stderr)
	}
}

// TestSimulateAsAProgram runs the program as it is shipped: a test binary has another virtual time.
func TestSimulateAsAProgram(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "eostop")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tests := []struct {
		name   string
		hours  string
		signal os.Signal
		code   int
		want   string
	}{
		{"to the end", "0.02", nil, 0, "\nverdict       clean\r\n"},
		{"SIGINT drains", "9000", os.Interrupt, 0, "\nverdict       clean\r\n"},
		{"SIGTERM ends at once", "9000", syscall.SIGTERM, 3, "\nrepeat        eostop simulate --hours 9000 --threads 1 --seed "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := process(t, "simulate", "--hours", tt.hours, "--threads", "1", "--seed", "7")
			cmd.Path, cmd.Args[0] = binary, binary
			terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 120, Rows: 30})
			if err != nil {
				t.Fatal(err)
			}
			defer terminal.Close()
			screen := watch(t, terminal)
			if tt.signal != nil {
				screen.until("x  clean")
				if err := cmd.Process.Signal(tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			text := screen.until("")
			err = cmd.Wait()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(text, tt.want) || !strings.Contains(text, "\r[") {
				t.Errorf("exit code %d, want %d and %q in\n%s", code, tt.code, tt.want, text)
			}
			if strings.Contains(text, "PASS") || strings.Contains(text, "testing") {
				t.Errorf("it says that it is a test:\n%s", text)
			}
		})
	}
}

func TestEndOfContextStopsARun(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs lockedBuffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, light("--headless"), strings.NewReader(""), &out, &errs) }()
	for !strings.Contains(errs.String(), "running") {
		select {
		case code := <-done:
			t.Fatalf("ended with %d\n%s", code, errs.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	if code := <-done; code != 3 {
		t.Errorf("exit code %d, want 3 (unknown)\n%s\n%s", code, out.String(), errs.String())
	}
}

// TestSIGTERMDrainsAHeadlessRun: that is how service managers end a process.
func TestSIGTERMDrainsAHeadlessRun(t *testing.T) {
	cmd := process(t, light("--headless", "--plain")...)
	var out lockedBuffer
	cmd.Stdout = &out
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		if strings.Contains(lines.Text(), "  running  ") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, progress) }()
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "verdict       clean") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestDashboardInATerminal(t *testing.T) {
	const restored = "\x1b[?1049l"
	tests := []struct {
		name string
		end  func(terminal io.Writer, p *os.Process) error
		code int
	}{
		{"q drains", func(terminal io.Writer, _ *os.Process) error {
			_, err := io.WriteString(terminal, "q")
			return err
		}, 0},
		{"SIGINT drains", func(_ io.Writer, p *os.Process) error { return p.Signal(syscall.SIGINT) }, 0},
		{"SIGTERM ends at once", func(_ io.Writer, p *os.Process) error { return p.Signal(syscall.SIGTERM) }, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := process(t, light("--metrics", "127.0.0.1:0")...)
			terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 100, Rows: 30})
			if err != nil {
				t.Fatal(err)
			}
			defer terminal.Close()
			screen := watch(t, terminal)
			screen.until("RUNNING")
			if err := tt.end(terminal, cmd.Process); err != nil {
				t.Fatal(err)
			}
			text := screen.until("")
			err = cmd.Wait()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d; the terminal shows\n%q", code, tt.code, text)
			}
			_, after, ok := strings.Cut(text, restored)
			if !ok || strings.Contains(after, "\x1b[?1049h") || !strings.Contains(text, "\x1b[?25h") {
				t.Errorf("the terminal was not restored: %q", text)
			}
			if !strings.Contains(after, "verdict") {
				t.Errorf("there is no summary after the dashboard: %q", after)
			}
		})
	}
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestDiffCommand compares reports by their files.
func TestDiffCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, perSecond float64) string {
		path := filepath.Join(dir, name)
		text := fmt.Sprintf(`{"schema":1,"verdict":"clean","throughput":{"avg_per_s":%g}}`, perSecond)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fast, slow := write("fast", 1000), write("slow", 800)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{fast, fast}, soak.ExitClean, "no differences"},
		{[]string{fast, slow}, soak.ExitViolation, "regression"},
		{[]string{slow, fast}, soak.ExitClean, "+25.0%"},
		{[]string{fast, slow, "--tolerance", "20%"}, soak.ExitClean, "-20.0%"},
		{[]string{fast, dir}, soak.ExitUsage, ""},
		{[]string{"--help"}, soak.ExitClean, "--tolerance"},
	} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), append([]string{"diff"}, tt.args...), nil, &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.want) || (code == soak.ExitUsage) != (stderr.Len() > 0) {
			t.Errorf("%v: exit code %d, want %d\n%s%s", tt.args, code, tt.code, stdout.String(), stderr.String())
		}
	}
}
