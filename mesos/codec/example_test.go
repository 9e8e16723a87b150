package codec_test

import (
	"fmt"
	"os"

	"github.com/saki-run/saki/mesos/codec"
	"github.com/saki-run/saki/mesos/recordio"
	"github.com/saki-run/saki/mesos/scheduler"
)

func Example() {
	event := &scheduler.Event{Type: scheduler.Event_HEARTBEAT.Enum()}
	record, _ := codec.JSON.Append(nil, event)
	_ = recordio.NewWriter(os.Stdout).Write(record)
	fmt.Println()

	var call scheduler.Call
	fmt.Println(codec.JSON.Unmarshal([]byte(`{"type":"KILL","kill":{"agent_id":null}}`), &call))
	// Output:
	// 20
	// {"type":"HEARTBEAT"}
	// Failed to convert JSON into Call protobuf: Missing required fields: kill.task_id
}
