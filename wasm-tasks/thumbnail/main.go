// Command thumbnail reads a JPEG, PNG or GIF picture from stdin and writes it to stdout as a PNG that fits
// into a square of N pixels, 128 without an argument. Small pictures are not enlarged; of an animated GIF
// the first frame is taken; an orientation noted by a camera is not applied.
//
//	thumbnail 96 < photo.jpg > small.png
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

const (
	defaultSide = 128
	maxSide     = 4096
)

// errUsage marks a command line that was refused.
var errUsage = errors.New("usage: thumbnail [N] < picture > thumbnail.png, N from 1 to " + strconv.Itoa(maxSide))

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "thumbnail:", err)
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	side := defaultSide
	switch len(args) {
	case 0:
	case 1:
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || n > maxSide {
			return errUsage
		}
		side = n
	default:
		return errUsage
	}
	return thumbnail(stdout, stdin, side)
}
