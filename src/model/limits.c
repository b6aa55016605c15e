// Limits of native templates (op/native.h) against the weights of a model: which calls a template may not serve.
#include <math.h>

#include "kernels.h"
#include "runtime/runtime.h"

bool ts__is_weight_param(const ts__step_arg *w, const char *name) {
  size_t n = strlen(w->name);
  return !strncmp(name, w->name, n) && (!name[n] || name[n] == '_');
}

// How many parameters of the same weight stand before the one called `name`; -1: it is not there.
static int place_in(const ts_func *f, const ts__step_arg *w, const char *name) {
  int before = 0;
  for (int i = 0; f && i < f->nparams; i++) {
    const ts_param *p = &f->params[i];
    if (p->role != TS_IN || !ts__is_weight_param(w, p->buf->name)) continue;
    if (!strcmp(p->buf->name, name)) return before;
    before++;
  }
  return -1;
}

bool ts__limit_find(const ts_op_inst *inst, const ts__step *s, const ts_native_limit *x, const ts__step_arg **arg, int *storage) {
  const char *stored = ts_native_stored(inst, x->buffer);
  for (int i = 0; stored && i < s->nargs; i++) {
    *arg = &s->args[i];
    if ((*arg)->use != TS__WEIGHT) continue;
    *storage = place_in(inst->pack, *arg, stored);
    if (*storage < 0) *storage = place_in(inst->func, *arg, stored);
    if (*storage >= 0) return true;
  }
  return false;
}

// --- calls that a template may not serve ---------------------------------------------------------------------
static bool reads(const ts__step *s, const char *weight) {
  for (int i = 0; i < s->nargs; i++)
    if (s->args[i].use == TS__WEIGHT && !strcmp(s->args[i].weight, weight)) return true;
  return false;
}

bool ts__banned(const ts__bans *b, const ts__step *s, const ts_native *t) {
  for (size_t i = 0; i < b->n; i++)
    if (!strcmp(b->p[i].native->label, t->label) && !strcmp(b->p[i].text, s->text) && reads(s, b->p[i].weight)) return true;
  return false;
}

bool ts__banned_alike(const ts__bans *b, const ts__step *s, const ts__step *other) {
  for (size_t i = 0; i < b->n; i++)
    if (ts__banned(b, s, b->p[i].native) != ts__banned(b, other, b->p[i].native)) return false;
  return true;
}

static const char *template_name(ts_arena *a, const ts_native *t) { return ts_arena_printf(a, "%s.%s", *t->variant ? t->variant : "ref", t->name); }

const char *ts__banned_names(ts_arena *a, const ts__bans *b, const ts__step *s) {
  ts_text t = {0};
  for (size_t i = 0; i < b->n; i++) {
    const ts__ban *x = &b->p[i];
    bool again = strcmp(x->text, s->text) || !reads(s, x->weight);
    for (size_t k = 0; k < i && !again; k++) again = ts__banned(&(ts__bans){.n = 1, .p = &b->p[k]}, s, x->native);
    if (!again) ts_text_addf(&t, "%s%s", t.n ? " " : "", template_name(a, x->native));
  }
  const char *names = ts_arena_strdup(a, ts_text_str(&t));
  ts_text_free(&t);
  return names;
}

// --- looking at the weights ------------------------------------------------------------------------------------
typedef struct looker {
  ts_arena *a;
  const ts_model_config *c;
  const ts_quant *q;
  const ts__magnitudes *m;
  const ts_model_param *params;
  size_t nparams;
  ts__bans *bans;
} looker;

// The largest magnitude in a stored tensor of a parameter; infinite when it is not known.
static double most_of(const looker *l, const char *param, int storage, const char **tensor) {
  ts_stored st[2];
  *tensor = param;
  for (size_t i = 0; i < l->nparams; i++) {
    if (strcmp(l->params[i].name, param)) continue;
    if (storage >= ts_quant_storage(l->a, l->q, &l->params[i], st)) break;
    *tensor = st[storage].name;
    if (!l->m) return ts_weights_drawn_most(*tensor, st[storage].ndim, l->c->hidden);
    for (size_t k = 0; k < l->m->n; k++)
      if (!strcmp(l->m->p[k].tensor, *tensor)) return l->m->p[k].most;
  }
  return INFINITY;
}

static void look_at(looker *l, const ts__kernel_row *k, const ts__step *s) {
  for (int i = 0; k->native && i < k->native->nlimits; i++) {
    const ts_native_limit *x = &k->native->limits[i];
    const ts__step_arg *arg;
    int storage;
    if (!ts__limit_find(&k->inst, s, x, &arg, &storage)) continue;  // such a template is not chosen
    ts__ban b = {.text = s->text, .weight = arg->weight, .native = k->native, .limit = x};
    b.most = most_of(l, arg->weight, storage, &b.tensor);
    if (ts_native_limit_holds(x, b.most) || ts__banned(l->bans, s, k->native)) continue;
    ts_vec_push(l->a, l->bans, b);
  }
}

bool ts__limits_check(ts_arena *a, const ts_model_config *c, const ts_quant *q, const ts__magnitudes *m, const ts__step *const step[TS__PHASE__COUNT],
                      const size_t n[TS__PHASE__COUNT], const ts__kernels *k, ts__bans *bans, ts_diag *d) {
  looker l = {.a = a, .c = c, .q = q, .m = m, .bans = bans};
  TS_TRY(ts_model_params(a, c, &l.params, &l.nparams, d));
  for (int p = 0; p < TS__PHASE__COUNT; p++)
    for (size_t i = 0; i < n[p]; i++) {
      const ts__kernel_row *row = ts__kernels_find(k, &step[p][i]);
      if (row) look_at(&l, row, &step[p][i]);
    }
  return true;
}

void ts__limits_say(ts_arena *a, const ts__bans *b) {
  for (size_t i = 0; i < b->n; i++) {
    const ts__ban *x = &b->p[i];
    size_t first = 0, others = 0;
    while (strcmp(b->p[first].native->label, x->native->label)) first++;
    if (first < i) continue;
    for (size_t k = i + 1; k < b->n; k++) {
      bool known = strcmp(b->p[k].native->label, x->native->label) != 0;
      for (size_t j = i; j < k && !known; j++) known = !strcmp(b->p[j].native->label, x->native->label) && !strcmp(b->p[j].weight, b->p[k].weight);
      others += !known;
    }
    const char *more = others ? ts_arena_printf(a, " and %zu other weight%s", others, others > 1 ? "s are" : " is") : "";
    ts_say("note: %s is for %s; %s reaches %g%s%s: other kernels serve there", template_name(a, x->native), x->limit->text.p, x->tensor, x->most, more,
           others ? " outside too" : "");
  }
}
