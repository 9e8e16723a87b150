package core

import (
	"slices"

	"github.com/saki-run/saki/api"
)

func (a *applying) putModule(c *PutModule) {
	m, ok := a.modules.Get([]byte(c.Module.Digest))
	if !ok {
		m = &c.Module
		m.Created, m.Tags = a.now, nil
		a.modules.Insert([]byte(m.Digest), m)
		a.emit(Event{Type: api.EventModuleAdded, Module: m})
	}
	if c.Tag == "" || slices.Contains(m.Tags, c.Tag) {
		if ok {
			a.emit(Event{Type: Ignored, Module: m})
		}
		return
	}
	if old, ok := a.tags.Get([]byte(c.Tag)); ok {
		a.untag(old, c.Tag)
	}
	a.tags.Insert([]byte(c.Tag), m.Digest)
	m = a.setModule(m.Digest, func(m *api.Module) {
		m.Tags = slices.Sorted(slices.Values(append(slices.Clone(m.Tags), c.Tag)))
	})
	a.emit(Event{Type: api.EventModuleTagged, Module: m, Ref: c.Tag})
}

func (a *applying) setModule(d api.Digest, change func(*api.Module)) *api.Module {
	old, _ := a.modules.Get([]byte(d))
	m := *old
	change(&m)
	a.modules.Insert([]byte(d), &m)
	return &m
}

// untag takes the tag off the module; the tag itself is the caller's to delete or move.
func (a *applying) untag(d api.Digest, tag string) {
	a.setModule(d, func(m *api.Module) {
		m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t string) bool { return t == tag })
	})
}

func (a *applying) removeModule(c *RemoveModule) {
	ref, err := api.ParseModuleRef(c.Ref)
	if err != nil {
		a.emit(Event{Type: Rejected, Err: api.AsError(err)})
		return
	}
	d := ref.Digest
	if d == "" {
		tag := ref.String()
		got, ok := a.tags.Get([]byte(tag))
		if !ok {
			a.reject(api.CodeModuleNotFound, "there is no module %s", tag)
			return
		}
		d = got
		if m, _ := a.modules.Get([]byte(d)); len(m.Tags) > 1 { // other names keep the module
			a.tags.Delete([]byte(tag))
			a.untag(d, tag)
			a.emit(Event{Type: api.EventModuleRemoved, Module: m, Ref: tag})
			return
		}
	}
	m, ok := a.modules.Get([]byte(d))
	if !ok {
		a.reject(api.CodeModuleNotFound, "there is no module %s", d)
		return
	}
	if user := a.moduleUser(d); user != "" {
		a.emit(Event{Type: Rejected, Err: api.Errorf(api.CodeInUse, "module %s is used by task %s", d.Short(), user).
			WithHint("wait for it or run: saki kill %s", user)})
		return
	}
	for _, tag := range m.Tags {
		a.tags.Delete([]byte(tag))
	}
	a.modules.Delete([]byte(d))
	a.emit(Event{Type: api.EventModuleRemoved, Module: m, Ref: c.Ref})
}

// moduleUser names a task that is not terminal and needs the module.
func (a *applying) moduleUser(d api.Digest) (user api.TaskID) {
	a.tasks.Root().Walk(func(_ []byte, r *record) bool {
		if r.live != nil && r.live.Spec.Module() == d {
			user = r.live.ID
		}
		return user != ""
	})
	return user
}

func (a *applying) putBlob(c *PutBlob) {
	if _, ok := a.blobs.Get([]byte(c.Blob.Digest)); ok {
		a.emit(Event{Type: Ignored})
		return
	}
	b := c.Blob
	b.Created = a.now
	a.blobs.Insert([]byte(b.Digest), &b)
	a.emit(Event{Type: Ignored})
}
