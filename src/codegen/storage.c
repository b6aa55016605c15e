// Which buffers live on the stack.
#include "codegen/codegen_impl.h"

bool ts__on_stack(const ts_buffer *b, int64_t *elements) {
  int64_t n = 1, extent;
  for (int i = 0; i < b->ndim; i++) {
    if (!ts_is_int(b->shape[i], &extent) || extent < 0 || extent > TS__STACK_BYTES) return false;
    n *= TS_MAX(extent, 1);
    if (n > TS__STACK_BYTES) return false;
  }
  if (elements) *elements = n;
  return n * ts_code_bytes(b->code) <= TS__STACK_BYTES;
}
