package validate

import (
	"bytes"
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/resources"
)

// SameExecutor tells whether a task that brings b may join an executor that
// was started as a. The order of resources, URIs, variables, volumes and labels
// does not matter, nor who holds the resources; labels and the grace period of
// the executor may change. The framework id counts only if both have it: the
// master fills it in.
func SameExecutor(a, b *mesos.ExecutorInfo) bool {
	ra, errA := resources.From(a.GetResources())
	rb, errB := resources.From(b.GetResources())
	if errA != nil || errB != nil || !ra.Unallocate().Equal(rb.Unallocate()) {
		return false
	}
	if a.FrameworkId != nil && b.FrameworkId != nil && a.GetFrameworkId().GetValue() != b.GetFrameworkId().GetValue() {
		return false
	}
	return proto.Equal(plain(a), plain(b))
}

// plain is a copy of e in which what does not matter is left out or sorted.
func plain(e *mesos.ExecutorInfo) *mesos.ExecutorInfo {
	e = proto.CloneOf(e)
	e.Resources, e.FrameworkId, e.Labels, e.ShutdownGracePeriod = nil, nil, nil, nil
	e.Type = kind(e).Enum()
	strip(e.ProtoReflect())
	resources.Each(e, func(l *mesos.Labels) { sortByBytes(l.Labels) })
	resources.Each(e, func(c *mesos.CommandInfo) { sortByBytes(c.Uris) })
	resources.Each(e, func(v *mesos.Environment) { sortByBytes(v.Variables) })
	resources.Each(e, func(c *mesos.ContainerInfo) { sortByBytes(c.Volumes) })
	return e
}

// strip takes out of m what says nothing: unknown fields, optional fields that
// are set to what they would be anyway, and messages that are empty then.
func strip(m protoreflect.Message) {
	m.SetUnknown(nil)
	for fd, v := range m.Range {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				for _, e := range v.Map().Range {
					strip(e.Message())
				}
			}
		case fd.IsList():
			for i := range v.List().Len() {
				if fd.Message() != nil {
					strip(v.List().Get(i).Message())
				}
			}
		case fd.Message() != nil:
			strip(v.Message())
			if fd.Cardinality() == protoreflect.Optional && proto.Size(v.Message().Interface()) == 0 {
				m.Clear(fd)
			}
		case fd.Cardinality() == protoreflect.Optional && fd.ContainingOneof() == nil && v.Equal(fd.Default()):
			m.Clear(fd)
		}
	}
}

// kind is the type of e. Without one it is what the command says.
func kind(e *mesos.ExecutorInfo) mesos.ExecutorInfo_Type {
	switch {
	case e.Type != nil:
		return e.GetType()
	case e.Command != nil:
		return mesos.ExecutorInfo_CUSTOM
	}
	return mesos.ExecutorInfo_DEFAULT
}

func sortByBytes[T proto.Message](ms []T) {
	type keyed struct {
		key []byte
		m   T
	}
	ks := make([]keyed, len(ms))
	for i, m := range ms {
		b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m)
		if err != nil {
			panic("validate: a message does not encode: " + err.Error())
		}
		ks[i] = keyed{b, m}
	}
	slices.SortFunc(ks, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(len(a.key), len(b.key)), bytes.Compare(a.key, b.key))
	})
	for i, k := range ks {
		ms[i] = k.m
	}
}

// executorInfo checks what can be checked of an executor by itself.
func executorInfo(e *mesos.ExecutorInfo) error {
	switch e.GetType() {
	case mesos.ExecutorInfo_DEFAULT:
		switch {
		case e.Command != nil:
			return refuse("'ExecutorInfo.command' must not be set for 'DEFAULT' executor")
		case e.Container != nil && e.Container.GetType() != mesos.ContainerInfo_MESOS:
			return refuse("'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor")
		case e.GetContainer().GetMesos().GetImage() != nil:
			return refuse("'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor")
		}
	case mesos.ExecutorInfo_CUSTOM:
		if e.Command == nil {
			return refuse("'ExecutorInfo.command' must be set for 'CUSTOM' executor")
		}
	}
	if err := ID(e.GetExecutorId().GetValue()); err != nil {
		return err
	}
	if e.GetShutdownGracePeriod().GetNanoseconds() < 0 {
		return refuse("ExecutorInfo's 'shutdown_grace_period' must be non-negative")
	}
	if err := command(e.Command); err != nil {
		return prefixed("Executor's `CommandInfo` is invalid", err)
	}
	return prefixed("Executor's `ContainerInfo` is invalid", container(e.Container))
}
