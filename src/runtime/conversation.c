// Conversations: a table of templates, and turning turns into a prompt.
#include "runtime/runtime.h"

enum { MAX_STOPS = 4, MAX_IDS = 8 };
typedef struct row {
  ts_conv c;
  const char *stops[MAX_STOPS];  // NULL-terminated
  int32_t stop_ids[MAX_IDS], prefix_ids[MAX_IDS];  // -1-terminated
} row;

#define STR(...) {__VA_ARGS__}
#define IDS(...) {__VA_ARGS__}
static const row rows[] = {
#define CONV(name_, system_template_, system_message_, user, assistant, sep0, sep1, content, empty, role_after, strings, ids, prefix_) \
  {.c = {.name = name_, .system_template = system_template_, .system_message = system_message_, .user_role = user,                     \
         .assistant_role = assistant, .user_template = "{user_message}", .assistant_template = "{assistant_message}",                  \
         .content_sep = content, .empty_sep = empty, .sep = {sep0, sep1}, .role_after_system = role_after},                            \
   .stops = strings, .stop_ids = ids, .prefix_ids = prefix_},
#include "runtime/conversations.def"
#undef CONV
};

static int count_ids(const int32_t *v) {
  int n = 0;
  while (v[n] >= 0) n++;
  return n;
}

const ts_conv *ts_conv_find(ts_arena *a, const char *name) {
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const row *r = &rows[i];
    if (strcmp(r->c.name, name) != 0) continue;
    ts_conv *c = ts_arena_dup(a, &r->c, sizeof r->c);
    while (r->stops[c->nstop_strings]) c->nstop_strings++;
    c->stop_strings = r->stops;
    c->nstop_tokens = count_ids(r->stop_ids);
    c->stop_tokens = r->stop_ids;
    c->nprefix = count_ids(r->prefix_ids);
    c->prefix = r->prefix_ids;
    return c;
  }
  return NULL;
}

#define FUNCTION "{function_string}"

// Add a template with every placeholder replaced by text; there are no functions to call.
static void fill(ts_text *out, const char *template, const char *placeholder, const char *text) {
  size_t n = strlen(placeholder);
  for (const char *p = template; *p;) {
    if (!strncmp(p, placeholder, n)) {
      ts_text_add(out, text);
      p += n;
    } else if (!strncmp(p, FUNCTION, sizeof FUNCTION - 1)) {
      p += sizeof FUNCTION - 1;
    } else {
      ts_text_addn(out, p++, 1);
    }
  }
}

static void turn(const ts_conv *c, const ts_turn *t, bool with_role, ts_text *out) {
  const char *role = t->assistant ? c->assistant_role : c->user_role;
  if (!t->text) {
    ts_text_add(out, role);
    ts_text_add(out, c->empty_sep);
    return;
  }
  if (with_role) {
    ts_text_add(out, role);
    ts_text_add(out, c->content_sep);
  }
  fill(out, t->assistant ? c->assistant_template : c->user_template, t->assistant ? "{assistant_message}" : "{user_message}", t->text);
  ts_text_add(out, c->sep[t->assistant]);
}

void ts_conv_render(const ts_conv *c, const char *system, const ts_turn *turns, size_t n, ts_text *out) {
  static const char placeholder[] = "{system_message}";
  size_t before = out->n;
  if (!system) system = c->system_message;
  if (*system || !strstr(c->system_template, placeholder)) fill(out, c->system_template, placeholder, system);
  bool has_system = out->n > before;
  for (size_t i = 0; i < (size_t)c->npreset + n; i++) {
    const ts_turn *t = i < (size_t)c->npreset ? &c->preset[i] : &turns[i - (size_t)c->npreset];
    turn(c, t, c->role_after_system || !has_system || i > 0, out);
  }
}
