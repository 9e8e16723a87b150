// Package mesos holds the messages of the Mesos v1 API as plain data: what
// schedulers, executors and operators send and what they are answered.
//
// The types are generated from the .proto files beside this one. They keep
// presence (an optional field is a pointer), and they keep fields that they do
// not know, so that a TaskInfo reaches its executor as its scheduler wrote it.
// The Go code is committed; protoc is needed only to change it.
//
// Subpackages: scheduler, executor, master and agent hold the calls and events
// of the four HTTP APIs; quota and maintenance what operators configure; codec
// turns messages into Mesos' JSON and back; recordio frames them on a stream;
// resources counts them; validate says which of them are refused, and why.
//
// Nothing in this tree touches a clock, a file or the network.
package mesos

//go:generate protoc -I .. --go_out=.. --go_opt=module=github.com/saki-run/saki mesos/basic.proto mesos/container.proto mesos/resource.proto mesos/task.proto mesos/cluster.proto mesos/scheduler/scheduler.proto mesos/executor/executor.proto mesos/quota/quota.proto mesos/maintenance/maintenance.proto mesos/master/master.proto mesos/agent/agent.proto
