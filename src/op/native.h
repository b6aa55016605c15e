// Native templates: kernels in CUDA C++ with tunable parameters, kernels/templates/<op>/<VARIANT>.<NAME>.cu ("ref": the reference's
// own storage). The first block comment says what can be tuned and how it is launched (docs/native-templates.md); the
// operator's reference judges the result like any schedule's.
//
//   file --parse--> ts_native --bind to a workload and target--> ts_native_fit --a point of its space--> unit
//
// A unit is the bytes of target/gpu.h whose image is CUDA C++ source: launches with everything known folded in, and one
// self-contained text. Compiling it (codegen/codegen.h) replaces the image.
#ifndef TS_OP_NATIVE_H
#define TS_OP_NATIVE_H

#include "base/base.h"
#include "ir/ir.h"
#include "op/op.h"
#include "target/gpu.h"
#include "target/target.h"

typedef struct ts_native_text {  // an expression or a list of words, and where it stands
  const char *p;                 // NULL: not given
  const char *file;              // the template's, or what it includes
  int line;
} ts_native_text;
typedef struct ts_native_param {  // param NAME values...
  const char *name, *file;
  int line, n;
  const int64_t *value;
} ts_native_param;
typedef struct ts_native_define {  // define NAME EXPR
  const char *name;
  ts_native_text expr;
} ts_native_define;
typedef struct ts_native_limit {  // limit max |BUFFER| < NUMBER, or >= NUMBER: asked of the largest magnitude in a weight that main reads
  ts_native_text text;
  const char *buffer;
  bool least;                     // >=
  double bound;
} ts_native_limit;
enum { TS_NATIVE_TMAPS = 8 };
typedef struct ts_native_launch {
  const char *entry;
  int line;
  ts_native_text grid[3], block[3], shared, cluster[3], dependent, args, tmap[TS_NATIVE_TMAPS];
  int ntmaps;
} ts_native_launch;
typedef struct ts_native {
  const char *file, *name, *variant, *doc;
  const char *label;  // "matmul/ref.gemv.cu": the same wherever it is installed
  const char *text;   // the whole file
  size_t n;
  ts_native_text requires, quant, op;  // words; quant, op: those it serves, not given: any
  ts_native_text guess;                // how much the author prefers it where nothing was measured
  int nparams, nwheres, ndefines, nstarts, nlimits, nlaunches;
  const ts_native_param *params;
  const ts_native_text *wheres, *starts, *start_ifs;  // start_ifs[i]: of starts[i], text NULL when it is for every workload
  const ts_native_define *defines;
  const ts_native_limit *limits;
  ts_native_text workspace, zeroed;
  const ts_native_launch *launches;
} ts_native;
// Read one file. The name gives variant and name; refusals name file and line.
const ts_native *ts_native_load(ts_arena *a, const char *path, ts_diag *d) TS_WARN_UNUSED;
// Every .cu file of a folder for the operator's variant ("" is the reference), sorted by name; none when the folder has none.
bool ts_native_list(ts_arena *a, const ts_op *op, const char *variant, const ts_native ***out, size_t *n, ts_diag *d) TS_WARN_UNUSED;

// A template at a workload: every name of its expressions but the symbolic dimensions has a value, or one per point.
typedef struct ts_native_fit {
  const ts_native *native;
  const ts_spec *spec;
  const ts_func *func;  // main of the variant
  const ts_target *target;
  int nfacts;           // name[0..nfacts): facts; then the parameters, then the derived values
  const char *const *name;
  const int64_t *value;  // of the facts
  int64_t guess;         // of the template's line; else 1 where it has start lines, 0 where not
} ts_native_fit;
// Refuses a workload or target that the template does not serve: "wrong-target", "wrong-quantization", "wrong-operator",
// "wrong-shape" (a constraint over a dimension that stays symbolic). "template-limit": a limit names what main does not read.
bool ts_native_bind(ts_arena *a, const ts_native *t, const ts_spec *spec, const ts_func *f, const ts_target *target, ts_native_fit *out,
                    ts_diag *d) TS_WARN_UNUSED;
// The legal points, in the order of the lists, nparams values each; those of the `start` lines come first. Refuses more than
// TS_NATIVE_POINTS of them, and a space in which too many values must be looked at to find them. *all: the size of the space without constraints.
enum { TS_NATIVE_POINTS = 1 << 16 };
bool ts_native_points(ts_arena *a, const ts_native_fit *f, const int64_t **points, size_t *n, double *all, ts_diag *d) TS_WARN_UNUSED;
// The first of them alone; NULL: there is none. Takes no time where a start line serves.
bool ts_native_first(ts_arena *a, const ts_native_fit *f, const int64_t **point, ts_diag *d) TS_WARN_UNUSED;
// What is taken of a variant without measuring, its first guess: of the templates that serve, the one whose guess is greatest, of equals the first
// in the order of ts_native_list. Whether f, the next that serves, takes the place of best (NULL: none came before).
bool ts_native_guessed(const ts_native_fit *best, const ts_native_fit *f);
// Values of an expression over the fit's names at a point.
bool ts_native_eval(const ts_native_fit *f, const int64_t *point, const char *expr, int64_t *out, ts_diag *d) TS_WARN_UNUSED;
// The launches of a point: a unit without its source.
bool ts_native_launches(ts_arena *a, const ts_native_fit *f, const int64_t *point, ts_gpu_code *out, ts_diag *d) TS_WARN_UNUSED;
// The unit of a point; refusal "constraint" names the line that forbids it.
bool ts_native_unit(ts_arena *a, const ts_native_fit *f, const int64_t *point, ts_text *out, ts_diag *d) TS_WARN_UNUSED;

// Limits (native_limit.c). A workload's random data keep to all that are shipped; weights of a model need not, and tuning does not see them.
// Whether one holds where this is the largest magnitude; infinite where something is no number.
bool ts_native_limit_holds(const ts_native_limit *x, double most);
// The parameter of the quantization's storage ("w_s") whose elements are those of a buffer of main: itself, or what pack rearranges. NULL: pack
// computes them, and storage says nothing about their size.
const char *ts_native_stored(const ts_op_inst *inst, const char *buffer);

// A point as text, `native "gemv" ROWS=32 STAGES=3`: what stores keep in the place of a trace.
void ts_native_print(ts_text *out, const ts_native *t, const int64_t *point);
bool ts_native_is(const char *trace);  // does a trace's text name a native template?
// Find the template that the text names among the operator's, bind it and read the point. Parameters that the text does not
// name take their first value; names and values that the template no longer has are refusals.
bool ts_native_replay(ts_arena *a, const char *text, const ts_spec *spec, const char *variant, const ts_func *f, const ts_target *target,
                      ts_native_fit *fit, const int64_t **point, ts_diag *d) TS_WARN_UNUSED;
// NAME=VALUE ... over the template's parameters.
bool ts_native_point(ts_arena *a, const ts_native *t, ts_lex *l, const int64_t **point, ts_diag *d) TS_WARN_UNUSED;

#endif
