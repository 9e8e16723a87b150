package codec_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/saki-run/saki/mesos/codec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTranscripts reads what real clients were seen to send, and what we send
// them, and compares what we print of it. The first part of a file's name is
// the type of the message.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 16 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(base, func(t *testing.T) {
			typ, _, _ := strings.Cut(base, "-")
			mt, err := protoregistry.GlobalTypes.FindMessageByName("mesos.v1." + protoreflect.FullName(typ))
			if err != nil {
				t.Fatal(err)
			}
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m := mt.New().Interface()
			if err := codec.JSON.Unmarshal(in, m); err != nil {
				t.Fatal(err)
			}
			got, err := codec.JSON.Append(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(got)+"\n" != string(want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			twin := mt.New().Interface()
			pb, err := codec.Protobuf.Append(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			if err := codec.Protobuf.Unmarshal(pb, twin); err != nil || !proto.Equal(twin, m) {
				t.Errorf("the protobuf form differs: %v", err)
			}
		})
	}
}
