// Command eostop is top for exactly-once streams: it hosts a complete exactly-once stream-processing application in a terminal
// dashboard, cuts its instances off from the brokers, and proves while it runs that every record was processed exactly once.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	goruntime "runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"eostop/faults/soak"
	"eostop/ui"
	"eostop/ui/noprobe"

	"github.com/charmbracelet/x/term"
)

// defaults is the text of the configuration that applies when nothing else is said.
//
//go:embed config.yaml
var defaults []byte

// memoryLimit is the soft limit of a session's memory; GOMEMLIMIT replaces it.
const memoryLimit = 640 << 20

func main() {
	noprobe.Restore()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// memoryLimitSimulation is that of a simulation. Its collector may be lazy: nobody waits for it, and the heap is small.
const memoryLimitSimulation, lazy = 1 << 30, 400

// limitMemory is for sessions in real time. The embedded broker holds its topics in memory; left alone, the collector would let garbage
// grow as large.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// collectLazily is for simulations.
func collectLazily() {
	if os.Getenv("GOMEMLIMIT") == "" && os.Getenv("GOGC") == "" {
		debug.SetMemoryLimit(memoryLimitSimulation)
		debug.SetGCPercent(lazy)
	}
}

// virtualTime runs functions on virtual time. Tests put the bubble of a test here.
var virtualTime = soak.VirtualTime

// program is one call of the command.
type program struct {
	command string
	args    []string // behind the command
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

// command is one row of the table of commands.
type command struct {
	name  string
	usage string
	run   func(*program, context.Context) error
}

func commands() []command {
	return []command{
		{"run", "the dashboard; without a terminal or with --headless: progress on stderr, result on stdout (the default)", (*program).session},
		{"simulate", "the same on virtual time, with the embedded broker: 24 hours in minutes", (*program).simulate},
		{"matrix", "compare profiles and guarantees on virtual time; exit 0 if it comes out as stated", (*program).matrix},
		{"diff", "compare two reports; exit 1 on a regression beyond --tolerance", (*program).diff},
		{"config", "the effective configuration, with where each value came from; --check validates only", (*program).config},
		{"check", "is this cluster fit for a run: versions, limits, permissions, topics; what to do about each", (*program).check},
		{"clean", "remove the topics, group and state of an application, after showing them; --yes does not ask", (*program).clean},
		{"replay", "show a recorded session in the dashboard: eostop replay FILE.jsonl", (*program).replay},
		{"verify", "audit what an application, in whatever language, has left in its topics", (*program).verify},
		{"bench", "measure throughput, latency, restore and start-up on this machine, with ratios", (*program).bench},
		{"completion", "the script that teaches a shell (bash, fish or zsh) commands and flags: source <(eostop completion bash)", (*program).completion},
		{"version", "the version of this program", (*program).version},
		{"help", "this text", (*program).help},
	}
}

// run executes one call and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{command: "run", args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	if len(args) > 0 {
		switch first := args[0]; {
		case first == "--version":
			p.command, p.args = "version", args[1:]
		case first == "-h", first == "--help":
			p.command, p.args = "help", args[1:]
		case !strings.HasPrefix(first, "-"):
			p.command, p.args = first, args[1:]
		}
	}
	return p.exitCode(p.execute(ctx))
}

func (p *program) execute(ctx context.Context) error {
	var known []string
	for _, c := range commands() {
		if c.name == p.command {
			return c.run(p, ctx)
		}
		known = append(known, c.name)
	}
	return soak.Usagef("unknown command %q; valid: %s", p.command, strings.Join(known, ", "))
}

// verdictError carries the exit code of a run that took place: it has nothing more to print.
type verdictError struct{ code int }

