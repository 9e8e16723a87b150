package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/saki-run/saki/api"
)

func TestAMasterWhoseDiskIsFullSaysWhatToDo(t *testing.T) {
	full := fmt.Errorf("raft member m1 gives up: %w", &fs.PathError{Op: "write", Path: "vote.tmp", Err: syscall.ENOSPC})
	if e, ok := errors.AsType[*api.Error](diskFull(full, "/d")); !ok || e.Code != api.CodeNoSpace || e.Hint == "" {
		t.Errorf("got %v", e)
	}
	if other := errors.New("other"); diskFull(other, "/d") != other || diskFull(nil, "/d") != nil {
		t.Error("other errors are changed")
	}
}
