// Guest is the command that the shell and container tasks of the tests run, in images that hold nothing else.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "print":
			fmt.Println(os.Args[2])
			return
		case "sleep":
			d, err := time.ParseDuration(os.Args[2])
			if err == nil {
				time.Sleep(d)
				fmt.Println("awake")
				return
			}
		}
	}
	fmt.Fprintln(os.Stderr, "usage: guest print TEXT | guest sleep DURATION")
	os.Exit(2)
}
