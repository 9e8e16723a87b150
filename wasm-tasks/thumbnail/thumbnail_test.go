package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestPhotos(t *testing.T) {
	for _, tt := range []struct {
		in, golden string
		args       []string
	}{
		{"../testdata/photo.jpg", "../testdata/thumbnail-128.png", nil},
		{"../testdata/photo.png", "../testdata/thumbnail-48.png", []string{"48"}},
	} {
		t.Run(tt.in, func(t *testing.T) {
			photo, err := os.Open(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			defer photo.Close()
			var out bytes.Buffer
			if err := run(tt.args, photo, &out); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(tt.golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(tt.golden)
			if err != nil {
				t.Fatal(err)
			}
			alike(t, decode(t, out.Bytes()), decode(t, golden))
		})
	}
}

// alike compares pixels, not bytes: a CPU with fused multiply-add may round a channel the other way.
func alike(t *testing.T, got, want image.Image) {
	t.Helper()
	if got.Bounds() != want.Bounds() {
		t.Fatalf("bounds = %v, want %v", got.Bounds(), want.Bounds())
	}
	near := func(a, b uint32) bool { return max(a, b)-min(a, b) <= 0x101 }
	for y := want.Bounds().Min.Y; y < want.Bounds().Max.Y; y++ {
		for x := want.Bounds().Min.X; x < want.Bounds().Max.X; x++ {
			r, g, b, a := got.At(x, y).RGBA()
			wr, wg, wb, wa := want.At(x, y).RGBA()
			if !near(r, wr) || !near(g, wg) || !near(b, wb) || !near(a, wa) {
				t.Fatalf("pixel %d,%d = %v, want %v", x, y, got.At(x, y), want.At(x, y))
			}
		}
	}
}

func TestEveryFormatIsRead(t *testing.T) {
	src := image.NewPaletted(image.Rect(0, 0, 60, 20), palette.WebSafe)
	for x := range 60 {
		for y := range 20 {
			src.Set(x, y, color.RGBA{R: 255, A: 255})
		}
	}
	encoders := map[string]func(io.Writer) error{
		"png":  func(w io.Writer) error { return png.Encode(w, src) },
		"jpeg": func(w io.Writer) error { return jpeg.Encode(w, src, nil) },
		"gif":  func(w io.Writer) error { return gif.Encode(w, src, nil) },
	}
	for name, encode := range encoders {
		t.Run(name, func(t *testing.T) {
			var in, out bytes.Buffer
			if err := encode(&in); err != nil {
				t.Fatal(err)
			}
			if err := run([]string{"30"}, &in, &out); err != nil {
				t.Fatal(err)
			}
			got := decode(t, out.Bytes())
			if want := image.Rect(0, 0, 30, 10); got.Bounds() != want {
				t.Errorf("bounds = %v, want %v", got.Bounds(), want)
			}
			if r, g, _, a := got.At(15, 5).RGBA(); r < 0xf000 || g > 0x0fff || a != 0xffff {
				t.Errorf("the middle is %v, want red", got.At(15, 5))
			}
		})
	}
}

func TestFit(t *testing.T) {
	tests := []struct{ in, want image.Point }{
		{image.Pt(640, 480), image.Pt(100, 75)},
		{image.Pt(480, 640), image.Pt(75, 100)},
		{image.Pt(100, 100), image.Pt(100, 100)},
		{image.Pt(30, 20), image.Pt(30, 20)},
		{image.Pt(5000, 1), image.Pt(100, 1)},
	}
	for _, tt := range tests {
		if got := fit(tt.in, 100); got != tt.want {
			t.Errorf("fit(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestAHugePictureIsRefusedByItsHeader(t *testing.T) {
	header := []byte("IHDR\x00\x00\x00\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00")
	binary.BigEndian.PutUint32(header[4:], 60_000)
	binary.BigEndian.PutUint32(header[8:], 60_000)
	in := bytes.NewBufferString("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	in.Write(header)
	in.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(header)))
	if err := run(nil, in, io.Discard); !errors.Is(err, errTooLarge) {
		t.Errorf("err = %v, want %v", err, errTooLarge)
	}
}

func TestBadInput(t *testing.T) {
	if err := run(nil, strings.NewReader("not a picture"), io.Discard); !errors.Is(err, image.ErrFormat) {
		t.Errorf("err = %v, want %v", err, image.ErrFormat)
	}
	for _, args := range [][]string{{"0"}, {"-3"}, {"4097"}, {"big"}, {"1", "2"}} {
		if err := run(args, strings.NewReader(""), io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: err = %v, want the usage", args, err)
		}
	}
}

func decode(t *testing.T, data []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return img
}
