// Random legal schedules of small functions: what the compiled and the lowered candidate compute must be what the
// function as written computes. Arguments: FIRST_SEED COUNT; TS_SHOW=1 prints the trace and the lowered function of
// each.
#include "differ.h"
#include "pick.h"
#include "random_case.h"

// One random primitive; most are refused.
static void random_step(ts_sched *s, ts_rng *r) {
  ts_rv block = pick_block(s, r), other = pick_block(s, r), all[16], of_other[16], out[16];
  int n, m, got;
  if (block < 0 || other < 0 || !(n = loops_of(s, block, all)) || !(m = loops_of(s, other, of_other))) return;
  ts_rv loop = all[ts_rng_below(r, (uint32_t)n)], far = of_other[ts_rng_below(r, (uint32_t)m)];
  int factor = (int[]){2, 3, 4, 5, 8, 16}[ts_rng_below(r, 6)];
  switch (ts_rng_below(r, 18)) {
    case 0:
    case 1:
      CALL(split, TS_ARV(loop), TS_ALIST(TS_AOPEN, TS_AINT(factor)));
      break;
    case 2:
      CALL(split, TS_ARV(loop), TS_ALIST(TS_AOPEN, TS_AINT(factor), TS_AINT(2)));
      break;
    case 3:
      if (n > 1) {
        int i = (int)ts_rng_below(r, (uint32_t)n - 1);
        CALL(fuse, TS_ALIST(TS_ARV(all[i]), TS_ARV(all[i + 1])));
      }
      break;
    case 4:
    case 5:
      if (n > 1) CALL(reorder, TS_ALIST(TS_ARV(all[n - 1]), TS_ARV(all[ts_rng_below(r, (uint32_t)n - 1)])));
      break;
    case 6:
      CALL(parallel, TS_ARV(all[0]));
      break;
    case 7:
      CALL(vectorize, TS_ARV(all[n - 1]));
      break;
    case 8:
      CALL(unroll, TS_ARV(loop));
      break;
    case 9:
    case 10:
      CALL(compute_at, TS_ARV(block), TS_ARV(far));
      break;
    case 11:
      CALL(reverse_compute_at, TS_ARV(block), TS_ARV(far));
      break;
    case 12:
      CALL(decompose_reduction, TS_ARV(block), TS_ARV(loop));
      break;
    case 13:
      CALL(cache_write, TS_ARV(block), TS_AINT(0), TS_ASTR("local"));
      break;
    case 14:
      CALL(cache_read, TS_ARV(block), TS_AINT((int)ts_rng_below(r, 2)), TS_ASTR("local"));
      break;
    case 15:
      CALL(rfactor, TS_ARV(loop));
      break;
    case 16:
      CALL(pipeline, TS_ARV(loop), TS_ALIST(TS_AINT(0), TS_AINT(1 + (int)ts_rng_below(r, 3))));
      break;
    default:
      if (ts_rng_below(r, 2))
        CALL(compute_inline, TS_ARV(block));
      else
        CALL(blockize, TS_ARV(loop));
      break;
  }
}

// Is the scheduled function itself sound? What is wrong here is not the code generator's doing.
static bool schedule_holds(testcase *c, char *dims) {
  ts_diag d = {0};
  data want, got;
  int64_t v[MOST] = {0};
  for (int i = 0; i < c->f->ndims; i++) v[i] = strtoll(dims, &dims, 10);
  int before = c->failures;
  if (!ts_func_verify(c->made, &d)) return complain(c, "schedule: %s", d.message), false;
  if (!make(c, c->f, v, &want) || !make(c, c->f, v, &got)) return false;
  if (!ts_interp_run(c->f, v, want.list, NULL, &d) || !ts_interp_run(c->made, v, got.list, NULL, &d)) {
    complain(c, "schedule: %s [%s]", d.message, d.code);
  } else {
    compare(c, c->f, &want, &got, "schedule");
  }
  drop(c->f, &want);
  drop(c->f, &got);
  return c->failures == before;
}

static void run_both(testcase *c, const char *dims) {
  char text[32];
  snprintf(text, sizeof text, "%s", dims);
  if (schedule_holds(c, text)) snprintf(text, sizeof text, "%s", dims), run(c, text);
}

static int run_seed(uint64_t seed) {
  testcase c = random_case(seed);
  ts_rng r = ts_rng_new(seed, 9);
  if (!c.f) return 1;
  ts_sched *s = ts_sched_new(c.ir, c.f, seed);
  int steps = 3 + (int)ts_rng_below(&r, 30);
  for (int i = 0; i < steps; i++) random_step(s, &r);
  c.made = ts_sched_func(s);
  if (getenv("TS_SHOW")) show(s, lowered(&c, "cpu"));
  if (c.f->ndims == 0) run_both(&c, "");
  for (const char *p = c.text; *p == '#'; p = strchr(p, '\n') + 1) {
    char dims[32];
    if (sscanf(p, "# run %31[^\n]", dims) == 1) run_both(&c, dims);
  }
  if (c.failures && !getenv("TS_SHOW")) show(s, lowered(&c, "cpu"));
  int failures = c.failures;
  ts_arena_free(c.a);
  return failures;
}

int main(int argc, char **argv) {
  uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, count = argc > 2 ? strtoull(argv[2], NULL, 10) : 60;
  int failures = 0;
  for (uint64_t i = 0; i < count; i++) failures += run_seed(first + i);
  printf("%llu schedules, %d failures\n", (unsigned long long)count, failures);
  return failures != 0;
}
