package cli

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
)

// runFlags are the flags of saki run before they are made into a spec.
type runFlags struct {
	image, shell, fn               string
	name, namespace, key           string
	env, envFiles, files, labels   []string
	constraints, publish, volumes  []string
	network, user, workdir         string
	placement                      string
	stdin, detach, stats, memo     bool
	cpus                           milliFlag
	mem, disk, maxOutput           bytesFlag
	timeout, backoff, killGrace    spanFlag
	retries, ports, count          int
	countGiven, shellGiven, dashed bool

	fuel                  uint64
	isolation, engine     string
	deterministic, record bool
}

const runHelp = `What to run: MODULE is a file, name[:tag] or sha256:…; or --image IMG, or --shell SCRIPT
      --func NAME             call this export instead of _start
  -i, --stdin                 hand this command's stdin to the task
  -e, --env K=V               set a variable; K alone takes it from here;  --env-file FILE with K=V lines
      --file LOCAL[:GUEST]    put a file into the task's sandbox
      --memo                  deterministic: the result of an equal task will do, and is given at once
      --network NET, --volume HOST:PATH[:ro], --publish PORT[/udp], --user, --workdir    for containers
What it needs:
      --cpus 0.5 --mem 64Mi --disk 1Gi --ports N     for each copy; ports come as PORT0, PORT1…
      --constraint 'zone=a' | 'zone!=a' | 'zone in a,b'    --placement pack|spread
      --count N               run N copies, told apart by SAKI_TASK_INDEX
How a wasm module runs:
      --fuel N                end it after N instructions: exit code 137
      --isolation strict      in a process of its own         --engine compiler|interpreter
      --deterministic         virtual clocks and randomness: equal inputs give equal runs
      --record                keep what clocks and randomness gave, for saki replay
How it ends:
      --timeout 1m30s --kill-grace 5s --retries N --backoff 1s --max-output 10Mi
What is shown:
  -d, --detach                print the id and leave; without it Ctrl-C kills the task
      --stats                 what it cost, on stderr     -o, --output text|json|yaml
      --name NAME  --label K=V  -n, --namespace NS  --key KEY (same key: same task)  --addr  --config
`

func (f *runFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.image, "image", "", "run a container of this image")
	fs.StringVar(&f.shell, "shell", "", "run this script with /bin/sh")
	fs.StringVar(&f.fn, "func", "", "exported function to call (default _start)")
	fs.StringVar(&f.name, "name", "", "name of the task")
	fs.StringVarP(&f.namespace, "namespace", "n", "", "namespace")
	fs.StringVar(&f.key, "key", "", "idempotency key")
	fs.StringArrayVarP(&f.env, "env", "e", nil, "variable")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "file of variables")
	fs.StringArrayVar(&f.files, "file", nil, "file for the sandbox")
	fs.StringArrayVar(&f.labels, "label", nil, "label")
	fs.StringArrayVar(&f.constraints, "constraint", nil, "constraint on nodes")
	fs.StringArrayVar(&f.publish, "publish", nil, "container port to publish")
	fs.StringArrayVar(&f.volumes, "volume", nil, "host folder to mount")
	fs.StringVar(&f.network, "network", "", "bridge, none or host")
	fs.StringVar(&f.user, "user", "", "user inside the container")
	fs.StringVar(&f.workdir, "workdir", "", "folder inside the container")
	fs.StringVar(&f.placement, "placement", "", "pack or spread")
	fs.BoolVarP(&f.stdin, "stdin", "i", false, "hand stdin to the task")
	fs.BoolVarP(&f.detach, "detach", "d", false, "do not wait")
	fs.BoolVar(&f.memo, "memo", false, "an equal task's result will do")
	fs.BoolVar(&f.stats, "stats", false, "show what it cost")
	fs.Var(&f.cpus, "cpus", "processors")
	fs.Var(&f.mem, "mem", "memory")
	fs.Var(&f.disk, "disk", "disk")
	fs.Var(&f.maxOutput, "max-output", "output that is kept")
	fs.Var(&f.timeout, "timeout", "of one attempt")
	fs.Var(&f.backoff, "backoff", "before the first retry")
	fs.Var(&f.killGrace, "kill-grace", "between TERM and KILL")
	fs.Uint64Var(&f.fuel, "fuel", 0, "instructions it may use")
	fs.StringVar(&f.isolation, "isolation", "", "shared or strict")
	fs.StringVar(&f.engine, "engine", "", "compiler or interpreter")
	fs.BoolVar(&f.deterministic, "deterministic", false, "virtual clocks and randomness")
	fs.BoolVar(&f.record, "record", false, "keep what clocks and randomness gave")
	fs.IntVar(&f.retries, "retries", 0, "attempts after a failed one")
	fs.IntVar(&f.ports, "ports", 0, "ports")
	fs.IntVar(&f.count, "count", 1, "copies")
}

