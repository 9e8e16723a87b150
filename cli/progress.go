package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// meter is one line on stderr that is painted over on a terminal, and written now and then elsewhere.
type meter struct {
	a     *app
	every time.Duration

	mu    sync.Mutex // guards what follows, and the line itself
	last  time.Time
	text  string // of the line that is on the screen; "" is none
	shown bool   // something was ever written
}

func (a *app) meter() *meter {
	m := &meter{a: a, every: 5 * time.Second, last: a.env.Now()}
	if a.env.StderrTTY {
		m.every = 80 * time.Millisecond
	}
	return m
}

// set changes the line; it is shown when the last one is old enough.
func (m *meter) set(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.a.env.Now()
	if now.Sub(m.last) < m.every {
		return
	}
	m.last, m.shown = now, true
	m.clearLocked()
	if !m.a.env.StderrTTY {
		fmt.Fprintln(m.a.env.Stderr, text)
		return
	}
	m.text = text
	fmt.Fprint(m.a.env.Stderr, text)
}

// with runs f, which writes to the terminal, with the line out of the way.
func (m *meter) with(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := m.text
	m.clearLocked()
	f()
	if text != "" {
		m.text = text
		fmt.Fprint(m.a.env.Stderr, text)
	}
}

// end takes the line away.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clearLocked()
}

func (m *meter) clearLocked() {
	if m.text != "" {
		fmt.Fprint(m.a.env.Stderr, "\r\x1b[K")
		m.text = ""
	}
}

// shown gives content whose upload is shown on stderr when it takes long.
func (a *app) shown(name string, c client.Content) client.Content {
	open := c.Open
	c.Open = func() (io.ReadCloser, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		m := a.meter()
		m.every = max(m.every, 300*time.Millisecond)
		return &upload{ReadCloser: r, m: m, name: clean(name), size: c.Size}, nil
	}
	return c
}

type upload struct {
	io.ReadCloser
	m          *meter
	name       string
	size, sent int64
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	u.sent += int64(n)
	if u.size > 0 {
		u.m.set(fmt.Sprintf("uploading %s  %s of %s  %d%%", u.name, api.Bytes(u.sent), api.Bytes(u.size), u.sent*100/u.size))
	} else {
		u.m.set(fmt.Sprintf("uploading %s  %s", u.name, api.Bytes(u.sent)))
	}
	if err != nil {
		u.m.end()
	}
	return n, err
}

func (u *upload) Close() error {
	u.m.end()
	return u.ReadCloser.Close()
}
