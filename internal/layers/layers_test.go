// Package layers holds the import policy of the whole tree as one test. Each ban says why.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/saki-run/saki/"

// pure packages are business logic: the same input gives the same output, at any time and on any machine.
var pure = []string{"api", "mesos", "wasm", "master/core", "master/sched", "agent/table"}

// impure is what a pure package may not import.
var impure = map[string]string{
	"os": "it does I/O", "net": "it does I/O", "net/http/httputil": "it does I/O", "os/exec": "it does I/O", "io/ioutil": "it does I/O",
	"sync": "a pure value has one owner", "sync/atomic": "a pure value has one owner", "context": "nothing pure waits",
	"math/rand": "randomness comes in as an argument", "math/rand/v2": "randomness comes in as an argument",
	"crypto/rand": "randomness comes in as an argument", "log": "no log in pure packages", "log/slog": "no log in pure packages",
	"syscall": "it does I/O", "golang.org/x/sys/unix": "it does I/O",
}

// owned are the imports that belong to certain folders alone, so that a library can be replaced in one place.
var owned = []struct {
	prefix string
	only   []string
	why    string
}{
	{"github.com/hashicorp/raft", []string{"master/raftlog"}, "the replicated log hides its library"},
	{"github.com/hashicorp/memberlist", []string{"gossip"}, "gossip hides its library"},
	{"github.com/tetratelabs/wazero", []string{"executor/engine"}, "the engine hides its library"},
	{"github.com/docker/docker", []string{"agent/runner/container", "agent/runner/wasm/launch", "test/e2e"}, "containers are made in two places"},
	{"github.com/spf13/cobra", []string{"cli"}, "the command line is one layer"},
	{"github.com/goccy/go-yaml", []string{"cli"}, "files people write are read at the edge"},
}

// apart are parts of our own that may not know each other.
var apart = []struct{ from, to, why string }{
	{"master", "agent", "they meet in wire/link only"},
	{"agent", "master", "they meet in wire/link only"},
	{"master", "executor", "masters run no guests"},
	{"master", "client", "the SDK is for those outside"},
	{"agent", "client", "the SDK is for those outside"},
	{"executor", "agent", "an executor knows its protocol, not who speaks it"},
	{"executor", "master", "an executor knows its protocol, not who speaks it"},
	{"client", "master", "the SDK knows the API, not the server"},
	{"client", "agent", "the SDK knows the API, not the server"},
	{"cli", "master", "commands use the SDK; package daemon starts what runs"},
	{"cli", "agent", "commands use the SDK; package daemon starts what runs"},
	{"api", "", "the shared words depend on nothing of ours"},
	{"wasm", "", "bytes in, bytes out"},
	{"mesos", "", "messages depend on nothing of ours"},
	{"agent/runner", "wire/link", "runners know nothing of sessions"},
	{"agent/runner", "agent/journal", "runners know nothing of journals"},
}

func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || rel == "wasm-tasks" || rel == "bin" || rel == "acceptance" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || strings.HasSuffix(p, ".pb.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		for _, im := range f.Imports {
			imported, _ := strconv.Unquote(im.Path.Value)
			for _, problem := range problems(dir, imported) {
				t.Errorf("%s imports %s: %s", rel, imported, problem)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func problems(dir, imported string) (out []string) {
	for _, p := range pure {
		if dir == p {
			if why, bad := impure[imported]; bad {
				out = append(out, p+" is pure: "+why)
			}
		}
	}
	for _, o := range owned {
		if !under(imported, o.prefix) {
			continue
		}
		ok := false
		for _, d := range o.only {
			ok = ok || under(dir, d)
		}
		if !ok {
			out = append(out, "only "+strings.Join(o.only, " and ")+" may: "+o.why)
		}
	}
	ours, isOurs := strings.CutPrefix(imported, module)
	for _, a := range apart {
		if isOurs && under(dir, a.from) && under(ours, a.to) && (a.to != "" || !under(ours, a.from)) {
			out = append(out, a.from+" and "+a.to+" are apart: "+a.why)
		}
	}
	return out
}

// under reports whether p is dir or below it. Everything is under "".
func under(p, dir string) bool { return dir == "" || p == dir || strings.HasPrefix(p, dir+"/") }

func TestTheRulesBite(t *testing.T) {
	for _, c := range []struct{ dir, imported string }{
		{"master/core", "os"},
		{"master/engine", "github.com/hashicorp/raft"},
		{"agent", path.Join(module, "master/core")},
		{"cli", "github.com/docker/docker/client"},
		{"api", path.Join(module, "wire")},
		{"agent/runner/shell", path.Join(module, "wire/link")},
	} {
		if len(problems(c.dir, c.imported)) == 0 {
			t.Errorf("%s may import %s, and should not", c.dir, c.imported)
		}
	}
	if got := problems("master/raftlog", "github.com/hashicorp/raft"); len(got) != 0 {
		t.Errorf("raftlog may not import raft: %v", got)
	}
}
