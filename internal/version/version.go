// Package version knows which build of saki this is.
package version

import (
	"runtime"
	"runtime/debug"

	"github.com/saki-run/saki/api"
)

// Version is set by the linker.
var Version = "dev"

// Get describes this build.
func Get() api.Version {
	v := api.Version{Version: Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}
