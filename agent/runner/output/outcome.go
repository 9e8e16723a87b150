package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// outcomeFile is the name of the file that holds an attempt's outcome.
const outcomeFile = "outcome"

// ErrNone says that an attempt's folder holds no whole outcome.
var ErrNone = errors.New("no outcome")

// Save leaves o in dir, all or nothing for whoever looks. It survives the death of every process; [Sync] makes it survive that
// of the machine.
func Save(dir string, o *api.Outcome) error {
	b, err := wire.Marshal(o)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, outcomeFile+".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("save outcome: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, outcomeFile)); err != nil {
		return fmt.Errorf("save outcome: %w", err)
	}
	return nil
}

// Sync puts a saved outcome onto the disk.
func Sync(dir string) error {
	for _, p := range []string{filepath.Join(dir, outcomeFile), dir} {
		f, err := os.Open(p)
		if err != nil {
			return fmt.Errorf("sync outcome: %w", err)
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return fmt.Errorf("sync outcome: %w", err)
		}
	}
	return nil
}

// Load gives the outcome that [Save] left in dir. It gives [ErrNone] when there is none, or only a part after a power loss.
func Load(dir string) (api.Outcome, error) {
	b, err := os.ReadFile(filepath.Join(dir, outcomeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return api.Outcome{}, ErrNone
	}
	if err != nil {
		return api.Outcome{}, fmt.Errorf("load outcome: %w", err)
	}
	var o api.Outcome
	if err := wire.Unmarshal(b, &o); err != nil || !o.State.Terminal() {
		return api.Outcome{}, fmt.Errorf("load outcome of %d bytes: %w", len(b), ErrNone)
	}
	return o, nil
}

// Discard removes an outcome that an earlier try left in dir.
func Discard(dir string) { _ = os.Remove(filepath.Join(dir, outcomeFile)) }
