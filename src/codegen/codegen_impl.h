// codegen, inside: what lowering, emission and artifacts share.
#ifndef TS_CODEGEN_IMPL_H
#define TS_CODEGEN_IMPL_H

#include "codegen/codegen.h"

// --- where buffers live (storage.c) -----------------------------------------------------------------------
// ORDER storage: lowering asks it what needs a place per parallel iteration, emission places by it.
enum { TS__STACK_BYTES = 128 << 10 };  // a larger or symbolic buffer goes to the workspace
bool ts__on_stack(const ts_buffer *b, int64_t *elements);

#endif
