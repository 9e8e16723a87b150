package httpapi

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/saki-run/saki/api"
)

func TestAFullDiskIsSaidPlainly(t *testing.T) {
	w := httptest.NewRecorder()
	writeError(w, fmt.Errorf("put blob: %w", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}))
	var body api.ErrorBody
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusInsufficientStorage || body.Error.Code != api.CodeNoSpace || body.Error.Hint == "" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
