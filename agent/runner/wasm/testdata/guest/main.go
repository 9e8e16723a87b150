// Command guest does what the runners' suite asks of a task. Tests build it for wasip1.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

func main() {
	a := os.Args[1:]
	switch a[0] {
	case "exit":
		os.Exit(number(a[1]))
	case "print":
		fmt.Print(a[1])
		fmt.Fprint(os.Stderr, a[2])
	case "cat":
		check(io.Copy(os.Stdout, os.Stdin))
	case "env":
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
	case "sleep":
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "gate":
		fmt.Println("ready")
		for {
			if _, err := os.Stat(a[1]); err == nil {
				os.Exit(number(a[2]))
			}
			time.Sleep(10 * time.Millisecond)
		}
	case "read":
		b, err := os.ReadFile(a[1])
		check(os.Stdout.Write(b))
		check(0, err)
	case "big":
		check(os.Stdout.Write(bytes.Repeat([]byte("x"), number(a[1]))))
	case "memory":
		b := make([]byte, 1<<30)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	check(n, err)
	return n
}

func check[T any](_ T, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
}
