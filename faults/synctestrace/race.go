//go:build race

package synctestrace

import goruntime "runtime"

func init() { goruntime.GOMAXPROCS(1) }
