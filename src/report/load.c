// Reading report folders.
//
// about.txt: lines "key: value" up to an empty line, then paragraphs of text.
#include <stdlib.h>

#include "report/report_impl.h"

typedef struct about_key {
  const char *name;
  size_t offset;
  bool number;
} about_key;
#define TEXT(k) \
  { #k, offsetof(ts__report, k), false }
#define NUMBER(k) \
  { #k, offsetof(ts__report, k), true }
static const about_key keys[] = {TEXT(title),  TEXT(caption),   TEXT(empty),   TEXT(split),
                                 TEXT(series), TEXT(reproduce), NUMBER(order), NUMBER(limit)};

static bool set_key(ts_arena *a, const char *file, int line, const char *text, size_t n, ts__report *r, ts_diag *d) {
  const char *colon = memchr(text, ':', n);
  if (!colon) return ts_refuse(d, "syntax", "%s:%d: not a line \"key: value\"", file, line);
  const char *value = colon + 1 + strspn(colon + 1, " ");
  char *v = ts_arena_strndup(a, value, (size_t)(text + n - value));
  for (size_t i = 0; i < TS_COUNTOF(keys); i++) {
    if (strlen(keys[i].name) != (size_t)(colon - text) || memcmp(keys[i].name, text, (size_t)(colon - text)) != 0)
      continue;
    char *to = (char *)r + keys[i].offset, *end = v;
    if (!keys[i].number)
      *(const char **)to = v;
    else
      *(int64_t *)to = strtoll(v, &end, 10);
    if (!keys[i].number || (end != v && !*end)) return true;
    return ts_refuse(d, "syntax", "%s:%d: %s is not a number", file, line, keys[i].name);
  }
  return ts_refuse(d, "syntax", "%s:%d: no key called '%.*s'", file, line, (int)(colon - text), text);
}

bool ts__about_parse(ts_arena *a, const char *file, const char *text, ts__report *r, ts_diag *d) {
  r->caption = r->empty = r->split = r->series = r->reproduce = r->text = "";
  r->order = 100, r->limit = 50;
  for (int line = 1; *text && *text != '\n'; line++) {
    size_t n = strcspn(text, "\n");
    TS_TRY(set_key(a, file, line, text, n, r, d));
    text += n + (text[n] == '\n');
  }
  r->text = ts_arena_strdup(a, text + strspn(text, "\n"));
  return r->title || ts_refuse(d, "syntax", "%s: no title", file);
}

static bool load_one(ts_arena *a, const char *dir, const char *name, ts__report *r, ts_diag *d) {
  const char *folder = ts_path_join(a, dir, name), *about = ts_path_join(a, folder, "about.txt"),
             *plot = ts_path_join(a, folder, "plot.gp");
  char *text, *sql;
  size_t n;
  TS_TRY(ts_file_read(about, a, &text, &n, d));
  TS_TRY(ts_file_read(ts_path_join(a, folder, "query.sql"), a, &sql, &n, d));
  *r = (ts__report){.name = ts_arena_strdup(a, name), .sql = sql, .plot = ts_file_exists(plot) ? plot : NULL};
  return ts__about_parse(a, about, text, r, d);
}

static int by_order(const void *pa, const void *pb) {
  const ts__report *a = pa, *b = pb;
  if (a->order != b->order) return a->order < b->order ? -1 : 1;
  return strcmp(a->name, b->name);
}

static bool is_report(ts_arena *a, const char *dir, const char *name) {
  return name[0] != '.' && ts_file_exists(ts_path_join(a, ts_path_join(a, dir, name), "about.txt"));
}

bool ts__report_load_all(ts__page *p, ts_diag *d) {
  ts_arena *a = p->arena;
  char **names;
  size_t n;
  TS_TRY(ts_dir_list(p->o->dir, "", a, &names, &n, d));
  TS_VEC(ts__report) v = {0};
  for (size_t i = 0; i < n; i++) {
    if (!is_report(a, p->o->dir, names[i]) || (p->o->only && strcmp(p->o->only, names[i]) != 0)) continue;
    ts__report r;
    TS_TRY(load_one(a, p->o->dir, names[i], &r, d));
    ts_vec_push(a, &v, r);
  }
  if (!v.n && p->o->only) return ts_refuse(d, "no-such-report", "%s: no report called %s", p->o->dir, p->o->only), ts_hint(d, "the folders in it are the reports"), false;
  if (!v.n) return ts_refuse(d, "no-such-report", "%s: no reports", p->o->dir);
  qsort(v.p, v.n, sizeof *v.p, by_order);
  p->report = v.p;
  p->nreports = v.n;
  return true;
}
