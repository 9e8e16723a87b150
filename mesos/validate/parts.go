package validate

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
)

func command(c *mesos.CommandInfo) error {
	for _, v := range c.GetEnvironment().GetVariables() {
		switch v.GetType() {
		case mesos.Environment_Variable_VALUE:
			switch {
			case v.Secret != nil:
				return refuse("Environment variable '%s' of type 'VALUE' must not have a secret set", v.GetName())
			case v.Value == nil:
				return refuse("Environment variable '%s' of type 'VALUE' must have a value set", v.GetName())
			case strings.ContainsRune(v.GetValue(), 0):
				return refuse("Environment variable '%s' of type 'VALUE' must not contain a null byte", v.GetName())
			}
		case mesos.Environment_Variable_SECRET:
			switch {
			case v.Value != nil:
				return refuse("Environment variable '%s' of type 'SECRET' must not have a value set", v.GetName())
			case v.Secret == nil:
				return refuse("Environment variable '%s' of type 'SECRET' must have a secret set", v.GetName())
			}
		default:
			return refuse("Environment variable of type 'UNKNOWN' is not allowed")
		}
	}
	return nil
}

func container(c *mesos.ContainerInfo) error {
	for _, v := range c.GetVolumes() {
		sources := 0
		for _, set := range []bool{v.HostPath != nil, v.Image != nil, v.Source != nil} {
			if set {
				sources++
			}
		}
		if sources > 1 {
			return refuse("Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'")
		}
	}
	return nil
}

func healthCheck(c *mesos.HealthCheck) error {
	if c.Type == nil {
		return refuse("HealthCheck must specify 'type'")
	}
	switch c.GetType() {
	case mesos.HealthCheck_COMMAND:
		if c.Command == nil {
			return refuse("Expecting 'command' to be set for COMMAND health check")
		}
		if err := checkCommand("Command health check", "Health check's", c.Command); err != nil {
			return err
		}
	case mesos.HealthCheck_HTTP:
		if c.Http == nil {
			return refuse("Expecting 'http' to be set for HTTP health check")
		}
		if s := c.Http.Scheme; s != nil && *s != "http" && *s != "https" {
			return refuse("Unsupported HTTP health check scheme: '%s'", *s)
		}
		if p := c.Http.Path; p != nil && !strings.HasPrefix(*p, "/") {
			return refuse("The path '%s' of HTTP health check must start with '/'", *p)
		}
	case mesos.HealthCheck_TCP:
		if c.Tcp == nil {
			return refuse("Expecting 'tcp' to be set for TCP health check")
		}
	default:
		return refuse("'%s' is not a valid health check type", c.GetType())
	}
	return notNegative(c, "delay_seconds", "grace_period_seconds", "interval_seconds", "timeout_seconds")
}

func check(c *mesos.CheckInfo) error {
	if c.Type == nil {
		return refuse("CheckInfo must specify 'type'")
	}
	switch c.GetType() {
	case mesos.CheckInfo_COMMAND:
		if c.Command == nil {
			return refuse("Expecting 'command' to be set for COMMAND check")
		}
		if err := checkCommand("Command check", "Check's", c.Command.GetCommand()); err != nil {
			return err
		}
	case mesos.CheckInfo_HTTP:
		if c.Http == nil {
			return refuse("Expecting 'http' to be set for HTTP check")
		}
		if p := c.Http.Path; p != nil && !strings.HasPrefix(*p, "/") {
			return refuse("The path '%s' of HTTP check must start with '/'", *p)
		}
	case mesos.CheckInfo_TCP:
		if c.Tcp == nil {
			return refuse("Expecting 'tcp' to be set for TCP check")
		}
	default:
		return refuse("'%s' is not a valid check type", c.GetType())
	}
	return notNegative(c, "delay_seconds", "interval_seconds", "timeout_seconds")
}

func checkCommand(what, whose string, c *mesos.CommandInfo) error {
	if c.Value == nil {
		kind := "'executable path'"
		if c.GetShell() {
			kind = "'shell command'"
		}
		return refuse("%s must contain %s", what, kind)
	}
	return prefixed(whose+" `CommandInfo` is invalid", command(c))
}

// notNegative checks fields of type double.
func notNegative(m proto.Message, fields ...string) error {
	r := m.ProtoReflect()
	for _, name := range fields {
		if v := r.Get(r.Descriptor().Fields().ByTextName(name)).Float(); !(v >= 0) {
			return refuse("Expecting '%s' to be non-negative", name)
		}
	}
	return nil
}
