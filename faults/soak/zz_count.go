package soak

import (
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var ReqCount [100]atomic.Int64
var FetchParts atomic.Int64

func (s *Session) count() {
	for k := int16(0); k < 70; k++ {
		_ = s.cluster.embedded.Observe(k, func(req kmsg.Request) {
			ReqCount[k].Add(1)
			if f, ok := req.(*kmsg.FetchRequest); ok {
				for _, t := range f.Topics {
					FetchParts.Add(int64(len(t.Partitions)))
				}
			}
		})
	}
}

func PrintCounts(seconds float64) {
	for k := range ReqCount {
		if n := ReqCount[k].Load(); n > 0 {
			fmt.Printf("%-22s %9d %8.2f/s\n", kmsg.NameForKey(int16(k)), n, float64(n)/seconds)
		}
	}
	fmt.Println("partitions in fetches", float64(FetchParts.Load())/seconds)
}