func (e *verdictError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exitCode prints what went wrong, one line for each problem, and returns the exit code that it means.
func (p *program) exitCode(err error) int {
	var (
		verdict *verdictError
		usage   *soak.UsageError
		place   *soak.FileError
	)
	if errors.As(err, &verdict) {
		return verdict.code
	}
	for _, problem := range soak.Problems(err) {
		text := problem.Error()
		if !errors.As(problem, &place) { // Which shows the line of the file.
			text = strings.Join(strings.Fields(text), " ")
		}
		fmt.Fprintln(p.stderr, "eostop: "+text)
	}
	switch {
	case err == nil:
		return soak.ExitClean
	case errors.As(err, &usage):
		return soak.ExitUsage
	}
	return soak.ExitNotRun
}

// diff is the diff command.
func (p *program) diff(context.Context) error {
	flags, err := soak.ParseDiffFlags(p.args)
	if err != nil {
		return err
	}
	if flags.Help {
		_, err := io.WriteString(p.stdout, soak.DiffUsage)
		return err
	}
	before, err := soak.ReadReport(flags.Before)
	after, other := soak.ReadReport(flags.After)
	if err := errors.Join(err, other); err != nil {
		return err
	}
	regression, err := soak.WriteDiff(p.stdout, soak.Diff(before, after, flags.Tolerance))
	if err == nil && regression {
		return &verdictError{soak.ExitViolation}
	}
	return err
}

// completion is the completion command.
func (p *program) completion(context.Context) error {
	if len(p.args) != 1 {
		return soak.Usagef("completion takes one shell; valid: %s", strings.Join(soak.Shells(), ", "))
	}
	var names []string
	usage := map[string]string{}
	for _, c := range commands() {
		names, usage[c.name] = append(names, c.name), c.usage
	}
	text, err := soak.Completion(p.args[0], names, usage)
	if err != nil {
		return err
	}
	return p.print(text)
}

func (p *program) version(context.Context) error {
	if len(p.args) > 0 {
		return soak.Usagef("unexpected argument %q; version takes none", p.args[0])
	}
	built := strings.TrimSpace(soak.Version + " " + soak.Revision())
	_, err := fmt.Fprintf(p.stdout, "eostop %s %s %s/%s\n", built, goruntime.Version(), goruntime.GOOS, goruntime.GOARCH)
	return err
}

func (p *program) help(context.Context) error {
	var b strings.Builder
	b.WriteString("eostop [COMMAND] [FLAGS]\n\nCommands\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-11s %s\n", c.name, c.usage)
	}
	switch p.command {
	case "simulate", "matrix", "check", "clean", "replay", "verify", "bench":
		b.WriteString("\nFlags of " + p.command + "\n" + soak.FlagUsages(p.command))
	default:
		b.WriteString("\nFlags of run and config\n" + soak.FlagUsages("run") + "      --check                  config only: say whether the configuration is valid\n")
	}
	b.WriteString("\nExit codes\n" +
		"  0 clean   1 violation, or a thread died that should have survived   2 usage or configuration\n" +
		"  3 verdict unknown   4 could not run\n")
	_, err := io.WriteString(p.stdout, b.String())
	return err
}

// load reads flags and configuration; it returns nil when the flags asked for help, which it has printed then.
func (p *program) load(ctx context.Context) (*soak.Flags, *soak.Loaded, error) {
	flags, err := soak.ParseFlags(p.command, p.args)
	switch {
	case err != nil:
		return nil, nil, err
	case flags.Help:
		return nil, nil, p.help(ctx)
	case flags.FaultHelp:
		_, err := io.WriteString(p.stdout, soak.FaultHelp())
		return nil, nil, err
	}
	from := soak.Sources{Embedded: defaults, File: flags.ConfigFile, Env: os.Environ(), Flags: flags.Values}
	if p.command == "simulate" {
		from.Adjust = soak.SimulationDefaults
	}
	loaded, err := soak.ReadConfig(from)
	return flags, loaded, err
}

func (p *program) config(ctx context.Context) error {
	flags, loaded, err := p.load(ctx)
	if err != nil || loaded == nil {
		return err
	}
	invalid := loaded.Validate()
	text := loaded.Text()
	if flags.Check {
		text = ""
		if invalid == nil {
			text = "the configuration is valid\n"
		}
	}
	_, err = io.WriteString(p.stdout, text)
	return errors.Join(invalid, err)
}

// loadToAsk is load for a command that asks a cluster and writes what it was told; a configuration that is no good for that is an error.
func (p *program) loadToAsk(ctx context.Context) (*soak.Loaded, error) {
	_, loaded, err := p.load(ctx)
	if err != nil || loaded == nil {
		return nil, err
	}
	return loaded, errors.Join(loaded.Validate(), loaded.Config.CheckFiles())
}

// check is the check command.
func (p *program) check(ctx context.Context) error {
	loaded, err := p.loadToAsk(ctx)
	if err != nil || loaded == nil {
		return err
	}
	cfg := &loaded.Config
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := soak.CheckCluster(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.stdout, report.Text())
	if path := cfg.Session.Report; path != "" {
		err = errors.Join(err, soak.WriteCheck(path, report))
	}
	if err == nil && !report.Fit {
		return &verdictError{soak.ExitNotRun}
	}
	return err
}

