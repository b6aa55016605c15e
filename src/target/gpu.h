// gpu: what a compiled GPU kernel is, as bytes that the measuring worker and the runtime of shipped models load.
// Nothing here needs a compiler, a driver or a GPU.
//
// The bytes of a GPU artifact (ts_object.bytes) are a text header, one fact a line, and the image:
//   tunesmith-gpu 1
//   arch sm_90a
//   params 4                              buffers of the function, in its order
//   dims n t                              symbolic dimensions in its order ("dims" alone: none)
//   registers 64 spills 0                 of the heaviest entry as the assembler said; -1 when not known
//   warnings TEXT                         what it warned of, one line; left out where there is nothing
//   workspace EXPR                        bytes wanted behind the last buffer
//   zeroed EXPR                           leading bytes of it that are zero before the first launch; every launch leaves them zero
//   launch ENTRY                          launches in order, each with the lines below it
//   grid EXPR ; EXPR ; EXPR
//   block X Y Z
//   shared EXPR                           dynamic shared memory, bytes
//   cluster X Y Z                         1 1 1: none
//   dependent 0|1|2                       may start before its predecessor has ended (programmatic dependent launch); 2: all of a multiprocessor's memory is shared memory
//   args ARG ...                          b0, b1, ... buffers; w workspace; d dims; tK tensor map K
//   tmap K b0 f16 swizzle 128 dims EXPR ; EXPR strides EXPR box EXPR ; EXPR     dims innermost first, strides in bytes
//   image cubin BYTES                     or ptx, or cuda (source, of a native template before it is compiled); then a newline and the bytes
//   image library BYTES                   no code: text that says what a vendor's library does instead of launches (cuda/blas.c); there are none
// Expressions are integers over the names in dims: + - * / (rounds down) % parentheses, comparisons (0 or 1), && || !, c ? a : b,
// min(a, b), max(a, b), ceildiv(a, b), pow2ceil(a).
//
// An entry receives one 64-bit pointer per b and w, a `const int64_t *` in device memory for d (the values of the dims, in order), a
// 128-byte CUtensorMap by value (__grid_constant__) per t. Grid, shared and workspace expressions are evaluated on the host: with
// the values themselves, or with upper bounds when the values live on the device only (a recorded decode step whose t grows);
// a kernel reads the true values from d and does nothing outside of them.
#ifndef TS_TARGET_GPU_H
#define TS_TARGET_GPU_H

#include "base/base.h"

#define TS_GPU_FORMAT 1
#define TS_GPU_TMAP_DIMS 5
typedef enum ts_gpu_arg_kind { TS_GPU_BUFFER, TS_GPU_WORKSPACE, TS_GPU_DIMS, TS_GPU_TMAP } ts_gpu_arg_kind;
typedef struct ts_gpu_arg {
  ts_gpu_arg_kind kind;
  int index;  // of the buffer, or of the tensor map
} ts_gpu_arg;
typedef struct ts_gpu_tmap {
  int buffer;
  char type[8];  // "f16", "bf16", "f32", "u8", "i32"
  int swizzle;   // bytes: 0, 32, 64, 128
  int ndim;
  const char *dim[TS_GPU_TMAP_DIMS], *stride[TS_GPU_TMAP_DIMS], *box[TS_GPU_TMAP_DIMS];  // ndim - 1 strides
} ts_gpu_tmap;
typedef struct ts_gpu_launch {
  const char *entry;
  const char *grid[3];
  int block[3];
  const char *shared;
  int cluster[3];
  int dependent;
  int nargs;
  const ts_gpu_arg *args;
  int ntmaps;
  const ts_gpu_tmap *tmaps;
} ts_gpu_launch;
typedef enum ts_gpu_image { TS_GPU_CUBIN, TS_GPU_PTX, TS_GPU_SOURCE, TS_GPU_LIBRARY } ts_gpu_image;  // SOURCE "cuda": nothing loads it
typedef struct ts_gpu_code {
  const char *arch;
  int nparams;
  int ndims;
  const char *const *dims;
  int registers, spills;
  const char *warnings;  // printable, without line ends; "" or NULL: none
  const char *workspace, *zeroed;
  int nlaunches;
  const ts_gpu_launch *launches;
  ts_gpu_image kind;
  const void *image;
  size_t image_n;
} ts_gpu_code;

// Write the bytes; read(write(c)) equals c.
void ts_gpu_code_write(ts_text *out, const ts_gpu_code *c);
// Checks everything: the bytes are hostile. Strings and arrays go to a; image points into bytes.
bool ts_gpu_code_read(ts_arena *a, const void *bytes, size_t n, ts_gpu_code *out, ts_diag *d) TS_WARN_UNUSED;

// Value of an expression; names[i] has value[i]. Refuses unknown names, overflow, division by zero, syntax.
bool ts_gpu_eval(const char *expr, const char *const *names, const int64_t *value, int n, int64_t *out, ts_diag *d) TS_WARN_UNUSED;
// Syntax and names only.
bool ts_gpu_expr_check(const char *expr, const char *const *names, int n, ts_diag *d) TS_WARN_UNUSED;

// --- the driver (gpu_host.c) ------------------------------------------------------------------------------------------
// libcuda.so.1, or the file named by TUNESMITH_CUDA_DRIVER, opened and not yet started: a dlopen handle, kept for the whole process.
// NULL with ENVIRONMENT "no-cuda-driver". Fault point: dlopen.
void *ts_gpu_driver_open(ts_diag *d) TS_WARN_UNUSED;

#endif
