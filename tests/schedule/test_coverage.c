// Do the file tests of schedules, the tables and the manual keep up with each other? Every primitive has a case that
// accepts it, one that refuses it, and one where it meets a symbolic size or a predicate; every refusal code is the end
// of some case; and docs/schedule.md has a section for every primitive, and every name that TVM has for one.
#include <stdlib.h>

#include "schedule/schedule.h"
// cmocka wants these first
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// and itself behind them
#include <cmocka.h>

typedef struct cover {
  int accepts[TS_P__COUNT], refuses[TS_P__COUNT], symbolic[TS_P__COUNT];
  int codes[TS_R__COUNT];
} cover;

// The primitive of a line of a trace.
static bool prim_of(const char *line, size_t n, ts_prim *out) {
  const char *eq = NULL;
  for (size_t i = 0; i + 2 < n && line[i] != '"' && line[i] != '['; i++)
    if (!strncmp(line + i, " = ", 3)) {
      eq = line + i + 3;
      break;
    }
  const char *p = eq ? eq : line;
  size_t len = strcspn(p, " \n");
  return len && ts_prim_find(p, len, out);
}

static void count_codes(cover *c, const char *p, const char *end) {
  for (; p < end; p++)
    for (int k = 1; *p == '[' && k < TS_R__COUNT; k++) {
      const char *name = ts_rcode_name((ts_rcode)k);
      size_t n = strlen(name);
      c->codes[k] += !strncmp(p + 1, name, n) && p[n + 1] == ']';
    }
}

// One case: its text from "case" to "end".
static void case_count(cover *c, const char *text, const char *end) {
  const char *trace = strstr(text, "\ntrace 1\n"), *refuse = strstr(text, "\nrefuse\n"), *stop = NULL;
  for (const char *p = text; p < end && !stop; p = strchr(p, '\n') + 1)
    if (!strncmp(p, "expect\n", 7) || !strncmp(p, "refuse\n", 7) || !strncmp(p, "replay\n", 7) ||
        !strncmp(p, "strict\n", 7))
      stop = p;
  if (!trace || trace > end || !stop) return;
  bool refused = refuse && refuse < end && refuse + 1 == stop;
  bool symbolic = false;
  for (const char *p = text; p < end; p++) symbolic |= !strncmp(p, "dim(", 4) || !strncmp(p, " where ", 7);
  ts_prim p = TS_P__COUNT, last = TS_P__COUNT;
  for (const char *line = trace + 9; line < stop; line = strchr(line, '\n') + 1) {
    if (!prim_of(line, strcspn(line, "\n"), &p)) continue;
    last = p;
    c->accepts[p]++;
    c->symbolic[p] += symbolic;
  }
  if (refused && last < TS_P__COUNT) c->accepts[last]--, c->refuses[last]++;
  count_codes(c, stop, end);
}

static void file_count(cover *c, const char *text) {
  for (const char *at = strncmp(text, "case ", 5) ? strstr(text, "\ncase ") : text; at;) {
    const char *next = strstr(at + 1, "\ncase ");
    case_count(c, at, next ? next : at + strlen(at));
    at = next;
  }
}

static ts_arena *arena;
static cover all;

static int load(void **state) {
  char **names;
  size_t n;
  ts_diag d = {0};
  (void)state;
  arena = ts_arena_new("cover");
  const char *dir = ts_path_join(arena, ts_data_dir(), "tests/schedule/cases");
  if (!ts_dir_list(dir, ".txt", arena, &names, &n, &d)) return -1;
  for (size_t i = 0; i < n; i++) {
    char *text;
    size_t bytes;
    if (!ts_file_read(ts_path_join(arena, dir, names[i]), arena, &text, &bytes, &d)) return -1;
    file_count(&all, text);
  }
  return 0;
}

static int drop(void **state) {
  (void)state;
  ts_arena_free(arena);
  return 0;
}

