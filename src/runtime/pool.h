// pool: pinned threads behind the kernel interface's `parallel`. Included through runtime/runtime.h.
#ifndef TS_RUNTIME_POOL_H
#define TS_RUNTIME_POOL_H

#include "base/base.h"
#include "target/target.h"

typedef struct ts_pool ts_pool;

// `threads` counts the calling thread; 0 means one per physical core usable by this process. Every thread, the caller among
// them, is pinned to a core of its own when there are enough. Refuses more than 1024 threads.
ts_pool *ts_pool_new(int threads, ts_diag *d) TS_WARN_UNUSED;
void ts_pool_free(ts_pool *p);  // accepts NULL; gives the caller back the affinity it had
int ts_pool_threads(const ts_pool *p);
// The interface to hand to kernels. parallel() splits [0, n) into one range a thread, begin = n * i / threads; the caller
// runs the first. Only one thread may call it at a time; calls from inside a body run in place.
const ts_kernel_rt *ts_pool_rt(ts_pool *p);
// Workers spin this long for the next call before they sleep (default 200 us); 0 sleeps at once.
void ts_pool_set_spin(ts_pool *p, uint64_t ns);

#endif