// clean is the clean command.
func (p *program) clean(ctx context.Context) error {
	flags, loaded, err := p.load(ctx)
	if err != nil || loaded == nil {
		return err
	}
	if err := loaded.Validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	plan, err := soak.PlanClean(ctx, &loaded.Config, loaded.Chosen("application.topology"))
	if err != nil {
		return err
	}
	defer plan.Close()
	if _, err := io.WriteString(p.stdout, plan.Text()); err != nil || plan.Empty() {
		return err
	}
	if !flags.Yes {
		file, ok := p.stdin.(*os.File)
		if !ok || !term.IsTerminal(file.Fd()) {
			return soak.Usagef("nothing was removed; say --yes to remove what is listed")
		}
		if yes, err := p.confirm(ctx, file); err != nil || !yes {
			return errors.Join(err, p.print("nothing was removed\n"))
		}
	}
	if err := plan.Run(ctx); err != nil {
		return err
	}
	return p.print("removed\n")
}

// verify is the verify command.
func (p *program) verify(ctx context.Context) error {
	loaded, err := p.loadToAsk(ctx)
	if err != nil || loaded == nil {
		return err
	}
	cfg := &loaded.Config
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	progress := ui.NewVerifyProgress(p.stderr, p.progressIsTerminal(cfg.UI.Plain))
	report, err := soak.VerifyCluster(ctx, cfg, loaded.Chosen("application.topology"), progress.Tell)
	progress.Close()
	if err != nil {
		return err
	}
	errs := []error{ui.VerifyText(p.stdout, report)}
	if path := cfg.Session.Report; path != "" {
		errs = append(errs, soak.WriteVerify(path, report))
	}
	if path := cfg.Session.JUnit; path != "" {
		errs = append(errs, soak.WriteVerifyJUnit(path, report))
	}
	code := report.ExitCode()
	if unwritten := p.exitCode(errors.Join(errs...)); code == soak.ExitClean {
		code = unwritten
	}
	return &verdictError{code}
}

