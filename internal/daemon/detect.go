package daemon

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/api"
)

// defaultPorts are what an agent offers that names none.
var defaultPorts = api.Ports{{First: 31000, Last: 32000}}

// detect completes the resources that were given with those of the machine, leaving some of it to the system.
func detect(r api.Resources, given map[string]bool, dir string) (api.Resources, error) {
	if !given["cpus"] {
		r.CPUs = api.Milli(runtime.NumCPU()) * 1000
	}
	if !given["mem"] {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return r, fmt.Errorf("find out the machine's memory: %w", err)
		}
		r.Mem = leave(api.Bytes(info.Totalram)*api.Bytes(info.Unit), api.GiB)
	}
	if !given["disk"] {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return r, fmt.Errorf("find out the disk's size: %w", err)
		}
		r.Disk = leave(api.Bytes(fs.Bavail)*api.Bytes(fs.Bsize), 5*api.GiB)
	}
	if !given["ports"] {
		r.Ports = defaultPorts
	}
	return r, nil
}

// leave takes the system's part off: some, or half where there is little.
func leave(all, some api.Bytes) api.Bytes {
	if all < 2*some {
		return all / 2
	}
	return all - some
}
