// Where a report is written: a folder of its own, whose files come to their place when all of them are whole.
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report/report_impl.h"

// A folder that is there may hold more than a report and may be all that can be written to: the files are made within it. Else beside.
bool ts__stage_begin(ts__page *p, ts_diag *d) {
  struct stat st;
  ts_arena *a = p->arena;
  size_t n = strlen(p->o->out);
  if (!n) return ts_refuse(d, "usage", "report: the name of the folder to write to is empty");
  while (n > 1 && p->o->out[n - 1] == '/') n--;
  p->place = ts_arena_strndup(a, p->o->out, n);
  p->fresh = stat(p->place, &st) != 0;
  const char *slash = strrchr(p->place, '/'), *name = slash ? slash + 1 : p->place;
  const char *parent = slash == p->place ? "/" : slash ? ts_arena_strndup(a, p->place, (size_t)(slash - p->place)) : ".";
  if (!p->fresh) parent = p->place, name = "report";
  TS_TRY(ts_dir_make(parent, d));
  p->dir = ts_dir_partial(a, parent, name, d);
  return p->dir != NULL;
}

static bool put(ts__page *p, const char *name, ts_diag *d) {
  const char *to = ts_path_join(p->arena, p->place, name);
  return rename(ts_path_join(p->arena, p->dir, name), to) == 0 || ts_env_fail(d, "rename-failed", "%s: %s", to, strerror(errno));
}

// The page, which shows what the others are, comes last.
bool ts__stage_commit(ts__page *p, const char *page, ts_diag *d) {
  if (p->fresh) return rename(p->dir, p->place) == 0 || ts_env_fail(d, "rename-failed", "%s: %s", p->place, strerror(errno));
  char **names;
  size_t n;
  TS_TRY(ts_dir_list(p->dir, "", p->arena, &names, &n, d));
  for (size_t i = 0; i < n; i++)
    if (strcmp(names[i], page) != 0) TS_TRY(put(p, names[i], d));
  return put(p, page, d);
}

// Removes what was not committed; words about it are about the place that the file was to have.
void ts__stage_end(ts__page *p, ts_diag *d) {
  if (!p->dir) return;
  size_t n = strlen(p->dir);
  if (d && strncmp(d->message, p->dir, n) == 0) {
    const char *rest = ts_arena_strdup(p->arena, d->message + n);
    snprintf(d->message, sizeof d->message, "%s%s", p->place, rest);
  }
  ts_dir_remove(p->dir);
}
