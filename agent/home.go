package agent

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/api"
)

// Home is an agent's data directory and the identity in it. One process at a time has it.
type Home struct {
	Dir     string // absolute
	ID      api.NodeID
	Cluster string // the one it has joined; empty before the first time

	lock *os.File
}

// identity is what the file agent.json holds.
type identity struct {
	ID      api.NodeID `json:"id"`
	Cluster string     `json:"cluster,omitempty"`
}

// OpenHome takes the directory, making it and an identity when there is none. It fails when another agent has it.
func OpenHome(dir string) (*Home, error) {
	h, err := openHome(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return h, nil
}

func openHome(dir string) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// The namespaces' folders below are entered by executors that run as another user.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	h := &Home{Dir: dir}
	if h.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(h.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(api.Errorf(api.CodeInUse, "another agent uses it").WithHint("give each agent a --data-dir of its own"), h.lock.Close())
	}
	b, err := os.ReadFile(h.file())
	switch {
	case errors.Is(err, os.ErrNotExist):
		h.ID = newNodeID()
		err = h.save()
	case err == nil:
		var id identity
		if err = json.Unmarshal(b, &id); err == nil {
			h.ID, h.Cluster = id.ID, id.Cluster
		}
		if err == nil && h.ID == "" {
			err = errors.New("agent.json has no id")
		}
	}
	if err != nil {
		return nil, errors.Join(err, h.lock.Close())
	}
	return h, nil
}

func newNodeID() api.NodeID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return api.NodeID(hex.EncodeToString(b[:]))
}

func (h *Home) file() string { return filepath.Join(h.Dir, "agent.json") }

// Join notes the cluster that the agent belongs to from now on.
func (h *Home) Join(cluster string) error {
	if h.Cluster == cluster {
		return nil
	}
	h.Cluster = cluster
	return h.save()
}

func (h *Home) save() error {
	b, err := json.Marshal(identity{h.ID, h.Cluster})
	if err != nil {
		return err
	}
	tmp := h.file() + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, h.file())
}

// Namespaces is the folder that holds one folder for each namespace.
func (h *Home) Namespaces() string { return filepath.Join(h.Dir, "ns") }

// AttemptDir is the folder of one attempt; it may not exist.
func (h *Home) AttemptDir(namespace string, id api.TaskID, attempt uint32) string {
	return filepath.Join(h.Namespaces(), namespace, "tasks", fmt.Sprintf("%s.%d", id, attempt))
}

// Close gives the directory up.
func (h *Home) Close() error { return h.lock.Close() }
