// Shared by the two files of the choice in a whole step: searching (step.c) and the last comparison (step_final.c).
#ifndef TS_SEARCH_STEP_H
#define TS_SEARCH_STEP_H

#include "search/search_impl.h"

enum { TS__MOST_PARTS = 32, TS__STEP_PASSES = 3 };

// What a choice may take. A decode step has many layers and depths and most of the time of a model; passes of few rows are several, and each is short.
typedef struct ts__pace {
  double least_s;  // with less time it is not begun
  double final_s;  // about what the last comparison takes
  double round_s;  // and a round of more points
  int rounds;      // of more points, at most
  int idle;        // and so many without another choice
} ts__pace;

typedef struct ts__part {
  ts__session *s;
  ts__member *base;
  TS_VEC(ts__member *) m;  // [0] is base; their index in the worker is id
  TS_VEC(int) id;
  int calls;               // in the step
  size_t now;              // the one chosen so far
  bool open;               // there is a choice: it serves one number of rows, and a template guesses
  ts_compare gain;         // of the one chosen over the base, in the step as chosen
} ts__part;
typedef struct ts__chooser {
  const ts__step_host *h;
  ts__pace pace;
  ts_arena *a;
  ts_step *step;
  ts__member *guilty;  // who ended the step's worker; NULL: not known
  int restarts;
  size_t n;
  ts__part part[TS__MOST_PARTS];
  size_t ncalls;
  ts_step_call *calls;
  const ts_workload *workload[TS__MOST_PARTS];
  size_t changes;      // of the choice, so far
  size_t settings;     // of the last comparison's step, behind the first; 0: that alone
  size_t rounds;       // of the last comparison
} ts__chooser;

extern const double ts__step_noise;  // of a comparison of whole steps in turn: smaller gains are none

// step.c
bool ts__step_add(ts__chooser *c, size_t p, ts__member *m, ts_diag *d) TS_WARN_UNUSED;  // a kernel for the present worker; one that cannot take part there is left out
void ts__step_now(const ts__chooser *c, int *pick);                                     // the way that takes what is chosen so far
bool ts__step_over(const ts__chooser *c, double least_s);                               // less time is left than that, or none
ts_step *ts__step_open(const ts__chooser *c, ts_diag *d);                               // a worker for the present calls

// step_final.c: the best of each part once more in a step of all layers, in each of its settings. Sessions keep what comes of it.
bool ts__step_final(ts__chooser *c, ts_tune_step_row *out, ts_diag *d) TS_WARN_UNUSED;

#endif
