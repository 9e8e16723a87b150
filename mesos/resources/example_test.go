package resources_test

import (
	"fmt"

	"github.com/saki-run/saki/mesos/resources"
)

func Example() {
	agent, _ := resources.Parse("cpus:4;mem:4096;ports:[8000-8100]")
	task, _ := resources.Parse("cpus:0.5;mem:64;ports:[8000-8005]")
	port, _ := resources.Parse("ports:[8003]")

	free, ok := agent.Sub(task)
	fmt.Println(free, ok)

	free = free.Add(port) // Comes back, and stands last.
	fmt.Println(free.Ranges("ports").Join(","))
	fmt.Println(free.Milli("cpus"), free.Contains(task))
	// Output:
	// cpus(*):3.5; mem(*):4032; ports(*):[8006-8100] true
	// 8006-8100,8003-8003
	// 3500 false
}
