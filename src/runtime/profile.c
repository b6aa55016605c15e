// Profiles: times of steps, added up by phase and workload.
#include "runtime/runtime_impl.h"

static const char *phase_name(ts_phase_kind k) {
  return k == TS_PHASE_DECODE ? "decode" : k == TS_PHASE_PREFILL ? "prefill" : "head";
}

size_t ts__profile_rows(const ts_plan *p, ts__step_time (*get)(const void *arg, int phase, int step), const void *arg, ts_arena *a,
                        ts_profile_row **rows) {
  TS_VEC(ts_profile_row) v = {0};
  for (int i = 0; i < p->nphases; i++) {
    size_t begin = v.n;
    for (int k = 0; k < p->phases[i].nsteps; k++) {
      const ts_plan_step *s = &p->phases[i].steps[k];
      ts__step_time t = get(arg, i, k);
      size_t r = begin;
      while (r < v.n && strcmp(v.p[r].spec, s->spec) != 0) r++;
      if (r == v.n)
        ts_vec_push(a, &v, ((ts_profile_row){.op = s->op, .spec = s->spec, .phase = phase_name(p->phases[i].kind),
                                             .source = ts_plan_source_name(s->source), .expected_us = s->expected_us}));
      v.p[r].calls += t.calls;
      v.p[r].ns += t.ns;
    }
  }
  *rows = v.p;
  return v.n;
}
