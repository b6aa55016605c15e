// Lines from a person or a pipe: edited, with history and completion, when both ends are a terminal.
#ifndef TS_CLI_LINE_H
#define TS_CLI_LINE_H

#include "base/base.h"

typedef struct ts__line ts__line;
// Possible words at the end of text[0..n), in a; *from is where the word to be completed begins.
typedef const char **(*ts__line_complete)(void *arg, ts_arena *a, const char *text, size_t n, size_t *from,
                                          size_t *count);
typedef struct ts__line_opts {
  const char *prompt;
  const char *history;         // name of a file in the state folder; NULL: none is kept
  ts__line_complete complete;  // NULL: Tab does nothing
  void *arg;
} ts__line_opts;
typedef enum ts__line_end { TS__LINE_TEXT, TS__LINE_INTERRUPTED, TS__LINE_END } ts__line_end;

ts__line *ts__line_open(const ts__line_opts *o);
void ts__line_close(ts__line *l);  // accepts NULL; writes the history
bool ts__line_is_terminal(const ts__line *l);
// The next line without its end, valid until the next call. INTERRUPTED: Ctrl-C; what was typed is dropped. END: end of
// input, or a request to end the program.
ts__line_end ts__line_read(ts__line *l, char **text);

// A file of that name in $XDG_STATE_HOME/tunesmith (or ~/.local/state/tunesmith), whose folder is made; NULL when there
// is no place for it.
char *ts__state_file(ts_arena *a, const char *name);

#endif
