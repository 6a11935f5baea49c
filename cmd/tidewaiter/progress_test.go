package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Progress is shown while there is some, and the line is empty afterwards; what is no terminal gets nothing.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		downloaded, stop := progressOn(&out, time.Second)
		time.Sleep(1500 * time.Millisecond)
		if out.Len() > 0 {
			t.Errorf("before anything came %q is shown", &out)
		}
		downloaded(1_500_000)
		downloaded(500_000)
		time.Sleep(time.Second)
		stop()
		stop()
		if got, want := out.String(), "\r\x1b[Kdownloaded and compared: 2.0 MB\r\x1b[K"; got != want {
			t.Errorf("%q is shown, want %q", got, want)
		}
	})
	var file strings.Builder
	downloaded, stop := progress(&file)
	stop()
	if downloaded != nil || file.Len() > 0 {
		t.Errorf("%q is written where nobody looks", file.String())
	}
}
