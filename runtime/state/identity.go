package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
)

const (
	processFile     = "kafka-streams-process-metadata" // the name and the content are Kafka Streams' own
	clusterFile     = "cluster-id"
	applicationFile = "application-id"
)

// processMetadata is the content of processFile.
type processMetadata struct {
	ProcessID uuid.UUID `json:"processId"`
}

// identify reads who the directory belongs to, and writes down what was not known yet.
func (d *Directory) identify() error {
	if err := d.checkOwner(); err != nil {
		return err
	}
	data, err := d.readFile(d.file(processFile))
	var m processMetadata
	if err == nil && json.Unmarshal(data, &m) == nil && m.ProcessID != uuid.Nil {
		d.processID = m.ProcessID.String()
		return nil
	}
	// Like Kafka Streams: what cannot be read or understood is replaced. A new process id costs at most a move of tasks.
	if m.ProcessID, err = uuid.NewRandom(); err != nil {
		return fmt.Errorf("make process id: %w", err)
	}
	if data, err = json.Marshal(m); err != nil {
		return fmt.Errorf("encode process id: %w", err)
	}
	if err := d.writeFile(d.file(processFile), data); err != nil {
		return fmt.Errorf("write process id in state directory %s: %w", d.path, err)
	}
	d.processID = m.ProcessID.String()
	return nil
}

// checkOwner compares the cluster and the application that the directory belongs to. Nothing is written before both are known to be the right
// ones; a directory that does not know one of them gets it.
func (d *Directory) checkOwner() error {
	type unknown struct{ file, id string }
	var missing []unknown
	for _, owner := range []struct {
		file, id string
		mismatch func(stored string) error
	}{
		{clusterFile, d.config.ClusterID, func(stored string) error {
			return &ClusterMismatchError{Path: d.path, Stored: stored, Actual: d.config.ClusterID}
		}},
		{applicationFile, d.config.ApplicationID, func(stored string) error {
			return &ApplicationMismatchError{Path: d.path, Stored: stored, Actual: d.config.ApplicationID}
		}},
	} {
		if owner.id == "" {
			continue
		}
		data, err := d.readFile(d.file(owner.file))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("read %s in state directory %s: %w", owner.file, d.path, err)
		}
		switch stored := strings.TrimSpace(string(data)); stored {
		case owner.id:
		case "":
			missing = append(missing, unknown{owner.file, owner.id})
		default:
			return owner.mismatch(stored)
		}
	}
	for _, m := range missing {
		if err := d.writeFile(d.file(m.file), []byte(m.id+"\n")); err != nil {
			return fmt.Errorf("write %s in state directory %s: %w", m.file, d.path, err)
		}
	}
	return nil
}

func (d *Directory) readFile(path string) (data []byte, err error) {
	f, err := d.fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

// temporary is what the name of a file ends with until it is complete.
const temporary = ".tmp"

// writeFile replaces a file as a whole: after a crash there is the old content or the new.
func (d *Directory) writeFile(path string, data []byte) error {
	f, err := d.fs.Create(path+temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if d.onDisk() {
		err = os.Chmod(path+temporary, secretFiles) // the vfs knows no modes
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.fs.Rename(path+temporary, path); err != nil {
		return err
	}
	return d.syncFolder(d.fs.PathDir(path))
}

// OwnerOf returns the ids of the cluster and of the application that the state directory at path on the disk belongs to. They are empty if it
// is no state directory, or does not know them.
func OwnerOf(path string) (clusterID, applicationID string) {
	if _, err := os.Stat(filepath.Join(path, processFile)); err != nil {
		return "", ""
	}
	read := func(file string) string {
		data, err := os.ReadFile(filepath.Join(path, file))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(data))
	}
	return read(clusterFile), read(applicationFile)
}
