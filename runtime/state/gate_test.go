package state

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// An open database does not hear of failures in its books: the store is broken, and nothing more reaches the disk.
func TestGateConceals(t *testing.T) {
	for name, c := range map[string]struct {
		kind errorfs.OpKind
		part string
	}{
		"create manifest":    {errorfs.OpCreate, "MANIFEST-"},
		"write manifest":     {errorfs.OpFileWrite, "MANIFEST-"},
		"sync manifest":      {errorfs.OpFileSync, "MANIFEST-"},
		"sync manifest data": {errorfs.OpFileSyncData, "MANIFEST-"},
		"create marker":      {errorfs.OpCreate, "marker."},
		"open folder":        {errorfs.OpOpenDir, "db"},
		"sync folder":        {errorfs.OpFileSync, "db"},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			must(t, mem.MkdirAll("db", 0o750))
			faulty := &faultyFS{match: failing(c.part, errDisk, c.kind)}
			g := gate{errorfs.Wrap(mem, faulty), newFuse()}
			attempt := func() error { return keepBooks(g, "MANIFEST-000001", "marker.manifest.000001.MANIFEST-000001") }
			faulty.on.Store(true)
			if err := attempt(); !errors.Is(err, errDisk) || g.fuse.err() != nil {
				t.Fatalf("while it is being opened: %v, %v", err, g.fuse.err())
			}
			g.fuse.serving.Store(true)
			must(t, attempt())
			if err := g.fuse.err(); !errors.Is(err, errDisk) || !errors.Is(err, ErrBroken) {
				t.Fatalf("the failure is %v", err)
			}
			faulty.on.Store(false)
			must(t, keepBooks(g, "MANIFEST-000002", "marker.manifest.000002.MANIFEST-000002"))
			names, err := mem.List("db")
			must(t, err)
			for _, name := range names {
				if strings.Contains(name, "000002") {
					t.Errorf("%s was written by a broken database", name)
				}
			}
		})
	}
}

// The manifest that the database was opened with is one of its books too.
func TestGateConcealsFirstManifest(t *testing.T) {
	mem := vfs.NewMem()
	faulty := &faultyFS{match: failing("MANIFEST-", errDisk, errorfs.OpFileWrite)}
	g := gate{errorfs.Wrap(mem, faulty), newFuse()}
	f, err := g.Create("MANIFEST-000001", vfs.WriteCategoryUnspecified)
	must(t, err)
	g.fuse.serving.Store(true)
	faulty.on.Store(true)
	if n, err := f.Write([]byte("edit")); n != 4 || err != nil || !errors.Is(g.fuse.err(), errDisk) {
		t.Fatalf("Write = %d, %v, the failure is %v", n, err, g.fuse.err())
	}
	faulty.on.Store(false)
	_, err = f.Write([]byte("edit"))
	must(t, errors.Join(err, f.Sync(), f.SyncData(), f.Close()))
	info, err := mem.Stat("MANIFEST-000001")
	must(t, err)
	if info.Size() != 0 {
		t.Errorf("a broken database has written %d bytes", info.Size())
	}
}

// keepBooks does what Pebble does when it begins a new manifest.
func keepBooks(g gate, manifest, marker string) error {
	dir, err := g.OpenDir("db")
	if err != nil && !g.fuse.serving.Load() {
		return err
	}
	f, err := g.Create("db/"+manifest, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	n, err := f.Write([]byte("edit"))
	if err == nil && n != 4 {
		err = io.ErrShortWrite
	}
	if err := errors.Join(err, f.Sync(), f.SyncData(), f.Close()); err != nil {
		return err
	}
	m, err := g.Create("db/"+marker, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = m.Close()
	if dir != nil {
		err = errors.Join(err, dir.Sync(), dir.Close())
	}
	return err
}

// A crash between the creation of a manifest's marker and the sync of the folder may keep the marker. The manifest has to be there then.
func TestCrashBetweenManifestAndMarker(t *testing.T) {
	rng := randomly(t)
	mem := vfs.NewCrashableMem()
	var clones []*vfs.MemFS
	marked := false
	var mu sync.Mutex
	f := newFixture(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if marked {
			for range 20 {
				clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
			}
		}
		marked = op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "marker.manifest.")
		return nil
	})))
	for i := range 3 {
		s := f.open(StoreOptions{})
		put(t, s, "a", fmt.Sprint(i))
		must(t, s.Commit(int64(i)))
		must(t, s.Close())
	}
	must(t, f.dir.Close())
	if len(clones) == 0 {
		t.Fatal("no manifest was made: the test does not test what it should")
	}
	for _, clone := range clones {
		f.fs = clone
		f.openDirectory()
		f.close(f.open(StoreOptions{}))
	}
}
