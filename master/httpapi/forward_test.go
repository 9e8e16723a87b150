package httpapi

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/saki-run/saki/api"
)

// code gives the error code of an answer.
func code(t *testing.T, w *httptest.ResponseRecorder) api.Code {
	t.Helper()
	var body api.ErrorBody
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error == nil {
		t.Fatalf("answer %d %q is no error: %v", w.Code, w.Body, err)
	}
	return body.Error.Code
}

func TestALeaderThatFallsSilentIsNotWaitedForOnceItIsReplaced(t *testing.T) {
	var asked atomic.Int32
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-r.Context().Done()
	}))
	defer silent.Close()
	old := Leader{Name: "m1", Addr: strings.TrimPrefix(silent.URL, "http://")}
	s := &Server{leader: leaderTransport(), cfg: Config{Log: slog.New(slog.DiscardHandler), Leader: func() Leader {
		if asked.Load() > 0 {
			return Leader{Name: "m2"}
		}
		return old
	}}}
	for method, want := range map[string]api.Code{http.MethodGet: api.CodeNoLeader, http.MethodPost: api.CodeUnknownOutcome} {
		asked.Store(0)
		w := httptest.NewRecorder()
		s.forward(w, httptest.NewRequestWithContext(t.Context(), method, "/v1/tasks", nil), old)
		if got := code(t, w); got != want {
			t.Errorf("%s: got %s, want %s", method, got, want)
		}
	}
}

func TestAMasterThatKnowsNoLeaderDoesNotSayThatSomethingIsMissing(t *testing.T) {
	s := &Server{cfg: Config{Leader: func() Leader { return Leader{} }}}
	for said, want := range map[api.Code]api.Code{
		api.CodeNotFound: api.CodeNoLeader, api.CodeModuleNotFound: api.CodeNoLeader, api.CodeInvalidArgument: api.CodeInvalidArgument,
	} {
		w := httptest.NewRecorder()
		s.elsewhere(&recorder{ResponseWriter: w}, httptest.NewRequest(http.MethodGet, "/v1/tasks/x", nil), route{
			where: anywhere, serve: func(http.ResponseWriter, *http.Request) error { return api.Errorf(said, "no") },
		})
		if got := code(t, w); got != want {
			t.Errorf("%s became %s, want %s", said, got, want)
		}
	}
}
