package cli

import "github.com/spf13/cobra"

// isTopic marks commands that are only pages of help.
const isTopic = "topic"

func addTopics(root *cobra.Command) {
	for name, text := range map[string]string{"exit-codes": exitCodes, "spec": specHelp, "environment": environment} {
		root.AddCommand(&cobra.Command{
			Use: name, Short: "Help about " + name, Long: text, Hidden: true, Annotations: map[string]string{isTopic: "yes"},
			Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		})
	}
}

const exitCodes = `
Exit codes of saki run, saki wait and saki submit --wait:

  0-123   the task's own
  124     the task ran into its --timeout (or saki wait into its own)
  125     the cluster or the command failed before the task ran: bad flags, no master, no room
  126     the module was refused: not wasm, a component, an unknown import, over a limit
  127     the module, image, command or entry point was not found
  128+n   the task was ended by signal n; 134 is a wasm trap
  130     saki itself was interrupted
  137     over its memory or fuel limit, or killed

With several tasks it is the first of these, by index, that is not 0.

Exit codes of every other command:

  0       done
  1       it failed
  2       the command line cannot be read
  4       not allowed
`

const environment = `
Every flag can also be given in the environment and in a YAML file.
Where several name it, the first of these wins: flag, environment, file, default.

  SAKI_ADDR         masters: one or more URLs or host:port, with commas
  SAKI_NAMESPACE    the namespace to use
  SAKI_CONFIG       the YAML file; as --config
  NO_COLOR          no colours; CLICOLOR_FORCE=1 has them in a pipe, too

Daemons (dev, master, agent): --keep-for is SAKI_KEEP_FOR, or SAKI_MASTER_KEEP_FOR for masters alone.
A URL in SAKI_ADDR is for clients; a daemon takes from it only a bare host:port to listen on.
Other commands: --mem of saki run is SAKI_RUN_MEM.

In the file, keys are the names of flags, at the top or under the name of a command:

  name: m1
  join: [10.0.0.1:7946, 10.0.0.3:7946]
  master:
    keep-for: 48h
`

const specHelp = `
A spec is YAML or JSON. A file holds one, a list of them, or several documents divided by ---.

  name: etl                        # for people; need not be unique
  namespace: default
  wasm:                            # one of wasm, container and shell
    module: ./etl.wasm             # a file, name[:tag] or sha256:...
    func: _start
    args: [--fast]
  # container: {image: alpine, command: [echo, hi], network: none,
  #             ports: [{container: 80, index: 0}], volumes: [{host: /srv, container: /srv}]}
  # shell: {script: "echo hi"}     # or argv: [echo, hi]
  env: {LEVEL: debug}
  labels: {team: a}
  files:                           # put into the sandbox
    - {local: ./in.txt, path: data/in.txt}
  resources: {cpus: 0.5, mem: 64Mi, disk: 1Gi, ports: 2}
  constraints:
    - {key: zone, op: in, values: [a, b]}    # op is =, != or in
  placement: pack                  # or spread
  count: 10                        # copies, told apart by SAKI_TASK_INDEX
  timeout: 1m30s                   # of one attempt
  kill_grace: 5s
  retries: 2
  backoff: 1s
  max_output: 10Mi

Paths are relative to the file. saki inspect ID -o yaml shows the spec of a task.
`
