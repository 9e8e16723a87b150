package httpapi

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/saki-run/saki/api"
)

// openAPI serves a description of the routes, made from the routes themselves and the types they take and give.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, describe(s.routes, s.cfg.Version.Version))
}

type object = map[string]any

func describe(routes []route, version string) object {
	sc := schemas{}
	paths := map[string]object{}
	for _, r := range routes {
		if r.internal {
			continue
		}
		op := object{
			"summary":     r.summary,
			"operationId": strings.ToLower(r.method) + strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_").Replace(r.path),
			"responses": object{
				"200":     object{"description": "done", "content": sc.content(r.answer)},
				"default": object{"description": "failed; error.code is one of " + codeList(), "content": sc.content(api.ErrorBody{})},
			},
		}
		var params []object
		for part := range strings.SplitSeq(r.path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				params = append(params, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
			}
		}
		for _, q := range r.query {
			params = append(params, object{"name": q.name, "in": "query", "description": q.about, "schema": object{"type": "string"}})
		}
		if r.path == "/v1/tasks" && r.method == http.MethodPost {
			params = append(params, object{"name": "Idempotency-Key", "in": "header", "description": "a repeated submit with the same key gives the same task", "schema": object{"type": "string"}})
		}
		if len(params) > 0 {
			op["parameters"] = params
		}
		if r.body != nil {
			op["requestBody"] = object{"required": true, "content": sc.content(r.body)}
		}
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path][strings.ToLower(r.method)] = op
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "Saki", "version": version, "description": "Runs wasm, container and shell tasks. Errors are {\"error\":{\"code\",\"message\",\"hint\"}}."},
		"paths":   paths, "components": object{"schemas": sc},
	}
}

func codeList() string {
	var out []string
	for c := range api.Codes() {
		out = append(out, string(c))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// schemas are the named types met so far.
type schemas map[string]any

func (s schemas) content(v any) object {
	if _, raw := v.(rawBody); raw {
		return object{"application/octet-stream": object{"schema": object{"type": "string", "format": "binary"}}}
	}
	return object{"application/json": object{"schema": s.of(reflect.TypeOf(v))}}
}

// of gives the schema of a type; structs become references to a named one.
func (s schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[api.Duration]():
		return object{"type": "string", "examples": []string{"1m30s"}}
	case reflect.TypeFor[api.Milli]():
		return object{"type": "number", "examples": []float64{0.5}}
	case reflect.TypeFor[api.Bytes]():
		return object{"type": []string{"integer", "string"}, "examples": []any{67108864, "64Mi"}}
	case reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.named(t)
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Interface:
		return object{}
	default:
		return object{"type": "integer"}
	}
}

func (s schemas) named(t reflect.Type) object {
	name := t.Name()
	ref := object{"$ref": "#/components/schemas/" + name}
	if _, known := s[name]; known {
		return ref
	}
	s[name] = nil // breaks cycles
	props := object{}
	var required []string
	s.fields(t, props, &required)
	def := object{"type": "object", "properties": props}
	if len(required) > 0 {
		def["required"] = required
	}
	s[name] = def
	return ref
}

func (s schemas) fields(t reflect.Type, props object, required *[]string) {
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			s.fields(f.Type, props, required)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		props[name] = s.of(f.Type)
		if !strings.Contains(opts, "omit") {
			*required = append(*required, name)
		}
	}
}
