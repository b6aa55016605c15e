// The layouts and numbers that src/cuda uses of NVIDIA's interfaces without their headers, against the headers of a toolkit. ORDER: activity.c
#include <cuda.h>
#include <cupti.h>
#include <stddef.h>

#define SAME(a, b) _Static_assert((a) == (b), #a)
SAME(offsetof(CUpti_ActivityKernel9, kind), 0);
SAME(offsetof(CUpti_ActivityKernel9, start), 16);
SAME(offsetof(CUpti_ActivityKernel9, end), 24);
SAME(offsetof(CUpti_ActivityKernel9, name), 104);
SAME(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, 10);
SAME(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED, 1);
#if CUPTI_API_VERSION >= 130000
SAME(offsetof(CUpti_ActivityKernel10, start), 16);
SAME(offsetof(CUpti_ActivityKernel10, end), 24);
SAME(offsetof(CUpti_ActivityKernel10, name), 104);
#endif

int main(void) { return 0; }
