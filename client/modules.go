package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/saki-run/saki/api"
)

// ModuleInfo is a module and what the cluster found inside it.
type ModuleInfo struct {
	Module api.Module      `json:"module"`
	Info   json.RawMessage `json:"info,omitempty"` // imports, exports, memories, …
}

// PushModule uploads a wasm module and tags it when tag ("name" or "name:tag") is not empty. A module that the cluster holds
// already is only tagged.
func (c *Client) PushModule(ctx context.Context, content Content, tag string) (*api.Module, error) {
	content.Type = "application/wasm"
	r := request{method: http.MethodPut, path: "/v1/modules", body: &content, once: content.once}
	if tag != "" {
		r.query = url.Values{"tag": {tag}}
	}
	m := new(api.Module)
	if err := c.call(ctx, &r, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Modules lists the modules that the cluster holds.
func (c *Client) Modules(ctx context.Context) ([]api.Module, error) {
	ms := []api.Module{}
	return ms, c.call(ctx, &request{method: http.MethodGet, path: "/v1/modules"}, &ms)
}

// Module gives a module by its digest or name[:tag].
func (c *Client) Module(ctx context.Context, ref string) (*ModuleInfo, error) {
	m := new(ModuleInfo)
	if err := c.call(ctx, &request{method: http.MethodGet, path: modulePath(ref)}, m); err != nil {
		return nil, err
	}
	return m, nil
}

// HasModule reports whether the cluster holds the module.
func (c *Client) HasModule(ctx context.Context, ref string) (bool, error) {
	return c.has(ctx, modulePath(ref))
}

// RemoveModule removes a module, or only a tag of it when ref is a name. The code of the error is [api.CodeInUse] while
// tasks that have not ended need it.
func (c *Client) RemoveModule(ctx context.Context, ref string) error {
	return c.call(ctx, &request{method: http.MethodDelete, path: modulePath(ref)}, nil)
}

// ForgetMemo drops all results of memo tasks that the cluster remembers, and says how many there were.
func (c *Client) ForgetMemo(ctx context.Context) (*api.MemoForgotten, error) {
	n := new(api.MemoForgotten)
	if err := c.call(ctx, &request{method: http.MethodDelete, path: "/v1/memo"}, n); err != nil {
		return nil, err
	}
	return n, nil
}

func modulePath(ref string) string { return "/v1/modules/" + url.PathEscape(ref) }

// PushBlob uploads content for tasks: a file to be staged, or a long stdin.
func (c *Client) PushBlob(ctx context.Context, content Content) (*api.BlobInfo, error) {
	b := new(api.BlobInfo)
	r := request{method: http.MethodPut, path: "/v1/blobs", body: &content, once: content.once}
	if err := c.call(ctx, &r, b); err != nil {
		return nil, err
	}
	return b, nil
}

// HasBlob reports whether the cluster holds the content.
func (c *Client) HasBlob(ctx context.Context, d api.Digest) (bool, error) {
	return c.has(ctx, "/v1/blobs/"+url.PathEscape(string(d)))
}

// Blob reads content, of modules too. The caller closes it and, if it matters, checks the digest.
func (c *Client) Blob(ctx context.Context, d api.Digest) (io.ReadCloser, error) {
	return c.stream(ctx, "/v1/blobs/"+url.PathEscape(string(d)), nil)
}

func (c *Client) has(ctx context.Context, path string) (bool, error) {
	err := c.call(ctx, &request{method: http.MethodHead, path: path}, nil)
	if errors.Is(err, api.Errorf(api.CodeNotFound, "")) || errors.Is(err, api.Errorf(api.CodeModuleNotFound, "")) {
		return false, nil
	}
	return err == nil, err
}
