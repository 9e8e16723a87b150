package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// maxSpecFile is the longest file of specs that is read.
const maxSpecFile = 4 << 20

func (a *app) submitCommand() *cobra.Command {
	var file, key string
	var wait, stats bool
	cmd := &cobra.Command{
		Use: "submit -f FILE [flags]", Short: "Submit the tasks that a YAML or JSON file describes, all or none",
		Example: "saki submit -f etl.yaml\nsaki submit -f etl.yaml --wait\necho '{\"shell\":{\"script\":\"date\"}}' | saki submit -f -",
		Long:    "Prints the ids of the tasks, one a line. See 'saki help spec' for what a file may hold.",
		Args:    noArgs,
	}
	f := a.reaches(cmd).Flags()
	f.StringVarP(&file, "file", "f", "", "`file` of specs; - is stdin")
	f.BoolVarP(&wait, "wait", "w", false, "wait for the tasks, show their output and take over their exit code")
	f.BoolVar(&stats, "stats", false, "with --wait: show what each task cost")
	f.StringVar(&key, "key", "", "idempotency `key`: the same one is the same submit")
	a.formats(cmd, "text", "json", "yaml", "name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if wait {
			cmd.Annotations = map[string]string{asTask: "yes"}
		}
		if file == "" {
			return usage("--file is missing").hint("name a file of specs: saki submit -f spec.yaml; see saki help spec")
		}
		st := &staging{a: a}
		specs, err := a.readSpecs(file, st)
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		ctx, stop := a.env.untilSignal(cmd.Context())
		defer stop()
		if err := st.upload(ctx, c); err != nil {
			return err
		}
		return a.submitSpecs(ctx, c, specs, key, wait, stats)
	}
	return cmd
}

func (a *app) submitSpecs(ctx context.Context, c *client.Client, specs []api.Spec, key string, wait, stats bool) error {
	var since uint64
	if wait {
		status, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		since = status.Index
	}
	tasks, err := c.SubmitAll(ctx, specs, client.SubmitOptions{Key: key})
	if err != nil {
		return err
	}
	if wait {
		return a.waitMany(ctx, c, tasks, since, stats)
	}
	return a.detached(tasks)
}

// readSpecs reads every spec of a file, resolves its references to local files and checks it.
func (a *app) readSpecs(file string, st *staging) ([]api.Spec, error) {
	dir := filepath.Dir(file)
	in := a.env.Stdin
	if file == "-" {
		dir = "."
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, fileError(file, err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSpecFile+1))
	if err != nil {
		return nil, fileError(file, err)
	}
	if len(b) > maxSpecFile {
		return nil, api.Errorf(api.CodeTooLarge, "%s is longer than %s", file, api.Bytes(maxSpecFile)).WithHint("divide it, or use count and SAKI_TASK_INDEX")
	}
	docs, err := parseDocs(b)
	if err != nil {
		return nil, err
	}
	specs := make([]api.Spec, len(docs))
	for i, doc := range docs {
		where := ""
		if len(docs) > 1 {
			where = fmt.Sprintf("spec %d of %d", i+1, len(docs))
		}
		if err := readSpec(doc, st, dir, &specs[i]); err != nil {
			if where != "" {
				err = fmt.Errorf("%s: %w", where, err)
			}
			return nil, err
		}
	}
	return specs, nil
}

// parseDocs reads YAML documents (JSON is YAML, too) and gives the specs in them.
func parseDocs(b []byte) ([]any, error) {
	var out []any
	dec := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, api.Errorf(api.CodeInvalidSpec, "not valid YAML: %s", strings.TrimSpace(yaml.FormatError(err, false, true))).
				WithHint("see saki help spec")
		}
		switch v := v.(type) {
		case nil:
		case []any:
			out = append(out, v...)
		default:
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, api.Errorf(api.CodeInvalidSpec, "there is no spec in the file").WithHint("see saki help spec")
	}
	return out, nil
}

// readSpec decodes one spec strictly, after what only the command understands has been replaced: local modules and files.
func readSpec(doc any, st *staging, dir string, out *api.Spec) error {
	m, ok := doc.(map[string]any)
	if !ok {
		return api.Errorf(api.CodeInvalidSpec, "a spec is a mapping, not %s", api.Quote(fmt.Sprint(doc))).WithHint("see saki help spec")
	}
	if err := localFiles(m, st, dir); err != nil {
		return err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return api.Errorf(api.CodeInvalidSpec, "%v", err).WithHint("numbers must be finite; see saki help spec")
	}
	if err := api.DecodeStrict(b, out); err != nil {
		return err
	}
	if out.Wasm != nil {
		if out.Wasm.Module, err = st.module(out.Wasm.Module, dir); err != nil {
			return err
		}
	}
	full := out.WithDefaults()
	return full.Check()
}

// localFiles replaces files: [{local, path}] by [{blob, path}].
func localFiles(m map[string]any, st *staging, dir string) error {
	list, _ := m["files"].([]any)
	for i, item := range list {
		entry, ok := item.(map[string]any)
		if !ok {
			continue // told by the decoder
		}
		local, ok := entry["local"].(string)
		if !ok {
			continue
		}
		if entry["blob"] != nil {
			return api.Errorf(api.CodeInvalidSpec, "/files/%d: local and blob are both given", i)
		}
		f, err := st.file(local+":", dir)
		if err != nil {
			return err
		}
		delete(entry, "local")
		entry["blob"] = f.Blob
		if entry["path"] == nil {
			entry["path"] = f.Path
		}
		if entry["mode"] == nil && f.Mode != 0 {
			entry["mode"] = f.Mode
		}
	}
	return nil
}