static void every_primitive_has_its_cases(void **state) {
  int missing = 0;
  (void)state;
  for (int p = 0; p < TS_P__COUNT; p++) {
    const char *name = ts_prim_get((ts_prim)p)->name;
    bool three = all.accepts[p] + all.refuses[p] >= 3;
    if (all.accepts[p] && all.refuses[p] && all.symbolic[p] && three) continue;
    missing++;
    print_error("%s: %d cases accept it, %d refuse it, %d have a symbolic size or a predicate\n", name, all.accepts[p],
                all.refuses[p], all.symbolic[p]);
  }
  assert_int_equal(missing, 0);
}

static void every_code_ends_a_case(void **state) {
  int missing = 0;
  (void)state;
  for (int k = 1; k < TS_R__COUNT; k++)
    if (!all.codes[k]) missing++, print_error("no case is refused with %s\n", ts_rcode_name((ts_rcode)k));
  assert_int_equal(missing, 0);
}

// --- the manual
// -----------------------------------------------------------------------------------------------------------------
static const char *manual(void) {
  char *text;
  size_t n;
  ts_diag d = {0};
  return ts_file_read(ts_path_join(arena, ts_data_dir(), "docs/schedule.md"), arena, &text, &n, &d) ? text : "";
}

// The text of the section on a primitive, NULL without one.
static const char *section(const char *doc, const char *name) {
  const char *at = strstr(doc, ts_arena_printf(arena, "\n## %s\n", name));
  if (!at) return NULL;
  const char *end = strstr(at + 1, "\n## ");
  return ts_arena_strndup(arena, at, end ? (size_t)(end - at) : strlen(at));
}

static void every_primitive_has_a_section(void **state) {
  const char *doc = manual();
  (void)state;
  for (int p = 0; p < TS_P__COUNT; p++) {
    const char *name = ts_prim_get((ts_prim)p)->name, *text = section(doc, name);
    if (!text) print_error("docs/schedule.md has no section %s\n", name);
    assert_non_null(text);
    if (!strstr(text, ts_arena_printf(arena, "%s ", name))) print_error("section %s shows no step\n", name);
    assert_non_null(strstr(text, ts_arena_printf(arena, "%s ", name)));
  }
}

// Sections of primitives that there are, and no others.
static void sections_are_primitives(void **state) {
  const char *at = strstr(manual(), "\n# The primitives\n");
  (void)state;
  assert_non_null(at);
  for (at = strstr(at, "\n## "); at; at = strstr(at + 1, "\n## ")) {
    ts_prim p;
    size_t n = strcspn(at + 4, "\n");
    if (!ts_prim_find(at + 4, n, &p)) print_error("docs/schedule.md: %.*s is no primitive\n", (int)n, at + 4);
    assert_true(ts_prim_find(at + 4, n, &p));
  }
}

// TVM's schedule primitives: each is found in the manual by its name.
static void found_by_tvm_names(void **state) {
  static const char *const names[] = {
#define TVM(name) #name,
#include "schedule/tvm_names.def"
#undef TVM
  };
  const char *doc = manual();
  int missing = 0;
  (void)state;
  for (size_t i = 0; i < TS_COUNTOF(names); i++) {
    size_t n = strlen(names[i]);
    bool found = false;
    for (const char *p = strstr(doc, names[i]); p && !found; p = strstr(p + 1, names[i])) {
      char before = p == doc ? ' ' : p[-1], after = p[n];
      found =
          !strchr("abcdefghijklmnopqrstuvwxyz_", before) && !strchr("abcdefghijklmnopqrstuvwxyz_", after ? after : ' ');
    }
    if (!found) missing++, print_error("docs/schedule.md does not name TVM's %s\n", names[i]);
  }
  assert_int_equal(missing, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_primitive_has_its_cases),
      cmocka_unit_test(every_code_ends_a_case),
      cmocka_unit_test(every_primitive_has_a_section),
      cmocka_unit_test(sections_are_primitives),
      cmocka_unit_test(found_by_tvm_names),
  };
  return cmocka_run_group_tests(tests, load, drop);
}