// These flags read what the API reads, and refuse with its codes.
type (
	milliFlag api.Milli
	bytesFlag api.Bytes
	spanFlag  api.Duration
)

func badAmount(err error, hint string) error {
	return api.Errorf(api.CodeInvalidResources, "%v", err).WithHint("%s", hint)
}

func (f *milliFlag) Set(s string) error {
	v, err := api.ParseMilli(s)
	if err != nil {
		return badAmount(err, "write a number above 0, such as 0.5 or 2")
	}
	if v == 0 {
		return badAmount(fmt.Errorf("0 is not enough"), "the least is 0.001")
	}
	*f = milliFlag(v)
	return nil
}
func (f *milliFlag) String() string { return api.Milli(*f).String() }
func (f *milliFlag) Type() string   { return "number" }

func (f *bytesFlag) Set(s string) error {
	v, err := api.ParseBytes(s)
	if err != nil {
		return badAmount(err, "write a size such as 64Mi, 1.5Gi or 4096")
	}
	if v == 0 {
		return badAmount(fmt.Errorf("0 is not enough"), "leave the flag out for the default")
	}
	*f = bytesFlag(v)
	return nil
}
func (f *bytesFlag) String() string { return api.Bytes(*f).String() }
func (f *bytesFlag) Type() string   { return "size" }

func (f *spanFlag) Set(s string) error {
	v, err := api.ParseDuration(s)
	if err != nil {
		return api.Errorf(api.CodeInvalidArgument, "%v", err).WithHint("write a duration such as 30s or 1m30s")
	}
	*f = spanFlag(v)
	return nil
}
func (f *spanFlag) String() string { return api.Duration(*f).String() }
func (f *spanFlag) Type() string   { return "duration" }

// spec makes the spec of everything but what has to be read from disk: module, files and stdin.
func (f *runFlags) spec(args []string, getenv func(string) string) (*api.Spec, error) {
	s := &api.Spec{
		Name: f.name, Namespace: f.namespace, Placement: api.Strategy(f.placement), Count: f.count, Retries: f.retries,
		Timeout: api.Duration(f.timeout), Backoff: api.Duration(f.backoff), KillGrace: api.Duration(f.killGrace),
		MaxOutput: api.Bytes(f.maxOutput),
		Resources: api.Request{CPUs: api.Milli(f.cpus), Mem: api.Bytes(f.mem), Disk: api.Bytes(f.disk), Ports: f.ports},
	}
	if f.countGiven && f.count < 1 || f.count > api.MaxCount {
		return nil, usage("--count is %d; it must be from 1 to %d", f.count, api.MaxCount).hint("leave it out for one copy")
	}
	if err := f.kind(s, args); err != nil {
		return nil, err
	}
	var err error
	if s.Env, err = f.variables(getenv); err != nil {
		return nil, err
	}
	if s.Labels, err = pairs("--label", f.labels); err != nil {
		return nil, err
	}
	for _, text := range f.constraints {
		c, err := api.ParseConstraint(text)
		if err != nil {
			return nil, err
		}
		s.Constraints = append(s.Constraints, c)
	}
	return s, nil
}