// replay is the replay command. Without a terminal it prints what came out of the session.
func (p *program) replay(ctx context.Context) error {
	flags, loaded, err := p.load(ctx)
	if err != nil || loaded == nil {
		return err
	}
	if err := loaded.Validate(); err != nil {
		return err
	}
	recording, err := soak.OpenRecording(flags.File)
	if err != nil {
		return err
	}
	defer recording.Close()
	screen := p.terminal(&loaded.Config)
	if screen == nil {
		last, err := recording.Snapshot(recording.Len() - 1)
		if err != nil {
			return err
		}
		return ui.Summary(p.stdout, last, nil)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := ui.Replay(ctx, recording, p.screenOptions(&loaded.Config, screen)); err != nil {
		return &soak.RunError{Err: err}
	}
	return nil
}

func (p *program) print(text string) error {
	_, err := io.WriteString(p.stdout, text)
	return err
}

// confirm asks on the terminal.
func (p *program) confirm(ctx context.Context, terminal io.Reader) (bool, error) {
	if err := p.print("remove all this? [y/N] "); err != nil {
		return false, err
	}
	answers := make(chan string, 1)
	go func() { // Nothing but an answer ends a read from a terminal; the process ends after it in any case.
		line, err := bufio.NewReader(terminal).ReadString('\n')
		if err != nil {
			line = ""
		}
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answers:
		return answer == "y" || answer == "yes", nil
	case <-ctx.Done():
		return false, p.print("\n")
	}
}

// session is the run command.
func (p *program) session(ctx context.Context) error {
	flags, loaded, err := p.load(ctx)
	if err != nil || loaded == nil {
		return err
	}
	limitMemory()
	return p.prepared(loaded, func(cfg *soak.Config, logger *slog.Logger) error {
		session, err := soak.New(*cfg, nil, soak.Deps{Logger: logger, Say: p.listener(cfg), ByHand: p.terminal(cfg) != nil})
		if err != nil {
			return err
		}
		shown := &exporting{Session: session}
		report, err := p.drive(ctx, shown, cfg)
		if report == nil {
			return err
		}
		return p.result(ctx, &ended{
			flags: flags, loaded: loaded, cfg: *cfg, logger: logger, report: report, err: err, last: session.Snapshot(), exported: shown.exported(),
		})
	})
}

// simulate is the simulate command.
func (p *program) simulate(ctx context.Context) error {
	flags, loaded, err := p.load(ctx)
	if err != nil || loaded == nil {
		return err
	}
	collectLazily()
	return p.prepared(loaded, func(cfg *soak.Config, logger *slog.Logger) error {
		simulation, err := soak.NewSimulation(*cfg, virtualTime, logger)
		if err != nil {
			return err
		}
		began := time.Now()
		report, err := p.watch(ctx, simulation)
		if report == nil {
			return errors.Join(err, p.repeats(flags, loaded, simulation.Config().Load.Seed))
		}
		return p.result(ctx, &ended{
			flags: flags, loaded: loaded, cfg: simulation.Config(), logger: logger, report: report, err: err, last: simulation.Snapshot(), took: time.Since(began),
		})
	})
}

// matrix is the matrix command.
func (p *program) matrix(ctx context.Context) error {
	flags, err := soak.ParseMatrix(p.args)
	if err != nil {
		return err
	}
	if flags.Help {
		return p.help(ctx)
	}
	collectLazily()
	bubble := virtualTime
	if flags.RealTime {
		bubble = nil
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	result, err := soak.RunMatrix(ctx, flags.Cells(), flags.Seed, bubble, nil, func(r *soak.CellResult) { ui.MatrixProgress(p.stderr, r) })
	if err != nil {
		return &soak.RunError{Err: err}
	}
	err = ui.MatrixText(p.stdout, result)
	if flags.Report != "" {
		err = errors.Join(err, soak.WriteMatrix(flags.Report, result))
	}
	if !result.AsStated {
		p.exitCode(err)
		return &verdictError{soak.ExitViolation}
	}
	return err
}

// bench is the bench command.
func (p *program) bench(ctx context.Context) error {
	flags, err := soak.ParseBench(p.args)
	if err != nil {
		return err
	}
	if flags.Help {
		return p.help(ctx)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	limitMemory()
	measures, err := soak.RunBench(ctx, flags, func(m soak.Measure) { fmt.Fprintf(p.stderr, "%s of %s: %.0f %s\n", m.What, m.Of, m.Value, m.Unit) })
	var unclean *soak.UncleanError
	switch {
	case errors.As(err, &unclean):
		p.exitCode(err)
		return &verdictError{unclean.Code}
	case ctx.Err() != nil:
		p.exitCode(soak.Runf("bench: interrupted; nothing is reported"))
		return &verdictError{soak.ExitUnknown}
	case err != nil:
		return err
	}
	err = soak.WriteBench(p.stdout, measures)
	if flags.Report != "" {
		err = errors.Join(err, soak.WriteBenchReport(flags.Report, measures))
	}
	return err
}

// prepared opens what a run needs besides brokers, and closes it when fn returns.
func (p *program) prepared(loaded *soak.Loaded, fn func(cfg *soak.Config, logger *slog.Logger) error) error {
	cfg := &loaded.Config
	if err := errors.Join(loaded.Validate(), cfg.CheckFiles()); err != nil {
		return err
	}
	logger, closeLog, err := cfg.OpenLog()
	if err != nil {
		return err
	}
	defer closeLog()
	if cfg.Session.Pprof != "" {
		stop, err := servePprof(cfg.Session.Pprof, logger)
		if err != nil {
			return err
		}
		defer stop()
	}
	return fn(cfg, logger)
}

// watch runs a simulation, tells how it gets on, and obeys signals meanwhile.
func (p *program) watch(ctx context.Context, s *soak.Simulation) (*soak.Report, error) {
	signals := notified()
	defer signal.Stop(signals)
	view, leave := context.WithCancel(ctx)
	defer leave()
	s.Start()
	var obeyed sync.WaitGroup
	obeyed.Go(func() { p.obey(ctx, s, signals, leave, true, os.Interrupt) })
	trouble := ui.Simulation(view, p.stderr, p.progressIsTerminal(s.Config().UI.Plain), s)
	if trouble != nil {
		s.Stop(true)
		trouble = &soak.RunError{Err: trouble}
	}
	report, err := s.Wait()
	obeyed.Wait()
	return report, errors.Join(trouble, err)
}

// notified returns the signals that end a run.
func notified() chan os.Signal {
	signals := make(chan os.Signal, 4)
	wanted := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup wants it ignored.
		wanted = append(wanted, syscall.SIGHUP)
	}
	signal.Notify(signals, wanted...)
	return signals
}

func (p *program) progressIsTerminal(plain bool) bool {
	file, ok := p.stderr.(*os.File)
	return ok && term.IsTerminal(file.Fd()) && !plain
}

// listener returns what prints the lines of a talking program, or nil where the dashboard is.
func (p *program) listener(cfg *soak.Config) func(line string) {
	if p.terminal(cfg) != nil {
		return nil
	}
	var mu sync.Mutex
	return func(line string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(p.stdout, line)
	}
}

// exporting remembers the session logs that were exported, for the summary.
type exporting struct {
	*soak.Session
	mu    sync.Mutex
	paths []string
}

// Export writes the session log so far and returns its path.
func (e *exporting) Export() (string, error) {
	path, err := e.Session.Export()
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.paths = append(e.paths, path)
	}
	return path, err
}

func (e *exporting) exported() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.paths)
}

