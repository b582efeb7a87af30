// Package processes holds the tests of the program as several processes on a real broker.
package processes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Environment variables that hold the address of a real broker, the second for a comparison that takes ten minutes.
const (
	testBrokers = "EOSTOP_TEST_BROKERS"
	sideBySide  = "EOSTOP_SIDE_BY_SIDE"
)

// executable is the path of the program, built for these tests.
var executable string

func TestMain(m *testing.M) { os.Exit(built(m)) }

// built runs the tests, and before them builds the program if there is a broker.
func built(m *testing.M) int {
	if os.Getenv(testBrokers) == "" && os.Getenv(sideBySide) == "" {
		return m.Run() // They all skip.
	}
	dir, err := os.MkdirTemp("", "eostop-processes-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	executable = filepath.Join(dir, "eostop")
	if out, err := exec.Command("go", "build", "-o", executable, "eostop").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process returns a process of the program, without a configuration file of the user's.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), executable, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
	return cmd
}

// kafkaStreams is a process of the soak program on Kafka Streams. It says on its output what becomes of it.
func kafkaStreams(t *testing.T, broker, app, name, dir string, properties ...string) *exec.Cmd {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	return exec.CommandContext(t.Context(), filepath.Join(root, ".ci", "kafka", "kafka.sh"), slices.Concat([]string{
		"streams", "bootstrap.servers=" + broker, "application.id=" + app, "client.id=" + name, "state.dir=" + dir,
	}, properties)...)
}
