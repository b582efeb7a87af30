package state

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"
)

func openDisk(t *testing.T, path, cluster string) *Directory {
	t.Helper()
	d, err := OpenDirectory(DirectoryConfig{Path: path, ClusterID: cluster})
	must(t, err)
	return d
}

func TestDirectoryOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app", "i1")
	d := openDisk(t, path, "c1")
	id := d.ProcessID()
	if _, err := uuid.Parse(id); err != nil {
		t.Fatalf("process id %q: %v", id, err)
	}
	data, err := os.ReadFile(filepath.Join(path, "kafka-streams-process-metadata"))
	must(t, err)
	if want := fmt.Sprintf("{%q:%q}", "processId", id); string(data) != want {
		t.Fatalf("process metadata %s, want %s", data, want)
	}
	if goruntime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{"": os.ModeDir | 0o750, processFile: 0o600, clusterFile: 0o600} {
			info, err := os.Stat(filepath.Join(path, name))
			must(t, err)
			if info.Mode()&^0o027 != want&^0o027 || info.Mode()&^want != 0 {
				t.Errorf("mode of %q is %v, want %v", name, info.Mode(), want)
			}
		}
	}
	s, err := d.OpenStore("1_0", "counts", StoreOptions{})
	must(t, err)
	put(t, s, "a", "1")
	must(t, s.Commit(1))
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "1 stores are still open") {
		t.Fatalf("Close with an open store: %v", err)
	}
	must(t, s.Close())
	must(t, d.Close())
	must(t, d.Close())
	if _, err := d.OpenStore("1_0", "counts", StoreOptions{}); !errors.Is(err, ErrClosed) {
		t.Fatalf("OpenStore after Close: %v", err)
	}

	d = openDisk(t, path, "c1")
	if d.ProcessID() != id {
		t.Fatalf("the process id changed from %s to %s", id, d.ProcessID())
	}
	s, err = d.OpenStore("1_0", "counts", StoreOptions{})
	must(t, err)
	wantValue(t, s, "a", "1")
	must(t, s.Close())
	must(t, d.Close())
}

func TestLocked(t *testing.T) {
	path := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	d := openDisk(t, path, "")
	for _, p := range []string{path, path + string(filepath.Separator) + ".", link} {
		_, err := OpenDirectory(DirectoryConfig{Path: p})
		var locked *LockedError
		if !errors.As(err, &locked) || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), locked.Path) {
			t.Errorf("second instance over %s: %v", p, err)
		}
	}
	must(t, d.Close())
	must(t, openDisk(t, link, "").Close())

	mem := vfs.NewMem()
	d, err := OpenDirectory(DirectoryConfig{Path: "a", FS: mem})
	must(t, err)
	var locked *LockedError
	if _, err := OpenDirectory(DirectoryConfig{Path: "a", FS: mem}); !errors.As(err, &locked) {
		t.Errorf("second instance in memory: %v", err)
	}
	must(t, d.Close())
}

// lockVariable makes the test binary hold a directory until its standard input ends.
const lockVariable = "EOSTOP_TEST_LOCK"

func TestLockedByProcess(t *testing.T) {
	if path := os.Getenv(lockVariable); path != "" {
		d := openDisk(t, path, "")
		fmt.Println("locked")
		_, _ = io.ReadAll(os.Stdin)
		must(t, d.Close())
		return
	}
	path := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestLockedByProcess$", "-test.v")
	cmd.Env = append(os.Environ(), lockVariable+"="+path)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() == "locked" {
			break
		}
	}
	_, err = OpenDirectory(DirectoryConfig{Path: path})
	if _, ok := errors.AsType[*LockedError](err); !ok {
		t.Errorf("directory of another process: %v", err)
	}
	must(t, stdin.Close())
	_, err = io.Copy(io.Discard, stdout)
	must(t, err)
	must(t, cmd.Wait())
	must(t, openDisk(t, path, "").Close())
}

func TestClusterMismatch(t *testing.T) {
	path := t.TempDir()
	must(t, openDisk(t, path, "").Close()) // not known yet
	must(t, openDisk(t, path, "c1").Close())
	_, err := OpenDirectory(DirectoryConfig{Path: path, ClusterID: "c2"})
	var mismatch *ClusterMismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("other cluster: %v", err)
	}
	for _, part := range []string{mismatch.Path, `"c1"`, `"c2"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	must(t, openDisk(t, path, "c1").Close())
	must(t, openDisk(t, path, "").Close())
}

// TestApplicationMismatch: a directory is one application's on one cluster, and an attempt with the wrong ones leaves no trace in it.
func TestApplicationMismatch(t *testing.T) {
	path := t.TempDir()
	open := func(cluster, application string) error {
		d, err := OpenDirectory(DirectoryConfig{Path: path, ClusterID: cluster, ApplicationID: application})
		if err != nil {
			return err
		}
		return d.Close()
	}
	owner := func(want ...string) {
		t.Helper()
		if cluster, application := OwnerOf(path); cluster != want[0] || application != want[1] {
			t.Errorf("directory of application %q on cluster %q, want %q", application, cluster, want)
		}
	}
	owner("", "")
	must(t, open("c1", "")) // a directory that does not know its application is adopted by the first that uses it
	owner("c1", "")
	if _, ok := errors.AsType[*ClusterMismatchError](open("c2", "b")); !ok {
		t.Error("no mismatch of clusters")
	}
	owner("c1", "")
	must(t, open("c1", "a"))
	owner("c1", "a")
	err := open("c1", "b")
	mismatch, ok := errors.AsType[*ApplicationMismatchError](err)
	if !ok {
		t.Fatalf("other application: %v", err)
	}
	for _, part := range []string{mismatch.Path, `"a"`, `"b"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	owner("c1", "a")
	must(t, open("c1", "a"))
}

