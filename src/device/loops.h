// The loops that are timed. Inside src/device only.
#ifndef TS_DEVICE_LOOPS_H
#define TS_DEVICE_LOOPS_H

#include <stdbool.h>
#include <stdint.h>

// Read n bytes (a multiple of 512, 64-byte aligned); the result depends on all of them.
uint64_t ts__loop_read(const void *p, int64_t n);
// Copy n bytes past the caches.
void ts__loop_copy(void *to, const void *from, int64_t n);
// rounds times a fixed number of independent multiply-adds; *ops is what was done. 0: the machine has no such instruction.
uint64_t ts__loop_fma(int64_t rounds, double *ops);
uint64_t ts__loop_vnni(int64_t rounds, double *ops);

#endif
