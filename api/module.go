package api

import (
	"strings"
	"time"
)

// Module is a wasm binary that the cluster holds.
type Module struct {
	Digest  Digest    `json:"digest"`
	Size    Bytes     `json:"size"`
	Tags    []string  `json:"tags,omitempty"` // name:tag, sorted
	Entry   string    `json:"entry"`          // command, reactor or library
	Created time.Time `json:"created"`
}

// BlobInfo is content that the cluster holds for tasks: staged files and long inputs.
type BlobInfo struct {
	Digest  Digest    `json:"digest"`
	Size    Bytes     `json:"size"`
	Created time.Time `json:"created,omitzero"`
}

// MemoForgotten says how many remembered results were forgotten.
type MemoForgotten struct {
	Forgotten int `json:"forgotten"`
}

// ModuleRef is how people name a module: by digest or by name and tag.
type ModuleRef struct {
	Digest Digest // set, or
	Name   string // name and tag are
	Tag    string
}

// ParseModuleRef reads "sha256:…", "name" or "name:tag". The tag defaults to [DefaultTag].
func ParseModuleRef(s string) (ModuleRef, error) {
	if strings.HasPrefix(s, "sha256:") {
		d, err := ParseDigest(s)
		return ModuleRef{Digest: d}, err
	}
	name, tag, ok := strings.Cut(s, ":")
	if !ok {
		tag = DefaultTag
	}
	if err := CheckName("module", name); err != nil {
		return ModuleRef{}, err
	}
	if err := CheckName("tag", tag); err != nil {
		return ModuleRef{}, err
	}
	return ModuleRef{Name: name, Tag: tag}, nil
}

// String gives the reference in full.
func (r ModuleRef) String() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return r.Name + ":" + r.Tag
}
