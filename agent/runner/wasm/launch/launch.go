// Package launch starts wasm executors and finds the ones that an earlier agent process started: as a hardened container, or as
// a plain process.
package launch

import (
	"context"
	"errors"
)

// Space is one namespace's executor on this agent.
type Space struct {
	Namespace string
	Dir       string // the folder shared with the executor, absolute; it exists
}

// Options bounds an executor.
type Options struct {
	Workers   int   // worker processes, those in reserve included
	WorkerMem int64 // bytes the runtime of each keeps within; 0 is no limit
}

// Launcher starts executors. It is safe for concurrent use, but for two calls for the same space at a time.
type Launcher interface {
	// Name is "docker" or "process".
	Name() string
	// Check tells quickly why executors cannot be started here; nil when they can, as far as one can see.
	Check(ctx context.Context) error
	// Ensure gives the executor of the space: the one that runs, if it is of this program, else a new one. It may take
	// long when an image must be built first.
	Ensure(ctx context.Context, s Space) (Executor, error)
	// Running lists the namespaces whose executors run.
	Running(ctx context.Context) ([]string, error)
	// Owner is the user and group that the executor's files must belong to; -1 leaves them as they are.
	Owner() (uid, gid int)
	// Image is what the executors' containers are made of, once there is one; "" without containers.
	Image() string
	// SharesPaths reports whether an executor sees the machine's folders under their own names.
	SharesPaths() bool
}

// Executor is one that runs, or did. It is safe for concurrent use.
type Executor interface {
	// Adopted reports whether an earlier agent process started it.
	Adopted() bool
	// Done is closed when it has ended.
	Done() <-chan struct{}
	// Ended says in a sentence how it ended, once Done is closed.
	Ended() string
	// Stop ends it, removes what is left of it, and waits for that.
	Stop(ctx context.Context) error
	// Release lets go of it: it runs on, and Done means nothing any longer.
	Release()
}

// ErrUnsuitable is wrapped by errors that no retry will cure: this program or machine cannot do it.
var ErrUnsuitable = errors.New("not possible here")
