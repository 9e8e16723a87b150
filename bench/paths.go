package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
	"github.com/saki-run/saki/internal/guests"
)

// taskTimeout ends a task that does not end by itself, so that the bench does.
const taskTimeout = api.Duration(time.Minute)

// attrImage is the attribute in which an agent tells the image of its executors.
const attrImage = "executor.image"

// prepare makes the operations of all paths that look possible. done removes what it made.
func prepare(ctx context.Context, cfg Config) (ops []op, done func(), err error) {
	done = func() {}
	if cfg.Module == nil {
		if cfg.Module, err = guests.Module("noop"); err != nil {
			return nil, done, err
		}
	}
	var nodes []api.Node
	if slices.ContainsFunc(cfg.Paths, func(p string) bool { return p != PathProcess }) {
		if nodes, err = cfg.Client.Nodes(ctx); err != nil {
			return nil, done, err
		}
	}
	for _, path := range cfg.Paths {
		o := op{path: path, least: 3}
		var why string
		switch path {
		case PathRun:
			o.least = 50
			o.do, why, err = warmOp(ctx, cfg, nodes)
		case PathShell:
			o.do, why = taskOp(cfg.Client, nodes, api.Spec{Shell: &api.ShellSpec{Script: ":"}})
		case PathContainer:
			o.least = 1
			o.do, why = containerOp(cfg, nodes)
		case PathProcess:
			o.do, why, done, err = processOp(cfg)
		}
		if err != nil {
			return nil, done, err
		}
		if why != "" {
			cfg.Notice(fmt.Sprintf("%s is left out: %s", path, why))
			continue
		}
		ops = append(ops, o)
	}
	return ops, done, nil
}

// warmOp uploads the module and runs it by its digest.
func warmOp(ctx context.Context, cfg Config, nodes []api.Node) (do func(context.Context) error, why string, err error) {
	if !anyRuns(nodes, api.Wasm) {
		return nil, noNode(api.Wasm), nil
	}
	m, err := cfg.Client.PushModule(ctx, client.Bytes(cfg.Module), "")
	if err != nil {
		return nil, "", fmt.Errorf("push the module: %w", err)
	}
	do, why = taskOp(cfg.Client, nodes, api.Spec{Wasm: &api.WasmSpec{Module: string(m.Digest)}})
	return do, why, nil
}

func containerOp(cfg Config, nodes []api.Node) (func(context.Context) error, string) {
	spec := api.ContainerSpec{Image: cfg.Image, Command: []string{"true"}, Network: "none"}
	if spec.Image == "" {
		for i := range nodes {
			if image := nodes[i].Attributes[attrImage]; image != "" && nodes[i].Runs(api.Container) {
				spec.Image, spec.Command = image, []string{"/bin/saki", "noop"}
			}
		}
	}
	if spec.Image == "" && anyRuns(nodes, api.Container) {
		return nil, "no agent tells the image of its executor; name one with --image"
	}
	return taskOp(cfg.Client, nodes, api.Spec{Container: &spec})
}

func anyRuns(nodes []api.Node, k api.Kind) bool {
	return slices.ContainsFunc(nodes, func(n api.Node) bool { return n.State == api.NodeReady && n.Runs(k) })
}

func noNode(k api.Kind) string {
	return fmt.Sprintf("no agent that is ready runs %s tasks; saki node inspect tells why", k)
}

// taskOp submits the spec and waits for its end.
func taskOp(c *client.Client, nodes []api.Node, spec api.Spec) (func(context.Context) error, string) {
	if !anyRuns(nodes, spec.Kind()) {
		return nil, noNode(spec.Kind())
	}
	spec.Name, spec.Timeout = "saki-bench", taskTimeout
	return func(ctx context.Context) error {
		t, err := c.Run(ctx, &spec)
		switch {
		case err != nil:
			return err
		case t.State != api.Finished:
			return fmt.Errorf("task %s %s (%s): %s", t.ID, t.State, t.Reason, t.Message)
		}
		return nil
	}, ""
}

// processOp starts this program anew for each task: it compiles the module, runs it and exits.
func processOp(cfg Config) (do func(context.Context) error, why string, done func(), err error) {
	done = func() {}
	if cfg.Exe == "" {
		return nil, "this build of saki cannot run a module by itself", done, nil
	}
	dir, err := os.MkdirTemp("", "saki-bench-")
	if err != nil {
		return nil, "", done, err
	}
	done = func() { _ = os.RemoveAll(dir) }
	file := filepath.Join(dir, "bench.wasm")
	if err := os.WriteFile(file, cfg.Module, 0o600); err != nil {
		return nil, "", done, err
	}
	return func(ctx context.Context) error {
		var errs bytes.Buffer
		cmd := exec.CommandContext(ctx, cfg.Exe, "wasm-once", file)
		cmd.Stderr = &errs
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
		}
		return nil
	}, "", done, nil
}
