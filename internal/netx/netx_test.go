package netx_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/saki-run/saki/internal/netx"
)

func TestAnAddressInUseIsATypedError(t *testing.T) {
	ln, err := netx.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	_, err = netx.Listen(t.Context(), addr)
	inUse, ok := errors.AsType[*netx.InUseError](err)
	if !ok {
		t.Fatalf("second listen on %s: got %v, want an InUseError", addr, err)
	}
	if got, want := inUse.Error(), "address "+addr+" is in use by another process"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v does not wrap EADDRINUSE", err)
	}
	if _, err := netx.Listen(t.Context(), "127.0.0.1:notaport"); err == nil || errors.As(err, &inUse) {
		t.Errorf("bad port: got %v, want another error", err)
	}
}

func TestDialReachesAListener(t *testing.T) {
	ln, err := netx.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_, err = io.WriteString(c, "hello\n")
			c.Close()
		}
		done <- err
	}()
	c, err := netx.Dial(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := bufio.NewReader(c).ReadString('\n'); got != "hello\n" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := netx.Dial(t.Context(), ln.Addr().String()); err == nil {
		t.Error("dialing a closed listener gave no error")
	}
}

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:5050": true, "127.9.8.7:1": true, "[::1]:80": true, "::1": true, "localhost:5050": true,
		"127.0.0.1": true, "[::ffff:127.0.0.1]:1": true,
		":5050": false, "0.0.0.0:5050": false, "10.0.0.1:1": false, "example.org:1": false, "[::]:1": false, "": false,
	} {
		if got := netx.IsLoopback(addr); got != want {
			t.Errorf("IsLoopback(%q) = %v, want %v", addr, got, want)
		}
	}
}

func TestHTTPRefusesALongHeaderAndDoesNotFollowRedirects(t *testing.T) {
	ln, err := netx.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := netx.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		fmt.Fprint(w, "here")
	}), nil)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	c := netx.HTTPClient()
	t.Cleanup(c.CloseIdleConnections)

	get := func(path, header string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ln.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Pad", header)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, tc := range []struct {
		path, header string
		want         int
	}{
		{"/", "small", http.StatusOK},
		{"/", strings.Repeat("x", 128<<10), http.StatusRequestHeaderFieldsTooLarge},
		{"/away", "", http.StatusFound},
	} {
		if got := get(tc.path, tc.header); got != tc.want {
			t.Errorf("GET %s with %d bytes of header: got %d, want %d", tc.path, len(tc.header), got, tc.want)
		}
	}
}
