package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
)

// ExitError makes the command end with Code and without a message. Daemons may return it.
type ExitError struct{ Code int }

// Error implements error.
func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// usageError is a command line that cannot be read.
type usageError struct{ e *api.Error }

func (u usageError) Error() string { return u.e.Message }
func (u usageError) Unwrap() error { return u.e }

func usage(format string, args ...any) usageError {
	return usageError{api.Errorf(api.CodeInvalidArgument, format, args...)}
}

func (u usageError) hint(format string, args ...any) usageError {
	return usageError{u.e.WithHint(format, args...)}
}

// asTask marks commands whose exit code is a task's, so that their own errors are 125 and more.
const asTask = "exit-code-of-task"

// exit shows the error and gives the exit code.
func (a *app) exit(cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e.Code
	}
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	a.showError(err)
	task := cmd != nil && cmd.Annotations[asTask] != ""
	var isUsage usageError
	e := api.AsError(err)
	switch {
	case task:
		return taskExit(e.Code)
	case errors.As(err, &isUsage):
		return 2
	case e.Code == api.CodeNotAllowed:
		return 4
	}
	return 1
}

// taskExit is the exit code of run, wait and submit for an error before the task ran.
func taskExit(c api.Code) int {
	switch c {
	case api.CodeInvalidModule, api.CodeComponentNotSupported, api.CodeUnsupportedFeature, api.CodeUnknownImport, api.CodeLimitExceeded:
		return api.ExitRefused
	case api.CodeModuleNotFound, api.CodeNoEntryPoint:
		return api.ExitNotFound
	case api.CodeTimeout:
		return api.ExitDeadline
	}
	return api.ExitCluster
}

func (a *app) showError(err error) {
	e := api.AsError(err)
	if a.output == "json" {
		b, _ := json.Marshal(api.ErrorBody{Error: e})
		fmt.Fprintf(a.env.Stderr, "%s\n", b)
		return
	}
	a.complain(e.Message, string(e.Code), e.Hint)
}

// complain shows what went wrong in one or two lines. Text from the cluster may hold anything, so it is made harmless.
func (a *app) complain(message, code, hint string) {
	s := a.style(a.env.StderrTTY)
	first, more, _ := strings.Cut(strings.TrimSpace(clean(message)), "\n")
	fmt.Fprintf(a.env.Stderr, "%s %s      %s\n", s.bad("error:"), first, s.dim("["+code+"]"))
	if more != "" {
		fmt.Fprintln(a.env.Stderr, more)
	}
	if hint != "" {
		fmt.Fprintf(a.env.Stderr, "  %s %s\n", s.good("fix:"), clean(hint))
	}
}

// notice tells the person something that is not a result.
func (a *app) notice(format string, args ...any) {
	fmt.Fprintln(a.env.Stderr, clean(fmt.Sprintf(format, args...)))
}

// clean makes control characters visible, so that a name or message cannot play tricks on the terminal. New lines stay.
func clean(s string) string {
	bad := func(r rune) bool {
		return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if !strings.ContainsFunc(s, bad) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !bad(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
