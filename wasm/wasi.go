package wasm

// WASIModule is the module name of WASI preview 1, the only system interface that Saki offers.
const WASIModule = "wasi_snapshot_preview1"

// wasiPreview1 maps the functions of WASI preview 1 to their signatures, as its witx files lower them.
var wasiPreview1 = map[string]string{
	"args_get":                "(i32, i32) -> i32",
	"args_sizes_get":          "(i32, i32) -> i32",
	"clock_res_get":           "(i32, i32) -> i32",
	"clock_time_get":          "(i32, i64, i32) -> i32",
	"environ_get":             "(i32, i32) -> i32",
	"environ_sizes_get":       "(i32, i32) -> i32",
	"fd_advise":               "(i32, i64, i64, i32) -> i32",
	"fd_allocate":             "(i32, i64, i64) -> i32",
	"fd_close":                "(i32) -> i32",
	"fd_datasync":             "(i32) -> i32",
	"fd_fdstat_get":           "(i32, i32) -> i32",
	"fd_fdstat_set_flags":     "(i32, i32) -> i32",
	"fd_fdstat_set_rights":    "(i32, i64, i64) -> i32",
	"fd_filestat_get":         "(i32, i32) -> i32",
	"fd_filestat_set_size":    "(i32, i64) -> i32",
	"fd_filestat_set_times":   "(i32, i64, i64, i32) -> i32",
	"fd_pread":                "(i32, i32, i32, i64, i32) -> i32",
	"fd_prestat_dir_name":     "(i32, i32, i32) -> i32",
	"fd_prestat_get":          "(i32, i32) -> i32",
	"fd_pwrite":               "(i32, i32, i32, i64, i32) -> i32",
	"fd_read":                 "(i32, i32, i32, i32) -> i32",
	"fd_readdir":              "(i32, i32, i32, i64, i32) -> i32",
	"fd_renumber":             "(i32, i32) -> i32",
	"fd_seek":                 "(i32, i64, i32, i32) -> i32",
	"fd_sync":                 "(i32) -> i32",
	"fd_tell":                 "(i32, i32) -> i32",
	"fd_write":                "(i32, i32, i32, i32) -> i32",
	"path_create_directory":   "(i32, i32, i32) -> i32",
	"path_filestat_get":       "(i32, i32, i32, i32, i32) -> i32",
	"path_filestat_set_times": "(i32, i32, i32, i32, i64, i64, i32) -> i32",
	"path_link":               "(i32, i32, i32, i32, i32, i32, i32) -> i32",
	"path_open":               "(i32, i32, i32, i32, i32, i64, i64, i32, i32) -> i32",
	"path_readlink":           "(i32, i32, i32, i32, i32, i32) -> i32",
	"path_remove_directory":   "(i32, i32, i32) -> i32",
	"path_rename":             "(i32, i32, i32, i32, i32, i32) -> i32",
	"path_symlink":            "(i32, i32, i32, i32, i32) -> i32",
	"path_unlink_file":        "(i32, i32, i32) -> i32",
	"poll_oneoff":             "(i32, i32, i32, i32) -> i32",
	"proc_exit":               "(i32)",
	"proc_raise":              "(i32) -> i32",
	"random_get":              "(i32, i32) -> i32",
	"sched_yield":             "() -> i32",
	"sock_accept":             "(i32, i32, i32) -> i32",
	"sock_recv":               "(i32, i32, i32, i32, i32, i32) -> i32",
	"sock_send":               "(i32, i32, i32, i32, i32) -> i32",
	"sock_shutdown":           "(i32, i32) -> i32",
}

// WASIPreview1 returns the signature of a function of WASI preview 1, in the form Import.Signature has, and whether
// there is such a function.
func WASIPreview1(name string) (signature string, ok bool) {
	signature, ok = wasiPreview1[name]
	return signature, ok
}

// UnknownImports returns every import of the module that known does not know, in the order of the module, so that a
// person can be told all of them at once. The result is nil when there is none.
func UnknownImports(info *Info, known func(module, name string) bool) []Import {
	var unknown []Import
	for _, im := range info.Imports {
		if !known(im.Module, im.Name) {
			unknown = append(unknown, im)
		}
	}
	return unknown
}

// Mismatch is an import that the host offers in another shape than the module wants.
type Mismatch struct {
	Import
	Offered string `json:"offered"` // the signature of the host's function
}

// WrongSignatures returns every imported function whose signature is not the one that offered gives for it, and every
// other import that bears the name of a function. Imports that offered does not know are left to UnknownImports. The
// result is nil when there is none.
func WrongSignatures(info *Info, offered func(module, name string) (signature string, ok bool)) []Mismatch {
	var wrong []Mismatch
	for _, im := range info.Imports {
		sig, ok := offered(im.Module, im.Name)
		if ok && (im.Kind != extNames[extFunc] || im.Signature != sig) {
			wrong = append(wrong, Mismatch{Import: im, Offered: sig})
		}
	}
	return wrong
}
