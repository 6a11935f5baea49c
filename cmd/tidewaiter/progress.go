package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"tidewaiter/reconcile/contract"
)

// progress shows on a terminal how much was downloaded, and nothing anywhere else. It returns what hears of bytes and what ends the
// show, which leaves the line empty.
func progress(w io.Writer) (downloaded func(bytes int), stop func()) {
	if f, isFile := w.(*os.File); !isFile || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	return progressOn(w, 200*time.Millisecond)
}

func progressOn(w io.Writer, every time.Duration) (downloaded func(bytes int), stop func()) {
	var sum atomic.Int64
	ended := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-ticker.C:
				if n := sum.Load(); n > 0 {
					fmt.Fprintf(w, "\r\x1b[Kdownloaded and compared: %s", contract.Bytes(n))
				}
			}
		}
	})
	return func(bytes int) { sum.Add(int64(bytes)) }, sync.OnceFunc(func() {
		close(ended)
		running.Wait()
	})
}