// kind sets which of the three kinds of task it is, and what is special to it.
func (f *runFlags) kind(s *api.Spec, args []string) error {
	if f.image != "" && f.shellGiven {
		return usage("--image and --shell are both given").hint("a task is one of them")
	}
	if f.image == "" && (len(f.publish)+len(f.volumes) > 0 || f.network+f.user+f.workdir != "") {
		return usage("--publish, --volume, --network, --user and --workdir are for containers").hint("add --image IMG, or leave them out")
	}
	if f.fn != "" && (f.image != "" || f.shellGiven) {
		return usage("--func is for wasm modules")
	}
	if (f.fuel > 0 || f.isolation+f.engine != "" || f.deterministic || f.record) && (f.image != "" || f.shellGiven) {
		return usage("--fuel, --isolation, --engine, --deterministic and --record are for wasm modules").hint("leave them out")
	}
	if f.memo && (f.image != "" || f.shellGiven) {
		return usage("--memo is for wasm modules").hint("other tasks are not deterministic; leave it out")
	}
	switch {
	case f.image != "":
		s.Container = &api.ContainerSpec{Image: f.image, Command: args, Network: f.network, User: f.user, Workdir: f.workdir}
		return f.container(s)
	case f.shellGiven && len(args) > 0:
		s.Shell = &api.ShellSpec{Argv: append([]string{"/bin/sh", "-c", f.shell, "sh"}, args...)}
	case f.shellGiven:
		s.Shell = &api.ShellSpec{Script: f.shell}
	case len(args) == 0 || f.dashed && args[0] == "":
		return usage("there is nothing to run").hint("name a module: saki run hello.wasm; or use --image or --shell")
	default:
		s.Wasm = &api.WasmSpec{
			Module: args[0], Func: f.fn, Args: args[1:], Fuel: f.fuel, Isolation: api.Isolation(f.isolation), Engine: f.engine,
			Deterministic: f.deterministic, Record: f.record, Memo: f.memo,
		}
	}
	return nil
}

func (f *runFlags) container(s *api.Spec) error {
	for i, p := range f.publish {
		port, proto, _ := strings.Cut(p, "/")
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || proto != "" && proto != "tcp" && proto != "udp" {
			return usage("--publish %s is not a port from 1 to 65535", api.Quote(p)).
				hint("name the port inside the container, such as 80 or 53/udp; outside it is one of the task's ports")
		}
		s.Container.Ports = append(s.Container.Ports, api.PortMapping{Container: uint16(n), Index: i, Protocol: proto})
	}
	if s.Resources.Ports == 0 {
		s.Resources.Ports = len(f.publish)
	}
	for _, v := range f.volumes {
		parts := strings.Split(v, ":")
		ro := len(parts) == 3 && parts[2] == "ro"
		if len(parts) != 2 && !ro || !filepath.IsAbs(parts[0]) || !filepath.IsAbs(parts[1]) {
			return usage("--volume %s is not HOST:CONTAINER", api.Quote(v)).hint("write two absolute paths, such as /srv/data:/data or /srv/data:/data:ro")
		}
		s.Container.Volumes = append(s.Container.Volumes, api.Volume{Host: filepath.Clean(parts[0]), Container: filepath.Clean(parts[1]), ReadOnly: ro})
	}
	return nil
}

// variables reads --env-file and then --env, which wins.
func (f *runFlags) variables(getenv func(string) string) (map[string]string, error) {
	env := map[string]string{}
	set := func(where, entry string) error {
		k, v, ok := strings.Cut(entry, "=")
		if k == "" {
			return usage("%s has %s, which names no variable", where, api.Quote(entry)).hint("write NAME=VALUE")
		}
		if !ok {
			if v = getenv(k); v == "" {
				return nil // as docker: what is not set here is not set there
			}
		}
		env[k] = v
		return nil
	}
	for _, path := range f.envFiles {
		file, err := os.Open(path)
		if err != nil {
			return nil, fileError(path, err)
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
				if err := set(path, line); err != nil {
					return nil, err
				}
			}
		}
		file.Close()
		if err := lines.Err(); err != nil {
			return nil, fileError(path, err)
		}
	}
	for _, entry := range f.env {
		if err := set("--env", entry); err != nil {
			return nil, err
		}
	}
	if len(env) == 0 {
		return nil, nil
	}
	return env, nil
}

func pairs(flag string, entries []string) (map[string]string, error) {
	var out map[string]string
	for _, e := range entries {
		k, v, ok := strings.Cut(e, "=")
		if !ok {
			return nil, usage("%s %s has no value", flag, api.Quote(e)).hint("write %s KEY=VALUE", flag)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out, nil
}
