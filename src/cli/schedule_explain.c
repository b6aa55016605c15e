// tunesmith schedule --explain: what the engine knows about a block, as text or JSON.
#include <jansson.h>

#include "cli/schedule.h"

// --- text -----------------------------------------------------------------------------------------------------------
static const char *tri_word(ts_tri t) { return t == TS_YES ? "yes" : t == TS_NO ? "no" : "unknown"; }

static void iters_show(const ts_explain *e) {
  printf("  iterators (each instance once at most: %s; every instance: %s)\n", tri_word(e->injective),
         tri_word(e->surjective));
  for (int i = 0; i < e->niters; i++) {
    const ts_explain_iter *it = &e->iter[i];
    printf("    %-8s %-8s %-12s = %s", it->name, it->kind, it->domain, it->value);
    if (it->map && strcmp(it->map, it->value) != 0) printf("   as %s", it->map);
    putchar('\n');
  }
  if (e->affine) printf("    no affine map: %s\n", e->affine);
  if (e->predicate) printf("    where %s\n", e->predicate);
}

static void region_show(const ts_explain_region *r) {
  printf("    %-6s %s[", r->write ? "write" : "read", r->buffer);
  for (int d = 0; d < r->ndim; d++) printf("%s%s", d ? ", " : "", r->one[d]);
  printf("]   in all [");
  for (int d = 0; d < r->ndim; d++) printf("%s%s", d ? ", " : "", r->all[d]);
  printf("]%s%s\n", strcmp(r->scope, "global") ? " " : "", strcmp(r->scope, "global") ? r->scope : "");
}

static void dep_show(const ts_explain_dep *x) {
  const char *who = x->producer ? "producer" : x->consumer ? "consumer" : x->before ? "earlier" : "later";
  printf("    %-9s %s through %s: %s", who, x->block, x->buffer, x->kind);
  if (*x->distance) printf(", iterations apart: %s", x->distance);
  putchar('\n');
}

static void loop_show(const ts_explain_loop *l) {
  const char *feeds = l->spatial && l->reduce ? "spatial and reduce"
                      : l->spatial            ? "spatial"
                      : l->reduce             ? "reduce"
                                              : "neither";
  printf("    %-8s %-10s %-10s feeds %-18s ", l->name, l->range, l->kind, feeds);
  if (l->obstacle)
    printf("not parallel: %s [%s]\n", l->obstacle, l->code);
  else
    puts("iterations are independent");
  if (l->has_witness)
    printf("    %-8s witness: %s = %lld and %lld\n", "", l->name, (long long)l->first, (long long)l->second);
}

static void text_show(const ts_explain *e) {
  printf("block %s%s%s\n", e->block, e->intrin ? ", tensorized as " : "", e->intrin ? e->intrin : "");
  iters_show(e);
  printf("  reduction: %s\n", !e->reduces ? "no" : e->reducer ? e->reducer : "of no known kind: it keeps its order");
  puts("  accesses");
  for (int i = 0; i < e->nregions; i++) region_show(&e->region[i]);
  puts("  dependences");
  for (int i = 0; i < e->ndeps; i++) dep_show(&e->dep[i]);
  if (!e->ndeps) puts("    none with other blocks of its scope");
  puts("  loops");
  for (int i = 0; i < e->nloops; i++) loop_show(&e->loop[i]);
  if (!e->nloops) puts("    none");
}

// --- JSON ------------------------------------------------------------------------------------------------------------
static json_t *text_or_null(const char *s) { return s ? json_string(s) : json_null(); }

static json_t *list_of(const char *const *s, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_string(s[i]));
  return a;
}

static json_t *iters_json(const ts_explain *e) {
  json_t *a = json_array();
  for (int i = 0; i < e->niters; i++) {
    const ts_explain_iter *it = &e->iter[i];
    json_array_append_new(a, json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", it->name, "kind", it->kind, "domain",
                                       it->domain, "binding", it->value, "map", text_or_null(it->map)));
  }
  return a;
}

static json_t *regions_json(const ts_explain *e) {
  json_t *a = json_array();
  for (int i = 0; i < e->nregions; i++) {
    const ts_explain_region *r = &e->region[i];
    json_array_append_new(
        a, json_pack("{s:s, s:s, s:b, s:o, s:o}", "buffer", r->buffer, "scope", r->scope, "write", r->write, "instance",
                     list_of(r->one, r->ndim), "all", list_of(r->all, r->ndim)));
  }
  return a;
}

static json_t *deps_json(const ts_explain *e) {
  json_t *a = json_array();
  for (int i = 0; i < e->ndeps; i++) {
    const ts_explain_dep *x = &e->dep[i];
    json_array_append_new(
        a, json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:s}", "block", x->block, "buffer", x->buffer, "kind", x->kind,
                     "before", x->before, "producer", x->producer, "consumer", x->consumer, "distance", x->distance));
  }
  return a;
}

static json_t *loops_json(const ts_explain *e) {
  json_t *a = json_array();
  for (int i = 0; i < e->nloops; i++) {
    const ts_explain_loop *l = &e->loop[i];
    json_t *witness = l->has_witness ? json_pack("[I, I]", (json_int_t)l->first, (json_int_t)l->second) : json_null();
    json_array_append_new(
        a, json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o}", "name", l->name, "range", l->range, "kind",
                     l->kind, "spatial", l->spatial, "reduce", l->reduce, "independent", l->obstacle == NULL,
                     "obstacle", text_or_null(l->obstacle), "code", text_or_null(l->code), "witness", witness));
  }
  return a;
}

static void json_show(const ts_explain *e) {
  json_t *o =
      json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "block", e->block, "intrinsic",
                text_or_null(e->intrin), "predicate", text_or_null(e->predicate), "not_affine", text_or_null(e->affine),
                "injective", tri_word(e->injective), "surjective", tri_word(e->surjective), "reduction", e->reduces,
                "reducer", text_or_null(e->reducer), "iterators", iters_json(e), "accesses", regions_json(e),
                "dependences", deps_json(e), "loops", loops_json(e));
  json_dumpf(o, stdout, JSON_INDENT(1));
  putchar('\n');
  json_decref(o);
}

bool ts__work_explain(const ts__work *w, const char *block, bool json, ts_diag *d) {
  ts_explain e;
  TS_TRY(ts_sched_explain(w->s, block, &e, d));
  if (json)
    json_show(&e);
  else
    text_show(&e);
  return true;
}
