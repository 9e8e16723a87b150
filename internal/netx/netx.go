// Package netx makes every stream listener, dialer and HTTP endpoint of the tree, so that limits are set in one place
// and encrypting the links is one change.
package netx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	keepAlive   = 15 * time.Second
)

// InUseError reports a listen address that another process holds. Its text is fit for a terminal.
type InUseError struct {
	Addr string // as it was asked for
	Err  error  // what the system said
}

// Error names the address and the reason.
func (e *InUseError) Error() string {
	return fmt.Sprintf("address %s is in use by another process", e.Addr)
}

// Unwrap returns the system's error.
func (e *InUseError) Unwrap() error { return e.Err }

// Listen opens a TCP listener on addr ("host:port"; port 0 picks a free one). An address that is taken gives an
// [InUseError]. Cancelling ctx stops the name lookup only; the listener lives until it is closed.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: keepAlive}
	ln, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &InUseError{Addr: addr, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

// Dial connects to addr ("host:port") over TCP, giving up after five seconds or when ctx ends.
func Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return conn, nil
}

// IsLoopback says whether addr ("host:port" or a bare host) can be reached from this machine only. An empty host means
// every interface and so is not loopback. Names other than "localhost" are not looked up and count as not loopback.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
