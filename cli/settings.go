package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/saki-run/saki/api"
)

// settings fills in the flags that the command line left out: from the environment, then from the file of --config.
//
// The flag --keep-for of saki master is SAKI_MASTER_KEEP_FOR or, for daemons and the flags in everywhere, SAKI_KEEP_FOR; in the
// file it is keep-for or keep_for, at the top or under "master:".
func (a *app) settings(cmd *cobra.Command) error {
	flags := cmd.Flags()
	if err := a.fromEnv(cmd, "config"); err != nil {
		return err
	}
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "config" {
			names = append(names, f.Name)
		}
	})
	if err := a.fromEnv(cmd, names...); err != nil {
		return err
	}
	if a.config == "" {
		return a.defaultFormat(cmd)
	}
	values, err := readSettings(a.config, cmd, names)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if flags.Changed(name) {
			continue
		}
		for _, v := range values[name] {
			if err := flags.Set(name, v); err != nil {
				return settingError(fmt.Sprintf("%s in %s", name, a.config), err)
			}
		}
	}
	return a.defaultFormat(cmd)
}

// defaultFormat sets the format of this command: until here the last command that was built has set it.
func (a *app) defaultFormat(cmd *cobra.Command) error {
	if f := cmd.Flags().Lookup("output"); f != nil && !f.Changed {
		a.output = f.DefValue
	}
	return nil
}

// everywhere are the flags of client commands that have the short name in the environment.
var everywhere = map[string]bool{"addr": true, "config": true, "namespace": true}

// isDaemon marks commands whose flags all have the short name in the environment.
const isDaemon = "daemon"

func (a *app) fromEnv(cmd *cobra.Command, names ...string) error {
	flags := cmd.Flags()
	for _, name := range names {
		if f := flags.Lookup(name); f == nil || f.Changed {
			continue
		}
		for _, key := range envNames(cmd, name) {
			v := a.env.Getenv(key)
			if v == "" || key == "SAKI_ADDR" && cmd.Annotations[isDaemon] != "" && strings.ContainsAny(v, "/,") {
				continue // a URL in SAKI_ADDR is for clients, not what a daemon listens on
			}
			if err := flags.Set(name, v); err != nil {
				return settingError(key, err)
			}
			break
		}
	}
	return nil
}

// envNames gives the variables of a flag, the most specific first.
func envNames(cmd *cobra.Command, flag string) []string {
	upper := strings.NewReplacer("-", "_", " ", "_")
	path := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	names := []string{strings.ToUpper(upper.Replace("saki " + path + " " + flag))}
	if cmd.Annotations[isDaemon] != "" || everywhere[flag] {
		names = append(names, strings.ToUpper(upper.Replace("saki "+flag)))
	}
	return names
}

func settingError(where string, err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return usage("%s: %s", where, e.Message).hint("%s", e.Hint)
	}
	return usage("%s: %v", where, err)
}

// readSettings reads the file and gives the values of this command's flags. It refuses keys that are neither a flag of the
// command nor the name of a command.
func readSettings(path string, cmd *cobra.Command, flags []string) (map[string][]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("there is no file %s", api.Quote(path)).hint("--config or SAKI_CONFIG names it")
	}
	if err != nil {
		return nil, usage("read the settings: %v", err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, usage("%s is not a YAML mapping: %s", path, strings.TrimSpace(yaml.FormatError(err, false, true))).
			hint("write lines such as name: m1")
	}
	out := map[string][]string{}
	own := strings.ReplaceAll(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), " ", "-")
	sections := commandNames(cmd.Root())
	var section map[string]any
	for key, v := range doc {
		if m, ok := v.(map[string]any); ok && slices.Contains(sections, key) {
			if key == own {
				section = m
			}
			continue
		}
		if err := setting(out, path, key, v, flags, sections); err != nil {
			return nil, err
		}
	}
	for key, v := range section { // the command's own section wins
		if err := setting(out, path, key, v, flags, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func setting(out map[string][]string, path, key string, v any, flags, sections []string) error {
	i := slices.IndexFunc(flags, func(f string) bool { return dashed(f) == dashed(key) })
	if i < 0 {
		e := usage("unknown setting %s in %s", api.Quote(key), path)
		if best := api.Closest(dashed(key), append(slices.Clone(flags), sections...)); best != "" {
			return e.hint("did you mean %q?", best)
		}
		return e.hint("settings are named as the command's flags; see its -h")
	}
	name := flags[i]
	switch v := v.(type) {
	case []any:
		out[name] = nil
		for _, item := range v {
			out[name] = append(out[name], fmt.Sprint(item))
		}
	case map[string]any, nil:
		return usage("setting %s in %s wants a value", api.Quote(key), path)
	default:
		out[name] = []string{fmt.Sprint(v)}
	}
	return nil
}

func dashed(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// commandNames gives the names of all commands below c, with dashes: "module-push".
func commandNames(c *cobra.Command) []string {
	var out []string
	for _, sub := range c.Commands() {
		name := strings.ReplaceAll(strings.TrimPrefix(sub.CommandPath(), c.Root().Name()+" "), " ", "-")
		out = append(append(out, name), commandNames(sub)...)
	}
	return out
}
