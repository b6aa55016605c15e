// codegen, inside: what lowering, emission and artifacts share.
#ifndef TS_CODEGEN_IMPL_H
#define TS_CODEGEN_IMPL_H

#include "codegen/codegen.h"
#include "target/gpu.h"

// ts_lower without what can be told before: the judge of a GPU's limits (lower.c).
bool ts__lower_judged(ts_ir *ir, const ts_func *blocks, const ts_target *t, const ts_func **loops, ts_diag *d) TS_WARN_UNUSED;

// May an intrinsic that wants an operand in this scope have it in b's? "global" takes anything but fragments, "shared" any shared memory,
// "shared.swizzle0" such that is not swizzled (lower_intrin.c).
bool ts__scope_fits(const char *want, const ts_buffer *b);

// --- where buffers live (storage.c) -----------------------------------------------------------------------
// ORDER storage: lowering asks it what needs a place per parallel iteration, emission places by it.
enum { TS__STACK_BYTES = 128 << 10 };  // a larger or symbolic buffer goes to the workspace
bool ts__on_stack(const ts_buffer *b, int64_t *elements);

// A symbol from a name and the id (object.c).
void ts__object_name(ts_object *o, const char *name);

// Registers that each thread of a kernel starts with where some are to be moved between warpgroups (lower_gpu_roles.c), of what its annotations
// minblocks and maxnreg (0: none) leave; 0 when each has as many as an instruction can name, so that there is nothing to move.
int64_t ts__start_registers(const ts_target *t, int64_t threads, int64_t minblocks, int64_t maxnreg);

// What the assembler of GPUs said, verbosely (assembler.c): registers and spills of the heaviest entry, -1 where it did not say, go to c;
// its warnings are added to *warnings as one line, at most a few hundred characters.
void ts__assembler_read(const char *log, ts_gpu_code *c, ts_text *warnings);

// --- shared objects without a linker (elf_read.c, elf_write.c) -------------------------------------------------
typedef struct ts__elf_piece {
  const void *p;
  uint64_t n, align;
  bool code;
} ts__elf_piece;
typedef struct ts__elf_symbol {
  const char *name;
  size_t piece;
  uint64_t at, n;
} ts__elf_symbol;
// 32 bits in a piece become the distance from there to a place in another.
typedef struct ts__elf_distance {
  size_t piece, to;
  uint64_t at;
  int64_t to_at;
} ts__elf_distance;
typedef struct ts__elf {
  TS_VEC(ts__elf_piece) pieces;
  TS_VEC(ts__elf_symbol) symbols;  // at least one, names different
  TS_VEC(ts__elf_distance) distances;
} ts__elf;
// Adds an x86-64 object. False when it has what only a linker can do; then *out is of no use.
bool ts__elf_read(ts_arena *a, const void *bytes, size_t n, ts__elf *out);
bool ts__elf_write(const char *path, const ts__elf *e, ts_diag *d) TS_WARN_UNUSED;

// --- the artifact cache (cache.c): DIR/ID.o, checked by a digest of its content --------------------------------
// o->id names the artifact. get: false on a miss (a damaged file is one). put: best effort; a cache that cannot be
// written costs time, not results.
bool ts__cache_open(const char *dir, ts_diag *d);
bool ts__cache_get(const char *dir, ts_object *o, ts_arena *a);
bool ts__cache_put(const char *dir, const ts_object *o);

#endif
