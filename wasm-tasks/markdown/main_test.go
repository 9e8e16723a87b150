package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestNotes(t *testing.T) {
	for _, tt := range []struct {
		golden string
		args   []string
	}{
		{"../testdata/markdown-fragment.html", nil},
		{"../testdata/markdown-page.html", []string{"-title", "Notes & <plans>"}},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			notes, err := os.Open("../testdata/notes.md")
			if err != nil {
				t.Fatal(err)
			}
			defer notes.Close()
			var out bytes.Buffer
			if err := run(tt.args, notes, &out, t.Output()); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(tt.golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(tt.golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", out.Bytes(), want)
			}
		})
	}
}

func TestRender(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"a heading gets an id", "# Two words", "<h1 id=\"two-words\">Two words</h1>\n"},
		{"strikethrough", "~~old~~", "<p><del>old</del></p>\n"},
		{"raw HTML is left out", "<script>x</script>", "<!-- raw HTML omitted -->\n"},
		{"a script link is defused", "[x](javascript:alert)", "<p><a href=\"\">x</a></p>\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := render([]byte(tt.in), "")
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBadUsageReadsAndPrintsNothing(t *testing.T) {
	for _, args := range [][]string{{"-unknown"}, {"file.md"}} {
		var out, errs bytes.Buffer
		in := strings.NewReader("# unread")
		if err := run(args, in, &out, &errs); !errors.Is(err, errUsage) {
			t.Errorf("%q: err = %v, want usage", args, err)
		}
		if out.Len() > 0 || in.Len() != len("# unread") {
			t.Errorf("%q: printed %q, left %d bytes", args, out.String(), in.Len())
		}
		if !strings.Contains(errs.String(), "usage: markdown") {
			t.Errorf("%q: stderr = %q, want the usage", args, errs.String())
		}
	}
	if err := run([]string{"-h"}, strings.NewReader(""), io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: err = %v, want %v", err, flag.ErrHelp)
	}
}
