// Package e2e tests a cluster as it is deployed: masters and agents in containers of their own, with real addresses on a real
// network, whose kernel, disks and wires can be taken away from under them. The tests need Docker, the build tag e2e and the
// program in bin/saki; make e2e brings all of it together.
//
// No registry is asked: the images are made here, of static programs. All that the tests make carries the label saki.e2e with
// the name of the run, or, when an agent makes it, the label saki.cluster with the same name, and is removed at the end.
package e2e
