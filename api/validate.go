package api

import (
	"path"
	"strconv"
	"strings"
)

// Bounds of what one task may ask for.
const (
	maxCPUs   Milli = 1024 * 1000
	maxMem          = 16 * TiB
	maxDisk         = 1024 * TiB
	maxArgs         = 4096
	maxEnv          = 1024
	maxText         = 128 * KiB // of one argument, variable or script
	maxLabels       = 64
)

// Check reports the first thing that is wrong with a spec, after [Spec.WithDefaults]. It does not know which modules exist.
func (s *Spec) Check() error {
	for _, check := range []func() error{
		s.checkNames, s.checkKind, s.checkEnv, s.checkFiles, s.checkResources, s.checkPolicy,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func invalid(format string, args ...any) *Error { return Errorf(CodeInvalidSpec, format, args...) }

func (s *Spec) checkNames() error {
	if s.Name != "" {
		if err := CheckName("task", s.Name); err != nil {
			return err
		}
	}
	if err := CheckName("namespace", s.Namespace); err != nil {
		return err
	}
	if len(s.Labels) > maxLabels {
		return invalid("%d labels; at most %d are allowed", len(s.Labels), maxLabels)
	}
	for k, v := range s.Labels {
		if err := CheckName("label", k); err != nil {
			return err
		}
		if len(v) > 256 || strings.ContainsFunc(v, isControl) {
			return invalid("the value of label %s is longer than 256 bytes or has control characters", k)
		}
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

func (s *Spec) checkKind() error {
	n := 0
	for _, set := range []bool{s.Wasm != nil, s.Container != nil, s.Shell != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return invalid("a task is one of wasm, container and shell; this one sets %d of them", n).
			WithHint(`for example {"shell":{"script":"echo hi"}}`)
	}
	switch {
	case s.Wasm != nil:
		if _, err := ParseModuleRef(s.Wasm.Module); err != nil {
			return err
		}
		if len(s.Wasm.Func) > 1024 || strings.ContainsFunc(s.Wasm.Func, isControl) {
			return invalid("the function name %s is too long or has control characters", Quote(s.Wasm.Func))
		}
		switch s.Wasm.Isolation {
		case "", Shared, Strict:
		default:
			return invalid("unknown isolation %s", Quote(string(s.Wasm.Isolation))).WithHint("use shared or strict")
		}
		switch s.Wasm.Engine {
		case "", EngineCompiler, EngineInterpreter:
		default:
			return invalid("unknown engine %s", Quote(s.Wasm.Engine)).WithHint("use compiler or interpreter")
		}
		if s.Wasm.Memo && s.Resources.Ports > 0 {
			return invalid("a memo task asks for %d ports, which differ from run to run", s.Resources.Ports).WithHint("leave out ports, or memo")
		}
		return checkArgs("wasm/args", s.Wasm.Args)
	case s.Container != nil:
		return s.Container.check(s.Resources.Ports)
	default:
		return s.Shell.check()
	}
}

func checkArgs(what string, args []string) error {
	if len(args) > maxArgs {
		return invalid("%d %s; at most %d are allowed", len(args), what, maxArgs)
	}
	for i, a := range args {
		if len(a) > int(maxText) {
			return invalid("%s/%d is longer than %s", what, i, maxText)
		}
		if strings.ContainsRune(a, 0) {
			return invalid("%s/%d has a NUL character", what, i)
		}
	}
	return nil
}

func (c *ContainerSpec) check(ports int) error {
	if c.Image == "" || len(c.Image) > 512 || strings.ContainsFunc(c.Image, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return invalid("the image name %s is empty, too long or has characters that no image name has", Quote(c.Image))
	}
	switch c.Network {
	case "", "bridge", "none", "host":
	default:
		return invalid("unknown network %s", Quote(c.Network)).WithHint("use bridge, none or host")
	}
	for i, p := range c.Ports {
		if p.Container == 0 || p.Index < 0 || p.Index >= ports || p.Protocol != "" && p.Protocol != "tcp" && p.Protocol != "udp" {
			return invalid("container/ports/%d maps port %d (%s) to PORT%d, and the task has %d ports", i, p.Container, p.Protocol, p.Index, ports).
				WithHint("ask for ports with resources.ports or --ports")
		}
	}
	for i, v := range c.Volumes {
		if !path.IsAbs(v.Host) || !path.IsAbs(v.Container) || path.Clean(v.Host) != v.Host || path.Clean(v.Container) != v.Container ||
			strings.ContainsAny(v.Host+v.Container, ":\x00") {
			return invalid("container/volumes/%d needs two clean absolute paths", i)
		}
	}
	if len(c.User) > 64 || strings.ContainsFunc(c.User+c.Workdir, isControl) || c.Workdir != "" && !path.IsAbs(c.Workdir) {
		return invalid("container/user or container/workdir is not valid")
	}
	return checkArgs("container/command", c.Command)
}

func (h *ShellSpec) check() error {
	if (h.Script == "") == (len(h.Argv) == 0) {
		return invalid("a shell task needs a script or an argv, and not both")
	}
	if len(h.Argv) > 0 && h.Argv[0] == "" {
		return invalid("shell/argv/0 is empty")
	}
	if len(h.Script) > int(maxText) || strings.ContainsRune(h.Script, 0) {
		return invalid("the script is longer than %s or has a NUL character", maxText)
	}
	return checkArgs("shell/argv", h.Argv)
}

func (s *Spec) checkEnv() error {
	if len(s.Env) > maxEnv {
		return invalid("%d environment variables; at most %d are allowed", len(s.Env), maxEnv)
	}
	for k, v := range s.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || len(k) > 256 {
			return invalid("%s is not a name for an environment variable", Quote(k))
		}
		if len(v) > int(maxText) || strings.ContainsRune(v, 0) {
			return invalid("environment variable %s is longer than %s or has a NUL character", Quote(k), maxText)
		}
	}
	return nil
}

func (s *Spec) checkFiles() error {
	if len(s.Stdin) > int(MaxInlineStdin) {
		return Errorf(CodeTooLarge, "stdin is %d bytes; at most %s fit into a spec", len(s.Stdin), MaxInlineStdin).
			WithHint("upload it with PUT /v1/blobs and name its digest in stdin_blob")
	}
	if s.StdinBlob != "" {
		if len(s.Stdin) > 0 {
			return invalid("stdin and stdin_blob are both given")
		}
		if _, err := ParseDigest(string(s.StdinBlob)); err != nil {
			return err
		}
	}
	if len(s.Files) > MaxFiles {
		return invalid("%d files; at most %d are allowed", len(s.Files), MaxFiles)
	}
	seen := map[string]bool{}
	for i, f := range s.Files {
		if f.Path == "" || len(f.Path) > 1024 || path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "." ||
			f.Path == ".." || strings.HasPrefix(f.Path, "../") || strings.ContainsFunc(f.Path, isControl) || strings.Contains(f.Path, "\\") {
			return invalid("files/%d: %s is not a clean path inside the sandbox", i, Quote(f.Path)).
				WithHint("use a relative path without .. such as data/in.txt")
		}
		if seen[f.Path] {
			return invalid("files/%d: %s is given twice", i, Quote(f.Path))
		}
		seen[f.Path] = true
		if _, err := ParseDigest(string(f.Blob)); err != nil {
			return err
		}
		if f.Mode > 0o777 {
			return invalid("files/%d: mode %o has more than permission bits", i, f.Mode)
		}
	}
	return nil
}

func (s *Spec) checkResources() error {
	r := s.Resources
	bad := func(format string, args ...any) error {
		return Errorf(CodeInvalidResources, format, args...).WithHint("ask for what one copy needs, or leave it out for the default")
	}
	switch {
	case r.CPUs < 1 || r.CPUs > maxCPUs:
		return bad("cpus is %s; it must be from 0.001 to %s", r.CPUs, maxCPUs)
	case r.Mem < 64*KiB || r.Mem > maxMem:
		return bad("mem is %s; it must be from 64Ki to %s", r.Mem, maxMem)
	case r.Disk < 0 || r.Disk > maxDisk:
		return bad("disk is %s; it must be from 0 to %s", r.Disk, maxDisk)
	case r.Ports < 0 || r.Ports > MaxPorts:
		return bad("ports is %d; it must be from 0 to %d", r.Ports, MaxPorts)
	}
	if len(s.Constraints) > 32 {
		return invalid("%d constraints; at most 32 are allowed", len(s.Constraints))
	}
	for _, c := range s.Constraints {
		if err := c.Check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) checkPolicy() error {
	if s.Placement != Pack && s.Placement != Spread {
		return invalid("unknown placement %s", Quote(string(s.Placement))).WithHint("use pack or spread")
	}
	count := func(v int64) string { return strconv.FormatInt(v, 10) }
	size := func(v int64) string { return Bytes(v).String() }
	span := func(v int64) string { return Duration(v).String() }
	for _, n := range []struct {
		name     string
		v, least int64
		most     int64
		text     func(int64) string
	}{
		{"count", int64(s.Count), 1, MaxCount, count},
		{"retries", int64(s.Retries), 0, MaxRetries, count},
		{"max_output", int64(s.MaxOutput), 0, int64(MaxMaxOutput), size},
		{"timeout", int64(s.Timeout), 0, maxQuantity * 512, span},
		{"kill_grace", int64(s.KillGrace), 0, int64(Duration(3600e9)), span},
		{"backoff", int64(s.Backoff), 0, int64(Duration(3600e9)), span},
	} {
		if n.v < n.least || n.v > n.most {
			return invalid("%s is %s; it must be from %s to %s", n.name, n.text(n.v), n.text(n.least), n.text(n.most)).
				WithHint("leave it out for the default")
		}
	}
	return nil
}
