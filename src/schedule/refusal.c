// Refusals: made without formatting; rendered on request.
#include "schedule_impl.h"

// --- making ------------------------------------------------------------------------------------------------------
bool ts__refuse(ts__ctx *c, ts_rcode code, int arg, const char *fact) {
  *c->r = (ts_refusal){.code = code, .prim = c->prim, .arg = arg, .step = c->step, .line = c->line, .fact = fact};
  return false;
}

static void fact_add(ts__ctx *c, ts_fact_arg v) {
  ts_refusal *r = c->r;
  for (size_t i = 0; i < TS_COUNTOF(r->a); i++) {
    if (r->a[i].used) continue;
    r->a[i] = v;
    return;
  }
}

void ts__fact_s(ts__ctx *c, const char *s) { fact_add(c, (ts_fact_arg){.used = true, .s = s}); }
void ts__fact_i(ts__ctx *c, int64_t i) { fact_add(c, (ts_fact_arg){.used = true, .i = i}); }

const char *ts__node_name(const ts_stmt *s) {
  if (s->kind == TS_S_FOR) return s->loop.var->name;
  if (s->kind == TS_S_BLOCK) return s->block->name;
  return "statement";
}

void ts__culprit(ts__ctx *c, int node) {
  ts_refusal *r = c->r;
  const ts_stmt *s = c->t->node[node].s;
  if (r->nculprits == (int)TS_COUNTOF(r->culprit) || s->id == 0) return;
  for (int i = 0; i < r->nculprits; i++)
    if (r->culprit[i].id == s->id) return;
  r->culprit[r->nculprits++] = (ts_culprit){.id = s->id, .name = ts__node_name(s), .loop = s->kind == TS_S_FOR};
}

void ts__fact_node(ts__ctx *c, int node) {
  ts__fact_s(c, ts__node_name(c->t->node[node].s));
  ts__culprit(c, node);
}

void ts__witness(ts__ctx *c, const char *name, int64_t value, int64_t other) {
  ts_refusal *r = c->r;
  if (r->nwitness == (int)TS_COUNTOF(r->witness)) return;
  r->witness[r->nwitness].name = name;
  r->witness[r->nwitness].value = value;
  r->witness[r->nwitness++].other = other;
}

void ts__hint(ts__ctx *c, const char *hint) { c->r->hint = hint; }

const char *ts__expr_text(ts__ctx *c, const ts_expr *e) {
  ts_text t = {0};
  ts_expr_print(&t, e);
  const char *s = ts_arena_strdup(c->a, ts_text_str(&t));
  ts_text_free(&t);
  return s;
}

// --- rendering ----------------------------------------------------------------------------------------------------
// "{0}" .. "{5}" stand for the arguments.
static void template_add(ts_text *out, const char *p, const ts_refusal *r) {
  for (; *p; p++) {
    bool slot = p[0] == '{' && p[1] >= '0' && p[1] < '0' + (int)TS_COUNTOF(r->a) && p[2] == '}';
    if (!slot) {
      ts_text_addn(out, p, 1);
      continue;
    }
    const ts_fact_arg *a = &r->a[p[1] - '0'];
    if (a->s) ts_text_add(out, a->s);
    else ts_text_addf(out, "%lld", (long long)a->i);
    p += 2;
  }
}

void ts_refusal_line(ts_text *out, const ts_refusal *r) {
  ts_text_addf(out, "%s: ", ts_prim_get(r->prim)->name);
  template_add(out, r->fact, r);
}

void ts__refusal_hint(ts_text *out, const ts_refusal *r) {
  if (r->hint) template_add(out, r->hint, r);
}

static void witness_add(ts_text *out, const ts_refusal *r) {
  if (!r->nwitness) return;
  ts_text_add(out, "  witness:");
  for (int i = 0; i < r->nwitness; i++)
    ts_text_addf(out, "%s %s = %lld and %lld", i ? "," : "", r->witness[i].name, (long long)r->witness[i].value,
                 (long long)r->witness[i].other);
  ts_text_add(out, "\n");
}

void ts_refusal_render(ts_text *out, const ts_refusal *r, const ts_func *f, const char *file, const char *step_text) {
  ts_text_add(out, "error: ");
  ts_refusal_line(out, r);
  ts_text_addf(out, " [%s]\n", ts_rcode_name(r->code));
  if (r->line) ts_text_addf(out, "  at %s:%d", file ? file : "trace", r->line);
  else ts_text_addf(out, "  at step %d", r->step + 1);
  if (step_text) ts_text_addf(out, ": %s", step_text);
  ts_text_add(out, "\n");
  if (r->nculprits && f) {
    ts_mark mark[TS_COUNTOF(r->culprit)];
    char note[TS_COUNTOF(r->culprit)][80];
    for (int i = 0; i < r->nculprits; i++) {
      snprintf(note[i], sizeof note[i], "%s %s", r->culprit[i].loop ? "loop" : "block", r->culprit[i].name);
      mark[i] = (ts_mark){.id = r->culprit[i].id, .note = note[i]};
    }
    ts_func_print_marked(out, f, mark, r->nculprits);
  }
  witness_add(out, r);
  if (!r->hint) return;
  ts_text_add(out, "  hint: ");
  template_add(out, r->hint, r);
  ts_text_add(out, "\n");
}
