package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
)

// maxJSONDepth is how deep a document may nest.
const maxJSONDepth = 64

// DecodeStrict reads one JSON value into v, a pointer. Unlike [json.Unmarshal] it refuses unknown and doubled fields, fields
// whose case differs, deep nesting and trailing text; its errors name the place by JSON pointer and suggest the field meant.
func DecodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	w := walker{dec: dec}
	if err := w.value("", reflect.TypeOf(v).Elem(), 0); err != nil {
		if _, ok := err.(*Error); ok { //nolint:errorlint // made by the walker itself, never wrapped
			return err
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // the decoder's own sentinels
			return Errorf(CodeInvalidSpec, "the JSON ends too early")
		}
		return Errorf(CodeInvalidSpec, "not valid JSON: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Errorf(CodeInvalidSpec, "there is more after the JSON value")
	}
	if err := json.Unmarshal(data, v); err != nil {
		return unmarshalError(err)
	}
	return nil
}

func unmarshalError(err error) error {
	if t, ok := err.(*json.UnmarshalTypeError); ok { //nolint:errorlint // json.Unmarshal gives it bare
		return Errorf(CodeInvalidSpec, "/%s: wants %s, not a %s", strings.ReplaceAll(t.Field, ".", "/"), kindName(t.Type), t.Value)
	}
	return Errorf(CodeInvalidSpec, "%v", err)
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	default:
		return "a number of type " + t.Kind().String()
	}
}

// walker reads tokens along a Go type and checks the names of fields.
type walker struct{ dec *json.Decoder }

func (w walker) value(path string, t reflect.Type, depth int) error {
	if depth > maxJSONDepth {
		return Errorf(CodeInvalidSpec, "%s: nested deeper than %d levels", path, maxJSONDepth)
	}
	tok, err := w.dec.Token()
	if err != nil {
		return err
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch tok {
	case json.Delim('{'):
		return w.object(path, t, depth)
	case json.Delim('['):
		var elem reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			elem = t.Elem()
		}
		for i := 0; w.dec.More(); i++ {
			if err := w.value(fmt.Sprintf("%s/%d", path, i), elem, depth+1); err != nil {
				return err
			}
		}
		_, err = w.dec.Token()
	default:
		return quantity(path, t, tok)
	}
	return err
}

// quantity reads a number or text into a type that reads itself, such as [Bytes], only for the error: the one that
// [json.Unmarshal] gives does not say where it was.
func quantity(path string, t reflect.Type, tok json.Token) error {
	if tok == nil || !readsItself[t] {
		return nil
	}
	u, ok := reflect.TypeAssert[json.Unmarshaler](reflect.New(t))
	if !ok {
		return nil
	}
	raw, err := json.Marshal(tok)
	if err == nil {
		err = u.UnmarshalJSON(raw)
	}
	if err == nil {
		return nil
	}
	code := CodeInvalidSpec
	if strings.Contains(path, "/resources/") {
		code = CodeInvalidResources
	}
	return Errorf(code, "%s: %v", path, err)
}

func (w walker) object(path string, t reflect.Type, depth int) error {
	var fields map[string]reflect.Type
	var elem reflect.Type
	if t != nil {
		switch t.Kind() {
		case reflect.Struct:
			fields = knownFields[t]
			if fields == nil {
				fields = jsonFields(t)
			}
		case reflect.Map:
			elem = t.Elem()
		}
	}
	seen := map[string]bool{}
	for w.dec.More() {
		tok, err := w.dec.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string)
		at := path + "/" + escaped(key)
		if seen[key] {
			return Errorf(CodeInvalidSpec, "%s: given twice", at)
		}
		seen[key] = true
		ft := elem
		if fields != nil {
			var ok bool
			if ft, ok = fields[key]; !ok {
				return unknownField(path, key, fields)
			}
		}
		if err := w.value(at, ft, depth+1); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func unknownField(path, key string, fields map[string]reflect.Type) error {
	names := make([]string, 0, len(fields))
	for n := range fields {
		names = append(names, n)
	}
	e := Errorf(CodeUnknownField, "unknown field %s in %s", Quote(key), where(path))
	if best := Closest(key, names); best != "" {
		return e.WithHint("did you mean %q?", best)
	}
	return e
}

func where(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

// jsonFields maps the JSON names of a struct's fields, embedded ones included, to their types.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			maps.Copy(out, jsonFields(f.Type))
		case name == "":
			out[f.Name] = f.Type
		default:
			out[name] = f.Type
		}
	}
	return out
}

// Closest gives the candidate that s was probably meant to be, or "" when none is near.
func Closest(s string, candidates []string) string {
	best, bestDist := "", len(s)/3+2
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(s), strings.ToLower(c)); d < bestDist || d == bestDist && best != "" && c < best {
			best, bestDist = c, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance with swaps of neighbours counted once.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

// escaped makes a key part of a JSON pointer.
func escaped(key string) string {
	if !strings.ContainsAny(key, "~/") {
		return key
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// readsItself are the types that make a number or text into an amount.
var readsItself = map[reflect.Type]bool{
	reflect.TypeFor[Milli](): true, reflect.TypeFor[Bytes](): true, reflect.TypeFor[Duration](): true,
}

// knownFields are the fields of the structs in a [Spec], which are looked up for every task.
var knownFields = fieldsBelow(reflect.TypeFor[Spec](), map[reflect.Type]map[string]reflect.Type{})

func fieldsBelow(t reflect.Type, found map[reflect.Type]map[string]reflect.Type) map[reflect.Type]map[string]reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || found[t] != nil {
		return found
	}
	found[t] = jsonFields(t)
	for _, f := range found[t] {
		fieldsBelow(f, found)
	}
	return found
}
