// Which sizes a function holds for.
#include "ir_impl.h"

void ts_dim_print(ts_text *out, const ts_dim *x) {
  if (x->lo == x->hi)
    ts_text_addf(out, "%s == %lld", x->var->name, (long long)x->lo);
  else
    ts_text_addf(out, "%lld <= %s <= %lld", (long long)x->lo, x->var->name, (long long)x->hi);
  if (x->multiple > 1 && x->lo != x->hi) ts_text_addf(out, ", %s %% %lld == 0", x->var->name, (long long)x->multiple);
}

static const ts_dim *dim_named(const ts_func *f, const char *name) {
  for (int i = 0; i < f->ndims; i++)
    if (!strcmp(f->dims[i].var->name, name)) return &f->dims[i];
  return NULL;
}

// Every value of `all` is one of x.
static bool admits(const ts_dim *x, const ts_dim *all) {
  int64_t first = (all->lo + all->multiple - 1) / all->multiple * all->multiple,
          last = all->hi / all->multiple * all->multiple;
  if (first > last) return true;
  if (first < x->lo || last > x->hi) return false;
  return all->multiple % x->multiple == 0 || (first == last && first % x->multiple == 0);
}

bool ts_func_serves(const ts_func *f, const ts_func *wanted, ts_diag *d) {
  for (int i = 0; i < f->ndims; i++) {
    const ts_dim *x = &f->dims[i], *all = dim_named(wanted, x->var->name);
    if (!all || admits(x, all)) continue;
    ts_text mine = {0}, theirs = {0};
    ts_dim_print(&mine, x);
    ts_dim_print(&theirs, all);
    ts_refuse(d, "narrower-facts", "%s holds only for %s, but is wanted for %s", f->name, ts_text_str(&mine),
              ts_text_str(&theirs));
    ts_hint(d, "leave out the `declare` that does not hold for all sizes, or state the facts with the workload");
    ts_text_free(&mine);
    ts_text_free(&theirs);
    return false;
  }
  return true;
}
