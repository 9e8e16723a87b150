// Package client talks to a Saki cluster through the HTTP API of its masters. The saki command is built on it.
//
// A [Client] is given one or more masters and tries them in turn. What can be repeated safely is repeated: when a master
// cannot be reached, while there is no leader, and when the outcome of a submit is unknown (which is why every submit
// carries an idempotency key). Errors are of type [*api.Error]; when no master answers at all the code is
// [api.CodeUnreachable] and the message names each address with the reason.
package client

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/saki-run/saki/api"
)

// DefaultAddr is where a cluster on the same machine answers.
const DefaultAddr = "http://127.0.0.1:5050"

// Config says which cluster to talk to and how patiently. The zero value means [DefaultAddr].
type Config struct {
	// Addrs are the masters, as URLs or as host:port. Default: [DefaultAddr].
	Addrs []string

	// Patience is how long one request is repeated while no master answers or none leads. Default: 30 s; negative: no retries.
	Patience time.Duration

	// ConnectPatience is the same for a client that no master has answered yet, so that a wrong address is told soon.
	// Default: 500 ms; negative: no retries.
	ConnectPatience time.Duration

	// AnswerTimeout is how long one master may take over one answer, on top of the wait that was asked for. Uploads and the
	// bodies of streams are not bounded by it. Default: 15 s.
	AnswerTimeout time.Duration

	// Transport carries the requests. Default: one of its own that keeps connections alive and uses no proxy.
	Transport http.RoundTripper

	// UserAgent is sent with every request. Default: "saki".
	UserAgent string
}

// Client talks to one cluster. It is safe for concurrent use and keeps its connections alive; there is nothing to close.
type Client struct {
	cfg     Config
	http    http.Client
	addrs   []string
	current atomic.Uint32 // index of the master that answered last
	reached atomic.Bool   // some master has answered

	lookEvery time.Duration // tests shorten it
}

// New makes a client. It checks the addresses and connects to nothing yet.
func New(cfg Config) (*Client, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.Patience, 30*time.Second)
	def(&cfg.ConnectPatience, 500*time.Millisecond)
	def(&cfg.AnswerTimeout, 15*time.Second)
	if cfg.UserAgent == "" {
		cfg.UserAgent = "saki"
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport()
	}
	addrs, err := ParseAddrs(strings.Join(cfg.Addrs, ","))
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, addrs: addrs, lookEvery: lookEvery}
	c.http = http.Client{Transport: cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return c, nil
}

// newTransport makes a transport for many small requests to few hosts.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second, Control: impatient}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		WriteBufferSize:     8 << 10,
		ReadBufferSize:      8 << 10,
	}
}

// Addrs gives the masters as URLs.
func (c *Client) Addrs() []string { return append([]string(nil), c.addrs...) }

// ParseAddrs reads the text of SAKI_ADDR: one or more URLs or host:port, separated by commas. An empty text means
// [DefaultAddr]. The answers have a scheme and no slash at the end.
func ParseAddrs(s string) ([]string, error) {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		raw := part
		if !strings.Contains(part, "://") {
			part = "http://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsFunc(part, notInAddr) ||
			strings.Trim(u.Hostname(), "[]") == "" || strings.HasSuffix(u.Host, ":") {
			return nil, api.Errorf(api.CodeInvalidArgument, "%s is not the address of a master", api.Quote(raw)).
				WithHint("write http://HOST:5050 or HOST:5050; several are separated by commas")
		}
		if u.Port() == "" && u.Scheme == "http" && raw != part {
			u.Host = net.JoinHostPort(u.Hostname(), "5050")
		}
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		out = append(out, u.String())
	}
	if len(out) == 0 {
		return []string{DefaultAddr}, nil
	}
	return out, nil
}

// notInAddr holds for what has no business in an address: queries, users, fragments, escapes.
func notInAddr(r rune) bool {
	return r > 0x7e || !strings.ContainsRune("-._~:/[]", r) && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
}
