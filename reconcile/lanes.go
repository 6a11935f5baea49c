package reconcile

import "sync"

// lanes run jobs in parallel, a bounded number at a time for each registry: one that hangs holds up its own jobs only.
type lanes struct {
	atATime int // jobs of one registry
	running sync.WaitGroup

	mu     sync.Mutex
	byHost map[string]*lane
}

// lane is the queue of one registry.
type lane struct {
	waiting []func()
	workers int
}

func newLanes(atATime int) *lanes { return &lanes{atATime: atATime, byHost: map[string]*lane{}} }

// Go runs a job for a registry when its turn comes.
func (ls *lanes) Go(host string, job func()) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byHost[host]
	if l == nil {
		l = &lane{}
		ls.byHost[host] = l
	}
	l.waiting = append(l.waiting, job)
	if l.workers < ls.atATime {
		l.workers++
		ls.running.Go(func() { ls.work(host, l) })
	}
}

// Wait returns when every job has run.
func (ls *lanes) Wait() { ls.running.Wait() }

// work runs the jobs of one lane until none is left.
func (ls *lanes) work(host string, l *lane) {
	for {
		job := ls.next(host, l)
		if job == nil {
			return
		}
		job()
	}
}

func (ls *lanes) next(host string, l *lane) (job func()) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(l.waiting) > 0 {
		job, l.waiting = l.waiting[0], l.waiting[1:]
		return job
	}
	if l.workers--; l.workers == 0 {
		delete(ls.byHost, host)
	}
	return nil
}
