// Command markdown turns Markdown on stdin into HTML on stdout: CommonMark with GitHub's tables, task
// lists, strikethrough and bare links. Raw HTML in the input is left out.
//
//	markdown < notes.md > notes.html
//	markdown -title Notes < notes.md > page.html
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"os"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
)

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "markdown:", err)
		os.Exit(1)
	}
}

// errUsage marks a command line that was refused; the reason has been printed.
var errUsage = errors.New("usage")

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("markdown", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: markdown [-title TITLE] < in.md > out.html")
		flags.PrintDefaults()
	}
	title := flags.String("title", "", "write a whole page with this `TITLE`, not a fragment")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	if flags.NArg() > 0 {
		flags.Usage()
		return errUsage
	}

	source, err := io.ReadAll(stdin)
	if err != nil {
		return fmt.Errorf("read stdin: %w", err)
	}
	out, err := render(source, *title)
	if err != nil {
		return err
	}
	_, err = stdout.Write(out)
	return err
}

// render returns source as an HTML fragment, or as a page when there is a title.
func render(source []byte, title string) ([]byte, error) {
	md := goldmark.New(
		goldmark.WithExtensions(extension.GFM),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	)
	var out bytes.Buffer
	if title != "" {
		fmt.Fprintf(&out, "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>%s</title>\n</head>\n<body>\n",
			html.EscapeString(title))
	}
	if err := md.Convert(source, &out); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	if title != "" {
		out.WriteString("</body>\n</html>\n")
	}
	return out.Bytes(), nil
}
