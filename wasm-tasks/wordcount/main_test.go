package main

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("output differs from %s:\n%s\nwant\n%s", name, got, want)
	}
}

func TestStdin(t *testing.T) {
	story, err := os.Open("../testdata/story.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer story.Close()
	var out bytes.Buffer
	if err := run(nil, story, &out); err != nil {
		t.Fatal(err)
	}
	golden(t, "../testdata/wordcount-stdin.txt", out.Bytes())
}

func TestFilesHaveATotal(t *testing.T) {
	t.Chdir("../testdata")
	var out bytes.Buffer
	if err := run([]string{"story.txt", "notes.md"}, strings.NewReader("not read"), &out); err != nil {
		t.Fatal(err)
	}
	golden(t, "wordcount-files.txt", out.Bytes())
}

func TestAMissingFileIsAnErrorAndPrintsNothing(t *testing.T) {
	var out bytes.Buffer
	err := run([]string{"../testdata/story.txt", "../testdata/missing.txt"}, strings.NewReader(""), &out)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v, want %v", err, fs.ErrNotExist)
	}
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
}

func TestEmptyInputHasNoWordTable(t *testing.T) {
	var out bytes.Buffer
	if err := run(nil, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	want := "lines  words  bytes  file\n    0      0      0  -\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