// drive starts the session, shows it until it is over, and obeys signals meanwhile.
func (p *program) drive(ctx context.Context, s *exporting, cfg *soak.Config) (*soak.Report, error) {
	signals := notified()
	defer signal.Stop(signals)
	if err := start(ctx, s.Session, signals); err != nil {
		return nil, err
	}

	view, leave := context.WithCancel(ctx)
	defer leave()
	screen := p.terminal(cfg)
	var obeyed sync.WaitGroup
	drains := []os.Signal{os.Interrupt}
	if screen == nil { // A service manager ends a process like this, and kills it where that takes too long.
		drains = append(drains, syscall.SIGTERM)
	}
	obeyed.Go(func() { p.obey(ctx, s.Session, signals, leave, screen == nil, drains...) })
	var trouble error
	if screen != nil {
		trouble = p.dashboard(view, s, cfg, screen)
	} else {
		trouble = ui.Progress(view, p.stderr, p.progressIsTerminal(cfg.UI.Plain), s)
	}
	if trouble != nil {
		s.Stop(true)
	}
	report, err := s.Wait()
	obeyed.Wait()
	if trouble != nil && !errors.Is(trouble, ui.ErrLeft) {
		err = errors.Join(&soak.RunError{Err: trouble}, err)
	}
	return report, err
}

// start waits for the session to start; a signal or the end of ctx ends the attempt.
func start(ctx context.Context, s *soak.Session, signals <-chan os.Signal) error {
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.Start(attempt) }()
	select {
	case err := <-result:
		return err
	case <-signals:
	case <-ctx.Done():
	}
	cancel()
	if err := <-result; err == nil { // It was just through.
		s.Stop(true)
		if _, err := s.Wait(); err != nil {
			return err
		}
	}
	return soak.Runf("interrupted before the application had started; nothing was run")
}

// stoppable is a session or a simulation.
type stoppable interface {
	Stop(now bool)
	Done() <-chan struct{}
}

// obey turns signals into stops: the first of those that drain does so, everything else ends at once.
func (p *program) obey(ctx context.Context, s stoppable, signals <-chan os.Signal, leave func(), headless bool, drains ...os.Signal) {
	ended := ctx.Done()
	for drained := false; ; {
		select {
		case <-s.Done():
			return
		case sig := <-signals:
			if slices.Contains(drains, sig) && !drained {
				drained = true
				if headless {
					fmt.Fprintln(p.stderr, "\neostop: the load stops and the application drains; Ctrl-C again stops now")
				}
				s.Stop(false)
				continue
			}
		case <-ended:
			ended = nil
		}
		leave()
		s.Stop(true)
	}
}

// terminal returns where the dashboard is drawn, or nil when there shall be none.
func (p *program) terminal(cfg *soak.Config) *os.File {
	file, ok := p.stdout.(*os.File)
	if !ok || cfg.UI.Headless || cfg.UI.Plain || !term.IsTerminal(file.Fd()) {
		return nil
	}
	return file
}

func (p *program) dashboard(ctx context.Context, s ui.Session, cfg *soak.Config, screen *os.File) error {
	return ui.Run(ctx, s, p.screenOptions(cfg, screen))
}

func (p *program) screenOptions(cfg *soak.Config, screen *os.File) ui.Options {
	options := ui.Default()
	options.Theme, options.ASCII, options.FPS, options.Output = cfg.UI.Theme, cfg.UI.ASCII, cfg.UI.FPS, screen
	if file, ok := p.stdin.(*os.File); ok && term.IsTerminal(file.Fd()) {
		options.Input = file
	}
	return options
}

