// Reads PodMonitors on standard input, each a JSON document, into the Prometheus operator's own types, and says what does not fit.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

func main() {
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	for read := 0; ; read++ {
		var monitor monitoring.PodMonitor
		err := decoder.Decode(&monitor)
		if errors.Is(err, io.EOF) {
			fmt.Println(read, "read")
			return
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}
