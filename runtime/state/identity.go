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
	processFile = "kafka-streams-process-metadata" // the name and the content are Kafka Streams' own
	clusterFile = "cluster-id"
)

// processMetadata is the content of processFile.
type processMetadata struct {
	ProcessID uuid.UUID `json:"processId"`
}

// identify reads who the directory belongs to, and writes down what was not known yet.
func (d *Directory) identify(clusterID string) error {
	if err := d.checkCluster(clusterID); err != nil {
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

func (d *Directory) checkCluster(id string) error {
	if id == "" {
		return nil
	}
	data, err := d.readFile(d.file(clusterFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read cluster id in state directory %s: %w", d.path, err)
	}
	switch stored := strings.TrimSpace(string(data)); stored {
	case id:
		return nil
	case "":
		if err := d.writeFile(d.file(clusterFile), []byte(id+"\n")); err != nil {
			return fmt.Errorf("write cluster id in state directory %s: %w", d.path, err)
		}
		return nil
	default:
		return &ClusterMismatchError{Path: d.path, Stored: stored, Actual: id}
	}
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

// ClusterOf returns the id of the cluster that the state directory at path on the disk belongs to; empty if it is no state
// directory, or is tied to no cluster.
func ClusterOf(path string) string {
	if _, err := os.Stat(filepath.Join(path, processFile)); err != nil {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(path, clusterFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
