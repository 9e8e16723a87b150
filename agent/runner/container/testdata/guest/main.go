// Guest is all that the image of the tests holds: a few commands, each of which behaves in one way.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	box := os.Getenv("SAKI_SANDBOX")
	arg := func(i int) string {
		if i < len(os.Args) {
			return os.Args[i]
		}
		return ""
	}
	num := func(i int) int { n, _ := strconv.Atoi(arg(i)); return n }
	switch arg(1) {
	case "exit":
		os.Exit(num(2))
	case "print":
		os.Stdout.WriteString(arg(2))
		os.Stderr.WriteString(arg(3))
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
	case "env":
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
	case "wait": // with the exit code for SIGTERM; -1 ignores it
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		fmt.Println("ready")
		for range term {
			if num(2) >= 0 {
				os.Exit(num(2))
			}
		}
	case "gate":
		fmt.Println("ready")
		for {
			if _, err := os.Stat(filepath.Join(box, arg(2))); err == nil {
				os.Exit(num(3))
			}
			time.Sleep(10 * time.Millisecond)
		}
	case "read":
		b, err := os.ReadFile(filepath.Join(box, arg(2)))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Stdout.Write(b)
	case "ls":
		es, err := os.ReadDir(arg(2))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, e := range es {
			fmt.Println(e.Name())
		}
	case "touch":
		if err := os.WriteFile(arg(2), []byte("x"), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "big":
		os.Stdout.Write(bytes.Repeat([]byte("x"), num(2)))
	case "memory":
		var hold [][]byte
		for range 1024 {
			hold = append(hold, bytes.Repeat([]byte("x"), 1<<20))
		}
		fmt.Println(len(hold))
	case "self":
		b, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp:") {
				fmt.Print(line)
			}
		}
		fmt.Println("Uid:", os.Getuid())
	default:
		fmt.Println("hi")
	}
}
