package httpapi

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestPagesOfOtherSitesAreTurnedAway(t *testing.T) {
	loopback, network := "127.0.0.1:5050", "10.0.0.1:5050"
	tests := []struct {
		local, host, origin string
		want                int
	}{
		{loopback, "127.0.0.1:5050", "", http.StatusOK},
		{loopback, "127.0.0.1:5050", "http://127.0.0.1:5050", http.StatusOK},
		{loopback, "[::1]:5050", "", http.StatusOK},
		{loopback, "localhost:5050", "http://localhost:5050", http.StatusOK},
		{loopback, "saki.localhost:5050", "", http.StatusOK},
		{loopback, "buildbox:5050", "", http.StatusOK},
		{loopback, "127.0.0.1:5050", "http://evil.example", http.StatusForbidden},
		{loopback, "evil.example:5050", "http://evil.example:5050", http.StatusForbidden},
		{loopback, "evil.example:5050", "", http.StatusForbidden}, // a GET of the same origin names none
		{loopback, "evil.example.", "", http.StatusForbidden},
		{loopback, "127.0.0.1.evil.example:5050", "", http.StatusForbidden},
		{network, "m1.example.org:5050", "http://m1.example.org:5050", http.StatusOK},
		{network, "m1.example.org:5050", "http://evil.example", http.StatusForbidden},
	}
	h := sameOrigin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for _, tt := range tests {
		local, err := net.ResolveTCPAddr("tcp", tt.local)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/tasks", nil)
		r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(local)))
		r.Host = tt.host
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("on %s, host %s, origin %q: got %d, want %d", tt.local, tt.host, tt.origin, w.Code, tt.want)
		}
	}
}
