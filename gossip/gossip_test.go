package gossip

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const key = "000102030405060708090a0b0c0d0e0f"

func start(t *testing.T, name, key string, join ...string) (*Gossip, func()) {
	t.Helper()
	g, err := New(Config{Self: Member{Name: name, Role: "master", Cluster: "c1"}, Bind: "127.0.0.1:0", Join: join, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var stopped bool
	stop := func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return g, stop
}

func names(g *Gossip) (out []string) {
	for _, m := range g.Masters() {
		out = append(out, m.Name)
	}
	return out
}

func await(t *testing.T, g *Gossip, what string, ok func() bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-g.Watch():
		case <-limit:
			t.Fatalf("no %s; sees %v", what, g.Members())
		}
	}
}

func TestMembersComeChangeAndLeave(t *testing.T) {
	a, _ := start(t, "a", key)
	b, _ := start(t, "b", key, a.Addr())
	_, stop := start(t, "c", key, a.Addr())
	for _, g := range []*Gossip{a, b} {
		await(t, g, "three members", func() bool { return slices.Equal(names(g), []string{"a", "b", "c"}) })
	}
	if err := a.Update(Member{Role: "master", Cluster: "c1", Bootstrapped: true}); err != nil {
		t.Fatal(err)
	}
	await(t, b, "new metadata", func() bool { return b.Members()[0].Bootstrapped })
	if err := a.Update(Member{Role: "agent", ID: strings.Repeat("x", 600)}); !errors.Is(err, ErrMeta) {
		t.Errorf("oversize: got %v, want ErrMeta", err)
	}
	stop()
	await(t, a, "two members", func() bool { return slices.Equal(names(a), []string{"a", "b"}) })
}

func TestAWrongKeyIsRefused(t *testing.T) {
	a, _ := start(t, "a", key)
	b, _ := start(t, "b", strings.Repeat("f", 32))
	if _, err := b.list.Join([]string{a.Addr()}); err == nil || len(names(a)) != 1 || len(names(b)) != 1 {
		t.Errorf("join: %v; a sees %v, b sees %v", err, names(a), names(b))
	}
	if _, err := New(Config{Self: Member{Name: "x", Role: "agent"}, Bind: "127.0.0.1:0", Key: "short"}); err == nil {
		t.Error("a short key was taken")
	}
}

func FuzzDecodeMeta(f *testing.F) {
	b, _ := Member{Role: "agent", ID: "x"}.encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMeta(b); err == nil && m.Role != "master" && m.Role != "agent" {
			t.Fatalf("%+v", m)
		}
	})
}
