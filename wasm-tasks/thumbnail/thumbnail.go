package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // a format that is read
	_ "image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
)

// maxPixels is the largest picture that is decoded. A few bytes can declare a picture of gigabytes, so the
// header is looked at first.
const maxPixels = 50_000_000

var errTooLarge = errors.New("the picture is too large")

// thumbnail reads a picture from r and writes it to w as a PNG no wider and no higher than side.
func thumbnail(w io.Writer, r io.Reader, side int) error {
	var head bytes.Buffer
	config, _, err := image.DecodeConfig(io.TeeReader(r, &head))
	if err != nil {
		return fmt.Errorf("read the picture's header: %w", err)
	}
	if int64(config.Width)*int64(config.Height) > maxPixels {
		return fmt.Errorf("%w: %d x %d pixels, at most %d are decoded", errTooLarge, config.Width, config.Height, maxPixels)
	}
	src, _, err := image.Decode(io.MultiReader(&head, r))
	if err != nil {
		return fmt.Errorf("decode the picture: %w", err)
	}

	if err := png.Encode(w, shrink(src, side)); err != nil {
		return fmt.Errorf("write the thumbnail: %w", err)
	}
	return nil
}

// shrink returns src scaled down to fit into a square of side pixels, or src itself if it fits already.
func shrink(src image.Image, side int) image.Image {
	size := fit(src.Bounds().Size(), side)
	if size == src.Bounds().Size() {
		return src
	}
	dst := image.NewNRGBA(image.Rectangle{Max: size})
	draw.CatmullRom.Scale(dst, dst.Bounds(), src, src.Bounds(), draw.Src, nil)
	return dst
}

// fit returns the size, at least one pixel each way, that keeps the shape of size within a square of side.
func fit(size image.Point, side int) image.Point {
	long := max(size.X, size.Y)
	if long <= side {
		return size
	}
	scale := func(n int) int { return max(1, (n*side+long/2)/long) }
	return image.Pt(scale(size.X), scale(size.Y))
}
