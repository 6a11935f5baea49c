package registry

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// TestCacheBudget: the values used last stay, the others are dropped and told so.
func TestCacheBudget(t *testing.T) {
	var dropped []int
	c := newCache[int](10, func(v int) { dropped = append(dropped, v) })
	made := 0
	get := func(key, cost int) {
		t.Helper()
		v, err := c.get(t.Context(), key, func() (int, int, error) { made++; return key, cost, nil })
		if err != nil || v != key {
			t.Fatalf("got %d, %v", v, err)
		}
	}
	get(1, 4)
	get(2, 4)
	get(1, 4) // used again: 2 is the older one now
	get(3, 4)
	if !slices.Equal(dropped, []int{2}) || made != 3 || c.spent != 8 {
		t.Errorf("dropped %v, made %d, spent %d", dropped, made, c.spent)
	}
	get(4, 11) // more than the whole budget: given, not kept
	if !slices.Equal(dropped, []int{2, 1, 3, 4}) || c.spent != 0 {
		t.Errorf("dropped %v, spent %d", dropped, c.spent)
	}
}

// TestCacheWaits: one makes a value, the others wait for it; nobody fails for a mistake of somebody else.
func TestCacheWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache[string](10, func(int) {})
		failed := errors.New("failed")
		begun, proceed := make(chan struct{}), make(chan struct{})
		go func() {
			_, err := c.get(t.Context(), "key", func() (int, int, error) {
				close(begun)
				<-proceed
				return 0, 1, failed
			})
			if err != failed {
				t.Errorf("the maker got %v", err)
			}
		}()
		<-begun
		made := 0
		for range 3 {
			go func() {
				if v, err := c.get(t.Context(), "key", func() (int, int, error) { made++; return 7, 1, nil }); v != 7 || err != nil {
					t.Errorf("who waited got %d, %v", v, err)
				}
			}()
		}
		impatient, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := c.get(impatient, "key", nil); err != context.Canceled {
				t.Errorf("who left got %v", err)
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(proceed)
		synctest.Wait()
		if made != 1 {
			t.Errorf("made %d times", made)
		}
	})
}
