package api

import "testing"

func BenchmarkDecodeStrict(b *testing.B) {
	doc := []byte(`{"wasm":{"module":"sha256:0000000000000000000000000000000000000000000000000000000000000000","args":["a","b"]},"resources":{"cpus":0.5,"mem":"64Mi"},"timeout":"30s","env":{"A":"b"}}`)
	b.ReportAllocs()
	for b.Loop() {
		var s Spec
		if err := DecodeStrict(doc, &s); err != nil {
			b.Fatal(err)
		}
	}
}
