// Random legal schedules for GPUs: what the lowered kernels compute, their threads in lockstep, must be what the function as written
// computes, without races. Lowering may refuse. Arguments: FIRST_SEED COUNT; TS_SHOW=1 prints the trace and the lowered function of
// each, and why lowering refused.
#include "differ.h"
#include "pick.h"
#include "random_case.h"

// One random primitive; most are refused.
static void random_step(ts_sched *s, ts_rng *r) {
  static const char *const scopes[] = {"shared", "shared", "local", "global"};
  ts_rv block = pick_block(s, r), other = pick_block(s, r), all[16], far[16], out[16];
  int n, m, got;
  if (block < 0 || other < 0 || !(n = loops_of(s, block, all)) || !(m = loops_of(s, other, far))) return;
  ts_rv loop = all[ts_rng_below(r, (uint32_t)n)], at = far[ts_rng_below(r, (uint32_t)m)];
  int factor = (int[]){2, 3, 4, 5, 8, 16}[ts_rng_below(r, 6)];
  const char *scope = scopes[ts_rng_below(r, 4)];
  switch (ts_rng_below(r, 14)) {
    case 0:
    case 1:
      CALL(split, TS_ARV(loop), TS_ALIST(TS_AOPEN, TS_AINT(factor)));
      break;
    case 2:
      if (n > 1) {
        int i = (int)ts_rng_below(r, (uint32_t)n - 1);
        CALL(fuse, TS_ALIST(TS_ARV(all[i]), TS_ARV(all[i + 1])));
      }
      break;
    case 3:
    case 4:
      if (n > 1) CALL(reorder, TS_ALIST(TS_ARV(all[n - 1]), TS_ARV(all[ts_rng_below(r, (uint32_t)n - 1)])));
      break;
    case 5:
      CALL(vectorize, TS_ARV(all[n - 1]));
      break;
    case 6:
      CALL(compute_at, TS_ARV(block), TS_ARV(at));
      break;
    case 7:
      CALL(reverse_compute_at, TS_ARV(block), TS_ARV(at));
      break;
    case 8:
      CALL(decompose_reduction, TS_ARV(block), TS_ARV(loop));
      break;
    case 9:
      CALL(cache_write, TS_ARV(block), TS_AINT(0), TS_ASTR(scope));
      break;
    case 10:
    case 11:
      CALL(cache_read, TS_ARV(block), TS_AINT((int)ts_rng_below(r, 2)), TS_ASTR(scope));
      CALL(compute_at, TS_ARV(out[0]), TS_ARV(loop));
      break;
    case 12:
      CALL(rfactor, TS_ARV(loop));
      break;
    default:
      CALL(set_scope, TS_ARV(block), TS_AINT(0), TS_ASTR(scope));
      break;
  }
}

// Loops of all blocks along axes; pipelines where the body has two statements.
static void bind_all(ts_sched *s, ts_rng *r) {
  static const char *const axes[] = {"blockIdx.x", "blockIdx.y", "threadIdx.x", "threadIdx.x", "threadIdx.y", "vthread"};
  names x = blocks_of(s);
  ts_rv all[16], out[16];
  int got;
  for (int b = 0; b < x.n; b++) {
    ts_rv block = block_of(s, x.name[b]);
    int n = block < 0 ? 0 : loops_of(s, block, all);
    if (ts_rng_below(r, 3) == 0) CALL(annotate, TS_ARV(block), TS_ASTR("async_copy"), TS_AINT(1));
    for (int i = 0; i < n; i++) {
      if (i == 0 && ts_rng_below(r, 4)) CALL(bind, TS_ARV(all[i]), TS_AWORD(axes[ts_rng_below(r, 2)]));
      if (ts_rng_below(r, 3)) CALL(bind, TS_ARV(all[i]), TS_AWORD(axes[ts_rng_below(r, 6)]));
      if (ts_rng_below(r, 2) == 0)
        CALL(pipeline, TS_ARV(all[i]), TS_ALIST(TS_AINT(0), TS_AINT(1 + (int)ts_rng_below(r, 3))));
    }
  }
}

static void run_dims(testcase *c, const ts_func *loops, char *rest) {
  int64_t v[MOST] = {0};
  ts_diag d = {0};
  data want;
  for (int i = 0; i < c->f->ndims; i++) v[i] = strtoll(rest, &rest, 10);
  if (!make(c, c->f, v, &want)) return;
  if (ts_interp_run(c->f, v, want.list, NULL, &d)) run_lowered(c, loops, v, &want);
  else complain(c, "%s", d.message);
  drop(c->f, &want);
}

typedef struct tally {
  int failures, lowered, refused;
} tally;

static void run_seed(uint64_t seed, tally *t) {
  testcase c = random_case(seed);
  ts_diag d = {0};
  ts_target target;
  ts_rng r = ts_rng_new(seed, 11);
  const ts_func *loops = NULL;
  if (!c.f || !ts_target_parse("cuda:sm_90a", &target, &d)) {
    t->failures++;
    ts_arena_free(c.a);
    return;
  }
  ts_sched *s = ts_sched_new(c.ir, c.f, seed);
  int steps = (int)ts_rng_below(&r, 14);
  for (int i = 0; i < steps; i++) random_step(s, &r);
  bind_all(s, &r);
  c.made = ts_sched_func(s);
  if (getenv("TS_SHOW")) show(s, NULL);
  if (!ts_lower(c.ir, c.made, &target, &loops, &d)) {
    t->refused++;
    if (d.kind != TS_REFUSAL) complain(&c, "lower: %s [%s]", d.message, d.code);
    if (getenv("TS_SHOW")) printf("%s: %s [%s]\n", c.name, d.message, d.code);
  } else {
    t->lowered++;
    if (!ts_func_verify(loops, &d)) complain(&c, "not valid: %s", d.message);
    else check_text_form(&c, loops);
    if (c.f->ndims == 0) run_dims(&c, loops, (char[]){""});
    for (const char *p = c.text; *p == '#'; p = strchr(p, '\n') + 1) {
      char dims[32];
      if (sscanf(p, "# run %31[^\n]", dims) == 1) run_dims(&c, loops, dims);
    }
  }
  if (c.failures || getenv("TS_SHOW")) show(s, loops);
  fflush(stdout);
  t->failures += c.failures;
  ts_arena_free(c.a);
}

int main(int argc, char **argv) {
  uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, count = argc > 2 ? strtoull(argv[2], NULL, 10) : 240;
  tally t = {0};
  for (uint64_t i = 0; i < count; i++) run_seed(first + i, &t);
  printf("%llu schedules, %d lowered, %d refused, %d failures\n", (unsigned long long)count, t.lowered, t.refused, t.failures);
  return t.failures || t.lowered < t.refused;
}