// ended is a run that took place.
type ended struct {
	flags    *soak.Flags
	loaded   *soak.Loaded
	cfg      soak.Config // as it was run
	logger   *slog.Logger
	report   *soak.Report
	err      error // beside the verdict
	last     *soak.Snapshot
	exported []string
	took     time.Duration // real time of a simulation, else 0
}

// result prints the summary and writes the reports, also when the session ended with an error beside its verdict.
func (p *program) result(ctx context.Context, e *ended) error {
	report, cfg := e.report, &e.cfg
	final := *e.last
	final.Verify.Verdict, final.Verify.Reasons, final.Processed = report.Verdict, report.Reasons, report.Records.Processed
	errs := []error{e.err, ui.Summary(p.stdout, &final, e.exported)}
	if e.took > 0 {
		errs = append(errs, ui.SummaryOfSimulation(p.stdout, final.Elapsed, e.took))
	}
	if path := cfg.Session.Report; path != "" {
		errs = append(errs, soak.WriteReport(path, report))
	}
	if path := cfg.Session.JUnit; path != "" {
		errs = append(errs, soak.WriteJUnit(path, report))
	}
	code := soak.ExitCode(report)
	if code != soak.ExitClean {
		errs = append(errs, p.repeats(e.flags, e.loaded, report.Seed))
	}
	if code == soak.ExitViolation {
		errs = append(errs, p.script(ctx, e))
	}
	// A bad verdict must not be hidden behind a report that could not be written.
	if unwritten := p.exitCode(errors.Join(errs...)); code == soak.ExitClean {
		code = unwritten
	}
	return &verdictError{code}
}

// repeats prints the command that runs the same once more.
func (p *program) repeats(flags *soak.Flags, loaded *soak.Loaded, seed int64) error {
	seeded := soak.FlagValue{Name: "seed", Texts: []string{strconv.FormatInt(seed, 10)}}
	_, err := fmt.Fprintf(p.stdout, "%-13s %s\n", "repeat", loaded.Repeat(p.command, flags, seeded))
	return err
}

// script prints the schedule of a run that has failed, as short as it can be found when that is asked for.
func (p *program) script(ctx context.Context, e *ended) error {
	cfg := e.cfg
	cfg.Load.Seed = e.report.Seed
	script, err := cfg.Script(cfg.Load.Seed)
	if err != nil || script.Len() == 0 {
		return err
	}
	title := "the schedule that failed"
	length := cfg.Load.Duration
	if cfg.Faults.Shrink {
		var found soak.Shrunk
		if found, err = p.shrink(ctx, e, &cfg); !errors.Is(err, soak.ErrNotRepeated) && found.Runs > 0 {
			script, length = found.Script, found.Length
			title = fmt.Sprintf("the shortest schedule that was found to fail still, in %d runs", found.Runs)
		}
	}
	const file = "failed.yaml"
	others := []soak.FlagValue{
		{Name: "seed", Texts: []string{strconv.FormatInt(cfg.Load.Seed, 10)}},
		{Name: "schedule", Texts: []string{file}},
		{Name: "cut"},
		{Name: "fault"},
		{Name: "hours"},
		{Name: "duration"},
	}
	if length > 0 {
		others[len(others)-1].Texts = []string{length.String()}
	}
	_, written := fmt.Fprintf(p.stdout, "\n%s", script.YAML(title+"; put it into "+file+" and run\n"+e.loaded.Repeat(p.command, e.flags, others...)))
	return errors.Join(err, written)
}

// shrink looks for a shorter schedule until it is found or a signal comes.
func (p *program) shrink(ctx context.Context, e *ended, cfg *soak.Config) (soak.Shrunk, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	simulation, err := soak.NewSimulation(*cfg, virtualTime, e.logger)
	if err != nil {
		return soak.Shrunk{}, err
	}
	return simulation.Shrink(ctx, soak.Failures(e.report), func(best soak.Shrunk) {
		fmt.Fprintf(p.stderr, "shrink: %d cuts and faults in %s still fail, %d runs\n", best.Script.Len(), best.Length.Round(time.Second), best.Runs)
	})
}

// servePprof serves the profiler until the returned function is called.
func servePprof(address string, log *slog.Logger) (func(), error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, soak.Runf("session.pprof: %w; choose another address with --pprof", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("profiler", "error", err)
		}
	})
	log.Info("profiler", "address", listener.Addr().String())
	return func() {
		if err := server.Close(); err != nil {
			log.Error("profiler", "error", err)
		}
		served.Wait()
	}, nil
}