func TestUnreadableProcessMetadata(t *testing.T) {
	for _, content := range []string{"", "{", `{"processId":"nonsense"}`, `{"processId":"00000000-0000-0000-0000-000000000000"}`, "{}"} {
		t.Run(content, func(t *testing.T) {
			path := t.TempDir()
			file := filepath.Join(path, processFile)
			must(t, os.WriteFile(file, []byte(content), 0o600))
			d := openDisk(t, path, "")
			id := d.ProcessID()
			if u, err := uuid.Parse(id); err != nil || u == uuid.Nil {
				t.Fatalf("process id %q", id)
			}
			must(t, d.Close())
			d = openDisk(t, path, "")
			if d.ProcessID() != id {
				t.Fatal("the fresh process id was not kept")
			}
			must(t, d.Close())
		})
	}
}

// Kafka: StateDirectoryTest, shouldPersistProcessIdAcrossRestart, shouldGetFreshProcessIdIfProcessFileDeleted; one that cannot be read counts as
// deleted.
func TestFreshProcessID(t *testing.T) {
	faulty := &faultyFS{match: failing(processFile, errDisk, errorfs.OpOpen)}
	mem := vfs.NewMem()
	f := newFixture(t, errorfs.Wrap(mem, faulty))
	reopened := func() string {
		t.Helper()
		must(t, f.dir.Close())
		f.openDirectory()
		return f.dir.ProcessID()
	}
	first := f.dir.ProcessID()
	if got := reopened(); got != first {
		t.Fatalf("the process id changed from %s to %s", first, got)
	}
	must(t, mem.Remove("app/i1/"+processFile))
	second := reopened()
	if second == first || second != reopened() {
		t.Fatalf("after the file was deleted: %s, before %s", second, first)
	}
	faulty.on.Store(true)
	third := reopened()
	faulty.on.Store(false)
	if third == second || third != reopened() {
		t.Fatalf("after the file could not be read: %s, before %s", third, second)
	}
	must(t, f.dir.Close())
}

// Java's fields beside the process id are not in the way.
func TestProcessMetadataOfJava(t *testing.T) {
	path := t.TempDir()
	const id = "5bbd8e3e-0b3c-4e3c-9d58-0f3f7f3b1c11"
	must(t, os.WriteFile(filepath.Join(path, processFile), []byte(`{"processId":"`+id+`","more":[1]}`), 0o600))
	d := openDisk(t, path, "")
	if d.ProcessID() != id {
		t.Fatalf("process id %s, want %s", d.ProcessID(), id)
	}
	must(t, d.Close())
}

func TestNotWritable(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpMkdirAll, errorfs.OpCreate} {
		faulty := &faultyFS{match: failing("", os.ErrPermission, kind)}
		faulty.on.Store(true)
		_, err := OpenDirectory(DirectoryConfig{Path: "some/where", FS: errorfs.Wrap(vfs.NewMem(), faulty)})
		var locked *LockedError
		if !errors.Is(err, os.ErrPermission) || errors.As(err, &locked) || !strings.Contains(err.Error(), "some/where") {
			t.Errorf("directory that cannot be written to: %v", err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := OpenDirectory(DirectoryConfig{Path: filepath.Join(file, "below")}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("directory below a file: %v", err)
	}
	_, err := OpenDirectory(DirectoryConfig{Recording: 7})
	if err == nil || !strings.Contains(err.Error(), "path") || !strings.Contains(err.Error(), "recording_level") {
		t.Errorf("no path: %v", err)
	}
}

func TestStoredTasks(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem)
	if got := f.dir.StoredTasks(); len(got) != 0 {
		t.Fatalf("StoredTasks() = %q", got)
	}
	for _, task := range []string{"10_0", "2_10", "2_9", "0_0"} {
		s, err := f.dir.OpenStore(task, "counts", StoreOptions{})
		must(t, err)
		must(t, s.Close())
	}
	for _, dir := range []string{"3_0", "4_0/pebble", "x_1/pebble/counts", "5_0/rocksdb/counts", "6_0/pebble/a b"} {
		must(t, mem.MkdirAll("app/i1/"+dir, 0o750))
	}
	if got, want := f.dir.StoredTasks(), []string{"0_0", "2_9", "2_10", "10_0"}; !slices.Equal(got, want) {
		t.Fatalf("StoredTasks() = %q, want %q", got, want)
	}
	must(t, f.dir.Close())
}

// Threads open and close stores of one directory at the same time, and others look at their figures.
func TestConcurrentOwners(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	var owners, readers sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		stores := make(chan *Store, 1)
		owners.Go(func() {
			for round := range 5 {
				s, err := f.dir.OpenStore(fmt.Sprintf("0_%d", i), "counts", StoreOptions{Cache: f.cache, MemtableBytes: minMemtableBytes})
				if err != nil {
					t.Error(err)
					return
				}
				if round == 0 {
					stores <- s
				}
				for n := range 2000 {
					if err := errors.Join(s.Put(fmt.Append(nil, n), make([]byte, 100), 1)); err != nil {
						t.Error(err)
					}
					if n%100 == 0 {
						if err := s.Commit(int64(n)); err != nil {
							t.Error(err)
						}
					}
				}
				if round == 3 {
					s.Abandon()
				} else if err := s.Close(); err != nil {
					t.Error(err)
				}
				f.dir.StoredTasks()
			}
		})
		readers.Go(func() {
			s := <-stores
			for {
				select {
				case <-done:
					return
				default:
					_, _, _ = s.Stats(), s.Position(), s.Err()
					goruntime.Gosched()
				}
			}
		})
	}
	owners.Wait()
	close(done)
	readers.Wait()
	must(t, f.dir.Close())
}
