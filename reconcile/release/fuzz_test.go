package release_test

import (
	"math/rand/v2"
	"testing"
)

// FuzzPlan makes a history of the bytes, and a daemon's choices of those that are left: whatever they are, planning ends, keeps
// its promises on the way (see consistent) and comes to what the model comes to.
func FuzzPlan(f *testing.F) {
	for n := range uint64(8) {
		r := rand.New(rand.NewPCG(n, 1))
		data := make([]byte, 100<<(n%4))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		pick := func(n int) int {
			if len(data) == 0 {
				return n - 1
			}
			choice := int(data[0]) % n
			data = data[1:]
			return choice
		}
		h := randomHistory(pick)
		if err := h.check(pick, func(string) {}); err != nil {
			t.Fatalf("%s%v", h, err)
		}
	})
}
