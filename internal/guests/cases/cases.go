// Package cases reads wasm-tasks/cases.json: what each guest does with a given input. The same table is
// walked by tests that run the guests directly and by tests that run them in a cluster.
package cases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/saki-run/saki/internal/guests"
)

// ErrNotBuilt is wrapped by the error of Wasm for a guest that is neither committed nor in wasm-tasks/bin.
var ErrNotBuilt = errors.New("not built; run make wasm")

// A Case is one run of a guest and what comes of it.
type Case struct {
	Name    string            // a sentence; no two cases share one
	Module  string            // the guest's name, such as "hello"
	Args    []string          // without the program's name
	Env     []string          // K=V, in order
	Stdin   []byte            // empty: the input ends at once
	Files   map[string][]byte // staged files by their absolute path in the guest
	MemMiB  int64             // memory limit in MiB; 0 leaves it to the runner
	Timeout time.Duration     // 0 for none

	Want Result

	// StdoutMatch, if set, is what stdout must match; Want.Stdout is not looked at then.
	StdoutMatch *regexp.Regexp
	// AnyStderr says that stderr is not compared.
	AnyStderr bool
}

// A Result is how a run ended.
type Result struct {
	Exit   int  // the guest's exit code, or 124 at the deadline; without meaning if Trap is set
	Trap   bool // the guest crashed
	Stdout []byte
	Stderr []byte
}

// entry is a case as it is written down: inputs and outputs in place, or in a file.
type entry struct {
	Name        string            `json:"name"`
	Module      string            `json:"module"`
	Args        []string          `json:"args"`
	Env         []string          `json:"env"`
	Stdin       string            `json:"stdin"`
	StdinFile   string            `json:"stdin_file"`
	Files       map[string]string `json:"files"`
	MemMiB      int64             `json:"mem_mib"`
	Timeout     string            `json:"timeout"`
	Exit        int               `json:"exit"`
	Trap        bool              `json:"trap"`
	Stdout      string            `json:"stdout"`
	StdoutFile  string            `json:"stdout_file"`
	StdoutMatch string            `json:"stdout_match"`
	Stderr      *string           `json:"stderr"`
}

// Load reads cases.json and the files it names from root, the wasm-tasks directory.
func Load(root fs.FS) ([]Case, error) {
	data, err := fs.ReadFile(root, "cases.json")
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var entries []entry
	if err := dec.Decode(&entries); err != nil {
		return nil, fmt.Errorf("cases.json: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("cases.json: more than one JSON value")
	}

	seen := make(map[string]bool)
	all := make([]Case, 0, len(entries))
	for _, e := range entries {
		c, err := e.load(root)
		if err != nil {
			return nil, fmt.Errorf("cases.json: case %q: %w", e.Name, err)
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("cases.json: case %q: the name is taken", c.Name)
		}
		seen[c.Name] = true
		all = append(all, c)
	}
	return all, nil
}

func (e entry) load(root fs.FS) (Case, error) {
	c := Case{
		Name: e.Name, Module: e.Module, Args: e.Args, Env: e.Env, MemMiB: e.MemMiB,
		Files:     make(map[string][]byte),
		Want:      Result{Exit: e.Exit, Trap: e.Trap},
		AnyStderr: e.Stderr == nil,
	}
	if c.Name == "" || c.Module == "" {
		return c, errors.New("a case needs a name and a module")
	}
	if e.StdoutMatch != "" && (e.Stdout != "" || e.StdoutFile != "") {
		return c, errors.New("stdout is given more than once")
	}
	if e.Stderr != nil {
		c.Want.Stderr = []byte(*e.Stderr)
	}

	var err error
	if c.Stdin, err = either(root, e.Stdin, e.StdinFile); err != nil {
		return c, fmt.Errorf("stdin: %w", err)
	}
	if c.Want.Stdout, err = either(root, e.Stdout, e.StdoutFile); err != nil {
		return c, fmt.Errorf("stdout: %w", err)
	}
	for _, guest := range slices.Sorted(maps.Keys(e.Files)) {
		if !strings.HasPrefix(guest, "/") {
			return c, fmt.Errorf("file %q: a path in the guest starts with a slash", guest)
		}
		if c.Files[guest], err = fs.ReadFile(root, e.Files[guest]); err != nil {
			return c, fmt.Errorf("file %q: %w", guest, err)
		}
	}
	if e.StdoutMatch != "" {
		if c.StdoutMatch, err = regexp.Compile(e.StdoutMatch); err != nil {
			return c, fmt.Errorf("stdout_match: %w", err)
		}
	}
	if e.Timeout != "" {
		if c.Timeout, err = time.ParseDuration(e.Timeout); err != nil {
			return c, fmt.Errorf("timeout: %w", err)
		}
	}
	return c, nil
}

// either returns the text itself or what the file holds; not both may be given.
func either(root fs.FS, text, file string) ([]byte, error) {
	switch {
	case file == "":
		return []byte(text), nil
	case text != "":
		return nil, errors.New("given more than once")
	}
	return fs.ReadFile(root, file)
}

// Wasm returns the module of c: a committed guest, or one that was built into bin below root, the wasm-tasks
// directory. Its error wraps ErrNotBuilt when there is neither.
func (c Case) Wasm(root fs.FS) ([]byte, error) {
	wasm, err := guests.Module(c.Module)
	if err == nil || !errors.Is(err, guests.ErrUnknown) {
		return wasm, err
	}
	wasm, err = fs.ReadFile(root, "bin/"+c.Module+".wasm")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("wasm-tasks/bin/%s.wasm: %w", c.Module, ErrNotBuilt)
	}
	return wasm, err
}

// Check returns nil when got is what c expects, otherwise an error that names each difference.
func (c Case) Check(got Result) error {
	var wrong []string
	differ := func(what string, got, want any) {
		wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", what, got, want))
	}
	if got.Trap != c.Want.Trap {
		differ("trap", got.Trap, c.Want.Trap)
	} else if !got.Trap && got.Exit != c.Want.Exit {
		differ("exit code", got.Exit, c.Want.Exit)
	}
	switch {
	case c.StdoutMatch != nil:
		if !c.StdoutMatch.Match(got.Stdout) {
			differ("stdout", brief(got.Stdout), "a match of "+c.StdoutMatch.String())
		}
	case !bytes.Equal(got.Stdout, c.Want.Stdout):
		differ("stdout", brief(got.Stdout), brief(c.Want.Stdout))
	}
	if !c.AnyStderr && !bytes.Equal(got.Stderr, c.Want.Stderr) {
		differ("stderr", brief(got.Stderr), brief(c.Want.Stderr))
	}
	if len(wrong) == 0 {
		return nil
	}
	message := c.Name + ": " + strings.Join(wrong, "; ")
	if c.AnyStderr && len(got.Stderr) > 0 {
		message += "; stderr was " + brief(got.Stderr)
	}
	return errors.New(message)
}

// brief quotes the beginning of b and says how long it is.
func brief(b []byte) string {
	const most = 200
	if len(b) <= most {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q and %d bytes more", b[:most], len(b)-most)
}
