// Lines from a person (libedit) or a pipe (plain reading).
#include "cli/line.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdlib.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 2000 };

struct ts__line {
  ts__line_opts o;
  ts_arena *a;
  bool tty;        // both ends are a terminal
  EditLine *edit;  // NULL: plain reading
  History *history;
  char *path;  // of the history
  char *text;  // the present line
  size_t cap;
  wchar_t prompt[64];
};

// --- state folder ---------------------------------------------------------------------------------------------------
char *ts__state_file(ts_arena *a, const char *name) {
  const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
  char *dir;
  ts_diag d;
  if (state && state[0] == '/')
    dir = ts_path_join(a, state, "tunesmith");
  else if (home && home[0] == '/')
    dir = ts_path_join(a, home, ".local/state/tunesmith");
  else
    return NULL;
  return ts_dir_make(dir, &d) ? ts_path_join(a, dir, name) : NULL;
}

// --- reading characters
// -----------------------------------------------------------------------------------------------
static ts__line *line_of(EditLine *e) {
  ts__line *l;
  el_get(e, EL_CLIENTDATA, &l);
  return l;
}

static wchar_t *prompt_of(EditLine *e) { return line_of(e)->prompt; }

// One character; -1 when a signal came (libedit itself would read on).
static int read_char(EditLine *e, wchar_t *out) {
  (void)e;
  mbstate_t state = {0};
  for (;;) {
    char c;
    ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n == 0) return 0;
    if (n < 0) {
      if (errno == EINTR && !ts_interrupted()) continue;
      return -1;
    }
    size_t r = mbrtowc(out, &c, 1, &state);
    if (r == (size_t)-2) continue;
    if (r != (size_t)-1) return 1;
    memset(&state, 0, sizeof state);
  }
}

// --- completion
// ---------------------------------------------------------------------------------------------------------
static size_t common_prefix(const char **words, size_t n) {
  size_t most = strlen(words[0]);
  for (size_t i = 1; i < n; i++) {
    size_t k = 0;
    while (k < most && words[i][k] == words[0][k]) k++;
    most = k;
  }
  return most;
}

static void words_show(const char **words, size_t n) {
  size_t width = 0, column = 0;
  for (size_t i = 0; i < n; i++) width = TS_MAX(width, strlen(words[i]) + 2);
  size_t columns = TS_MAX((size_t)1, 96 / width);
  putchar('\n');
  for (size_t i = 0; i < n; i++) {
    printf("%-*s", (int)width, words[i]);
    if (++column % columns == 0 || i + 1 == n) putchar('\n');
  }
  fflush(stdout);
}

static unsigned char complete(EditLine *e, int key) {
  (void)key;
  ts__line *l = line_of(e);
  const LineInfo *info = el_line(e);
  ts_arena *a = ts_arena_new("complete");
  size_t typed = (size_t)(info->cursor - info->buffer), from = 0, n = 0;
  const char **words = l->o.complete(l->o.arg, a, info->buffer, typed, &from, &n);
  unsigned char answer = CC_ERROR;
  if (n) {
    size_t have = typed - from, most = common_prefix(words, n);
    const char *more = most > have ? ts_arena_strndup(a, words[0] + have, most - have) : "";
    bool whole = n == 1 && words[0][most - 1] != '=' && words[0][most - 1] != '/';
    answer = CC_REFRESH;
    if (*more || whole)
      el_insertstr(e, whole ? ts_arena_printf(a, "%s ", more) : more);
    else
      words_show(words, n), answer = CC_REDISPLAY;
  }
  ts_arena_free(a);
  return answer;
}

// --- opening
// --------------------------------------------------------------------------------------------------------------
static void history_open(ts__line *l) {
  HistEvent ev;
  l->history = history_init();
  if (!l->history) return;
  history(l->history, &ev, H_SETSIZE, HISTORY_LINES);
  history(l->history, &ev, H_SETUNIQUE, 1);
  if (l->o.history) l->path = ts__state_file(l->a, l->o.history);
  if (l->path) history(l->history, &ev, H_LOAD, l->path);
  el_set(l->edit, EL_HIST, history, l->history);
}

static void edit_open(ts__line *l) {
  setlocale(LC_CTYPE, "C.UTF-8");
  l->edit = el_init("tunesmith", stdin, stdout, stderr);
  if (!l->edit) return;
  swprintf(l->prompt, TS_COUNTOF(l->prompt), L"%s", l->o.prompt);
  el_set(l->edit, EL_CLIENTDATA, l);
  el_set(l->edit, EL_SIGNAL, 0);
  el_wset(l->edit, EL_PROMPT, prompt_of);
  el_set(l->edit, EL_EDITOR, "emacs");
  el_wset(l->edit, EL_GETCFN, read_char);
  el_set(l->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
  history_open(l);
  if (!l->o.complete) return;
  el_wset(l->edit, EL_ADDFN, L"tunesmith-complete", L"completes a word", complete);  // el_set would lose copies of the texts
  el_set(l->edit, EL_BIND, "^I", "tunesmith-complete", NULL);
}

ts__line *ts__line_open(const ts__line_opts *o) {
  ts_arena *a = ts_arena_new("line");
  ts__line *l = ts_new(a, ts__line);
  l->a = a;
  l->o = *o;
  const char *term = getenv("TERM");
  l->tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  if (l->tty && !(term && !strcmp(term, "dumb"))) edit_open(l);
  return l;
}

void ts__line_close(ts__line *l) {
  HistEvent ev;
  if (!l) return;
  if (l->history && l->path) history(l->history, &ev, H_SAVE, l->path);
  if (l->edit) el_end(l->edit);
  if (l->history) history_end(l->history);
  free(l->text);
  ts_arena_free(l->a);
}

bool ts__line_is_terminal(const ts__line *l) { return l->tty; }

// --- reading lines
// ----------------------------------------------------------------------------------------------------------
static ts__line_end after_signal(void) {
  bool over = !ts_interrupt_clear();
  putchar('\n');
  fflush(stdout);
  return over ? TS__LINE_END : TS__LINE_INTERRUPTED;
}

static ts__line_end plain_read(ts__line *l, char **text) {
  if (l->tty) fputs(l->o.prompt, stdout), fflush(stdout);
  ssize_t n = getline(&l->text, &l->cap, stdin);
  if (n < 0) {
    clearerr(stdin);
    return l->tty && ts_interrupted() ? after_signal() : TS__LINE_END;
  }
  while (n > 0 && (l->text[n - 1] == '\n' || l->text[n - 1] == '\r')) l->text[--n] = 0;
  *text = l->text;
  return TS__LINE_TEXT;
}

ts__line_end ts__line_read(ts__line *l, char **text) {
  HistEvent ev;
  int n;
  if (!l->edit) return plain_read(l, text);
  fflush(stdout);
  el_resize(l->edit);
  const char *got = el_gets(l->edit, &n);
  if (!got || n <= 0) return ts_interrupted() ? after_signal() : TS__LINE_END;
  free(l->text);
  l->text = strndup(got, (size_t)n);
  if (!l->text) abort();
  l->text[strcspn(l->text, "\r\n")] = 0;
  if (l->history && l->text[strspn(l->text, " \t")]) history(l->history, &ev, H_ENTER, l->text);
  *text = l->text;
  return TS__LINE_TEXT;
}
