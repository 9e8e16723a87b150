// Command photo paints the pictures in testdata: a bay in the evening, with the noise and soft gradients
// that make a file compress like a photograph. It is run on the machine that develops the guests, not as one.
//
//	go generate ./photo
package main

//go:generate go run . ../testdata

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: photo DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "photo:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	err := create(filepath.Join(dir, "photo.jpg"), func(w io.Writer) error {
		return jpeg.Encode(w, paint(480, 320), &jpeg.Options{Quality: 85})
	})
	if err != nil {
		return err
	}
	return create(filepath.Join(dir, "photo.png"), func(w io.Writer) error {
		return png.Encode(w, paint(120, 180))
	})
}

func create(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// A rgb holds red, green and blue from 0 to 1.
type rgb [3]float64

func mix(a, b rgb, t float64) rgb {
	t = min(max(t, 0), 1)
	for i := range a {
		a[i] += (b[i] - a[i]) * t
	}
	return a
}

var (
	zenith  = rgb{0.16, 0.27, 0.50}
	horizon = rgb{0.98, 0.68, 0.42}
	sun     = rgb{1.00, 0.93, 0.72}
	deep    = rgb{0.05, 0.13, 0.22}
	near    = rgb{0.06, 0.09, 0.10}
	far     = rgb{0.36, 0.36, 0.46}
)

// paint returns the bay at a size. Equal sizes give equal pictures.
func paint(width, height int) image.Image {
	noise := rand.New(rand.NewPCG(1, 2)) // the grain of the film
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for py := range height {
		for px := range width {
			c := scene(float64(px)/float64(width), float64(py)/float64(height))
			grain := 0.02 * noise.NormFloat64()
			img.SetRGBA(px, py, color.RGBA{channel(c[0] + grain), channel(c[1] + grain), channel(c[2] + grain), 255})
		}
	}
	return img
}

func channel(v float64) uint8 { return uint8(math.Round(255 * min(max(v, 0), 1))) }

const waterline = 0.62

// scene returns the colour at x, y, both from 0 to 1, y downwards.
func scene(x, y float64) rgb {
	if y < waterline {
		return land(x, y)
	}
	depth := (y - waterline) / (1 - waterline)
	ripple := 0.012 * math.Sin(90*math.Pow(depth, 0.6)+9*x) * depth
	mirrored := land(x+ripple, waterline-(y-waterline)*0.9+ripple)
	c := mix(mirrored, deep, 0.25+0.6*depth)
	glitter := math.Exp(-60*math.Pow(x-0.68, 2)) * math.Pow(0.5+0.5*math.Sin(140*math.Sqrt(depth)+30*x), 6)
	return mix(c, sun, 0.5*glitter*(1-depth))
}

// land returns the sky with the sun and two ridges of hills.
func land(x, y float64) rgb {
	c := mix(zenith, horizon, math.Pow(max(y, 0)/waterline, 1.6))
	distance := math.Hypot(x-0.68, (y-0.42)*0.8)
	c = mix(c, sun, math.Exp(-distance*9)*0.8)
	if distance < 0.045 {
		c = sun
	}
	if y > waterline-0.10-0.05*ridge(x, 5, 0.3) {
		c = mix(c, far, 0.85)
	}
	if y > waterline-0.015-0.11*ridge(x, 3, 2.1)*(1-0.8*x) {
		c = near
	}
	return c
}

// ridge returns the height of a range of hills at x, from about -1 to 1.
func ridge(x, frequency, phase float64) float64 {
	h, weight := 0.0, 0.6
	for range 6 {
		h += weight * math.Sin(2*math.Pi*frequency*x+phase)
		frequency, phase, weight = frequency*1.93, phase*1.7+1, weight*0.5
	}
	return h
}
