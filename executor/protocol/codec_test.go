package protocol

import (
	"net"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

var samples = []Message{
	&Hello{
		Version: Version, Role: Worker, Token: "t", Name: "w1", Incarnation: "i", PID: 7, Engine: "compiler",
		Loaded: []api.Digest{"sha256:00"}, Running: []Key{{"a", 1}}, Ended: []Key{{"b", 2}},
	},
	&Welcome{},
	&Refused{Why: "wrong token", Exit: true},
	&Load{Digest: "sha256:00"},
	&Loaded{Digest: "sha256:00", Reason: api.ReasonModuleRefused, Message: "no", TookNS: 3},
	&Invoke{
		Key: Key{"abc", 3}, Digest: "sha256:00", Name: "n", Func: "f", Args: []string{"1"}, Env: map[string]string{"A": "b"},
		Stdin: []byte("in"), Dir: "tasks/abc.3", Mem: 1 << 26, Timeout: 5, MaxOutput: 6,
	},
	&Started{Key{"abc", 3}},
	&Result{Key{"abc", 3}, api.Outcome{State: api.Finished, Stdout: []byte("hi"), Inline: true}},
	&Ack{Keys: []Key{{"abc", 3}}},
	&Cancel{Key{"abc", 3}, api.ReasonUserKill},
	&Ping{4},
	&Pong{4},
	&Kill{"i"},
	&Exited{Name: "w1", Incarnation: "i", Signal: 9, OOM: true, Tail: "x"},
}

func TestEveryMessageSurvivesTheWire(t *testing.T) {
	a, b := net.Pipe()
	from, to := wire.NewConn(a), wire.NewConn(b)
	defer from.Close()
	defer to.Close()
	for _, want := range samples {
		go func() { _ = Send(from, want) }()
		got, err := Recv(to)
		if err != nil {
			t.Fatalf("%T: %v", want, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%T: %s", want, d)
		}
	}
}

func TestEveryTypeHasItsOwnMessage(t *testing.T) {
	seen := map[wire.Type]reflect.Type{}
	for _, m := range samples {
		if other, ok := seen[m.frameType()]; ok {
			t.Errorf("%T and %v share a type", m, other)
		}
		seen[m.frameType()] = reflect.TypeOf(m)
		if got := reflect.TypeOf(empty(m.frameType())); got != reflect.TypeOf(m) {
			t.Errorf("type %d decodes as %v, want %T", m.frameType(), got, m)
		}
	}
	if len(seen) != int(TypeExited) {
		t.Errorf("%d messages are tested, want %d", len(seen), TypeExited)
	}
}

func TestAnUnknownTypeIsAnError(t *testing.T) {
	if _, err := Decode(TypeExited+1, nil); err == nil {
		t.Error("an unknown type was decoded")
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples {
		b, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(m.frameType()), b)
	}
	f.Fuzz(func(t *testing.T, typ uint8, body []byte) {
		m, err := Decode(wire.Type(typ), body)
		if err != nil {
			return
		}
		again, err := wire.Marshal(m)
		if err != nil {
			t.Fatalf("%T was decoded and cannot be encoded: %v", m, err)
		}
		if _, err := Decode(wire.Type(typ), again); err != nil {
			t.Fatalf("%T cannot be decoded again: %v", m, err)
		}
	})
}
