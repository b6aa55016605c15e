// op: operators as text files with named parameters, their variants, and quantization formats.
//
// kernels/ops/NAME.tir holds an operator: a header and the reference function `main`. Its default schedule is the
// reference as written. kernels/ops/NAME.VARIANT.tir holds another formulation of the same operator (other numerics, packed
// weights) that the same reference judges. kernels/quant/NAME.tir holds a quantization format.
#ifndef TS_OP_H
#define TS_OP_H

#include "base/base.h"
#include "ir/ir.h"
#include "target/target.h"

typedef struct ts_op_param {
  const char *name;
  int kind;              // TS_BIND_INT, TS_BIND_FLOAT (an epsilon), TS_BIND_TYPE (activations: f32 or f16)
  const char *same;      // of a type: the earlier parameter that it equals when not given ("type A R = A"), or NULL
} ts_op_param;
typedef struct ts_op_variant {
  const char *name;      // "" is the reference
  const char *file;
  const char *doc;
  int nquants;
  const char *const *quants;    // formats it takes; none: any
  const char *const *features;  // target features it needs, NULL-terminated
  const char *numerics;         // "" when within the operator's tolerance class; else the opt-in name ("a8")
} ts_op_variant;
typedef struct ts_op {
  const char *name, *doc;
  int nparams;
  const ts_op_param *params;
  double tolerance;      // relative to the largest magnitude of the output
  int nfits;             // expressions over integers and dimensions that hold wherever it is used
  const char *const *fits;
  const char *templates; // folder of starting traces in kernels/templates: its own name, or an operator with the same blocks
  int nvariants;
  const ts_op_variant *variants;
} ts_op;
// A workload: an operator with its parameters bound. Symbolic dimensions stay symbolic unless bound ("n" = 1).
typedef struct ts_spec {
  const char *op;
  const char *quant;     // "" when the operator has no weight
  int nbind;
  const ts_bind *bind;   // N=4096 K=4096 A=f32 n=1
} ts_spec;
// What a weight parameter of a variant looks like in memory, and how to get there from the quantization's own storage.
typedef struct ts_op_inst {
  const ts_func *func;   // main
  const ts_func *pack;   // NULL when the storage is the quantization's; else inputs: storage, outputs: packed buffers
  double tolerance;
} ts_op_inst;

bool ts_op_list(ts_arena *a, const ts_op **ops, size_t *n, ts_diag *d) TS_WARN_UNUSED;
const ts_op *ts_op_find(ts_arena *a, const char *name, ts_diag *d) TS_WARN_UNUSED;
// "" or the opt-in name of some variant; refuses others ("unknown-numerics").
bool ts_op_numerics(const char *name, ts_diag *d) TS_WARN_UNUSED;
bool ts_op_instantiate(ts_ir *ir, const ts_spec *spec, const char *variant, ts_op_inst *out, ts_diag *d) TS_WARN_UNUSED;
// Spec text "dequant_matmul q4f16_1 N=4096 K=4096 A=f32 n=1": canonical (parameters sorted), identity of workloads.
void ts_spec_print(ts_text *out, const ts_spec *s);
bool ts_spec_parse(ts_arena *a, const char *text, ts_spec *s, ts_diag *d) TS_WARN_UNUSED;
// What a parameter is bound to in s, by default where s does not say; NULL when it is not bound.
const ts_bind *ts_spec_find(const ts_op *op, const ts_spec *s, const char *name);
// Leave out parameters that equal their defaults, so that one workload has one text. s without its operator's file is left alone.
void ts_spec_canonical(ts_arena *a, ts_spec *s);

// Counted from the IR, for given dims: arithmetic operations, bytes touched once (compulsory traffic), and those of them that are read of cold parameters
// whatever the data say (a gather may ask for one row again and again).
typedef struct ts_cost {
  double flops, bytes, cold_bytes;
} ts_cost;
bool ts_op_cost(const ts_func *f, const int64_t *dims, ts_cost *out, ts_diag *d) TS_WARN_UNUSED;

#endif
