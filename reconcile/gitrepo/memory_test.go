package gitrepo_test

import (
	"runtime"
	"time"
)

// peakHeap runs a function and returns the most memory in bytes that the heap was seen to hold meanwhile beyond what it did.
func peakHeap(do func()) int64 {
	runtime.GC()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
				most = max(most, heap()-before)
			}
		}
	}()
	do()
	close(stop)
	return <-peak
}
