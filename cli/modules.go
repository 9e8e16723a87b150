package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

func (a *app) moduleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "module COMMAND", Short: "Push, list, inspect and remove wasm modules", Example: "saki module push hello.wasm hello:1.2\nsaki run hello:1.2"}
	cmd.AddCommand(a.modulePush(), a.moduleList(), a.moduleInspect(), a.moduleRemove(), a.moduleMemo())
	return cmd
}

func (a *app) modulePush() *cobra.Command {
	cmd := &cobra.Command{
		Use: "push FILE [NAME[:TAG]] [flags]", Short: "Upload a module, and tag it", Example: "saki module push hello.wasm hello:1.2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usage("%s needs a file, and perhaps a name for it", cmd.CommandPath()).hint("usage: %s", cmd.UseLine())
			}
			return nil
		},
	}
	a.reaches(cmd)
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		tag := ""
		if len(args) == 2 {
			ref, err := api.ParseModuleRef(args[1])
			if err != nil {
				return err
			}
			if ref.Digest != "" {
				return usage("%s is a digest; a tag is a name", args[1]).hint("write NAME or NAME:TAG")
			}
			tag = ref.String()
		}
		m, err := readModule(args[0])
		if err != nil {
			return err
		}
		mod, err := c.PushModule(ctx, a.shown(m.name, client.Bytes(m.wasm)), tag)
		if err != nil {
			return err
		}
		return a.show(mod, func(w io.Writer) error {
			if tag == "" {
				_, err = fmt.Fprintln(w, mod.Digest)
			} else {
				_, err = fmt.Fprintln(w, tag, mod.Digest)
			}
			return err
		}, func(w io.Writer) { fmt.Fprintln(w, mod.Digest) })
	})
	return cmd
}

func (a *app) moduleList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls [flags]", Short: "List modules", Args: noArgs}
	a.reaches(cmd)
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, _ []string) error {
		ms, err := c.Modules(ctx)
		if err != nil {
			return err
		}
		return a.show(ms, func(w io.Writer) error {
			t := newTable(-1, "DIGEST", "TAGS", "ENTRY", "SIZE", "AGE")
			for _, m := range ms {
				t.row(m.Digest.Short(), strings.Join(m.Tags, ","), m.Entry, m.Size.String(), a.age(m.Created))
			}
			return t.write(w, a.style(a.env.StdoutTTY))
		}, func(w io.Writer) {
			for _, m := range ms {
				fmt.Fprintln(w, m.Digest)
			}
		})
	})
	return cmd
}

func (a *app) moduleInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect MODULE [flags]", Short: "Show what is inside a module: imports, exports, memories", Args: oneArg("one module"),
		Example: "saki module inspect hello:1.2", ValidArgsFunction: a.completeModules,
	}
	a.reaches(cmd)
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		m, err := c.Module(ctx, args[0])
		if err != nil {
			return err
		}
		return a.show(m, func(w io.Writer) error {
			fmt.Fprintf(w, "digest   %s\ntags     %s\nentry    %s\nsize     %s\ncreated  %s ago\n",
				m.Module.Digest, clean(strings.Join(m.Module.Tags, ", ")), clean(m.Module.Entry), m.Module.Size, a.age(m.Module.Created))
			if len(m.Info) == 0 || !json.Valid(m.Info) {
				return nil
			}
			text, err := yaml.JSONToYAML(m.Info)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "\n%s", clean(string(text)))
			return err
		}, func(w io.Writer) { fmt.Fprintln(w, m.Module.Digest) })
	})
	return cmd
}

func (a *app) moduleRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm MODULE... [flags]", Short: "Remove modules, or only a tag", Args: someArgs("a module"), Aliases: []string{"remove"},
		Example: "saki module rm hello:1.2", ValidArgsFunction: a.completeModules,
	}
	a.reaches(cmd)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		for _, ref := range args {
			if err := c.RemoveModule(ctx, ref); err != nil {
				return err
			}
			fmt.Fprintln(a.env.Stdout, ref)
		}
		return nil
	})
	return cmd
}

func (a *app) moduleMemo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "memo COMMAND", Short: "Results of saki run --memo that the cluster remembers", Example: "saki module memo clear",
		Long: "A task of saki run --memo has virtual clocks and randomness and is told nothing of its place, so that equal tasks end\n" +
			"equally. When an equal one has ended before, its result is given at once. Equal are: module, function, arguments,\n" +
			"variables, stdin, files, name, index, namespace, fuel, memory, disk and kept output. Remembered are results with at\n" +
			"most 1 KiB of stdout and of stderr: the last 10,000 or 16 MiB.",
	}
	forget := &cobra.Command{Use: "clear [flags]", Short: "Forget all remembered results", Args: noArgs, Example: "saki module memo clear"}
	a.reaches(forget)
	a.formats(forget, "table", "json", "yaml")
	forget.RunE = a.do(func(ctx context.Context, c *client.Client, _ []string) error {
		n, err := c.ForgetMemo(ctx)
		if err != nil {
			return err
		}
		return a.show(n, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "forgot %s\n", plural(n.Forgotten, "result"))
			return err
		}, nil)
	})
	cmd.AddCommand(forget)
	groupOnly(cmd)
	return cmd
}
