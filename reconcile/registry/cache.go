package registry

import (
	"container/list"
	"context"
	"sync"
)

// cache holds the values used last within a budget, and makes each value once however many ask for it at a time.
type cache[K comparable, V any] struct {
	budget int

	mu      sync.Mutex
	entries map[K]*list.Element
	recent  list.List // of entry[K, V], the one used last in front
	spent   int
	making  map[K]chan struct{} // closed when the attempt is over
	dropped func(V)             // called for each value that leaves
}

type entry[K comparable, V any] struct {
	key   K
	value V
	cost  int
}

func newCache[K comparable, V any](budget int, dropped func(V)) *cache[K, V] {
	return &cache[K, V]{budget: budget, entries: map[K]*list.Element{}, making: map[K]chan struct{}{}, dropped: dropped}
}

// get returns the value of key, made by fetch where it is not there, which also says what it costs. An error is not
// remembered and is that caller's alone: whoever waited tries for itself, so that nobody fails by another's context.
func (c *cache[K, V]) get(ctx context.Context, key K, fetch func() (V, int, error)) (V, error) {
	for {
		c.mu.Lock()
		if e, ok := c.entries[key]; ok {
			c.recent.MoveToFront(e)
			c.mu.Unlock()
			return e.Value.(entry[K, V]).value, nil
		}
		wait, busy := c.making[key]
		if !busy {
			break
		}
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
	done := make(chan struct{})
	c.making[key] = done
	c.mu.Unlock()

	value, cost, err := fetch()

	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.making, key)
	close(done)
	if err == nil {
		c.entries[key] = c.recent.PushFront(entry[K, V]{key, value, cost})
		c.spent += cost
		for c.spent > c.budget {
			c.drop(c.recent.Back())
		}
	}
	return value, err
}

// all are the values that are held.
func (c *cache[K, V]) all() (values []V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range c.entries {
		values = append(values, c.entries[e].Value.(entry[K, V]).value)
	}
	return values
}

func (c *cache[K, V]) drop(e *list.Element) {
	gone := c.recent.Remove(e).(entry[K, V])
	delete(c.entries, gone.key)
	c.spent -= gone.cost
	c.dropped(gone.value)
}
