// The rows of prim.def and refusal.def as data: names, signatures, look-up.
#include "schedule_impl.h"

static const ts_prim_info infos[] = {
#define PRIM(name, args, results, flags, doc) {#name, args, results, doc, flags},
#include "schedule/prim.def"
#undef PRIM
};
static_assert(TS_COUNTOF(infos) == TS_P__COUNT, "one row a primitive");

static const struct {
  const char *text, *doc;
} codes[] = {
#define REFUSAL(name, text, doc) {text, doc},
#include "schedule/refusal.def"
#undef REFUSAL
};

const ts_prim_info *ts_prim_get(ts_prim p) { return &infos[p]; }

bool ts_prim_find(const char *name, size_t n, ts_prim *out) {
  for (int i = 0; i < TS_P__COUNT; i++) {
    if (strlen(infos[i].name) != n || memcmp(infos[i].name, name, n) != 0) continue;
    *out = (ts_prim)i;
    return true;
  }
  return false;
}

const char *ts_rcode_name(ts_rcode r) { return codes[r].text; }
const char *ts_rcode_doc(ts_rcode r) { return codes[r].doc; }

// --- signatures -----------------------------------------------------------------------------------------------
// Cut from the text of the rows at compile time would need a generator; cut once instead, into static storage.
static ts__sig sigs[TS_P__COUNT];
static char sig_text[TS_P__COUNT][96];

// "TYPE:name" or "TYPE:name=default" at word.
static void param_cut(ts__param *p, char *word) {
  p->type = word[0];
  p->name = word + 2;
  char *eq = strchr(word, '=');
  p->keyword = eq != NULL;
  p->dflt = "";
  if (!eq) return;
  *eq = 0;
  p->dflt = eq + 1;
  p->ndflt = (int)strlen(p->dflt);
}

static void sig_cut(ts_prim p) {
  ts__sig *s = &sigs[p];
  snprintf(sig_text[p], sizeof sig_text[p], "%s", infos[p].args);
  s->decision = -1;
  char *save = NULL;
  for (char *w = strtok_r(sig_text[p], " ", &save); w; w = strtok_r(NULL, " ", &save)) {
    param_cut(&s->p[s->n], w);
    if (!strcmp(s->p[s->n].name, "decision")) s->decision = s->n;
    s->n++;
  }
}

__attribute__((constructor)) static void sigs_cut(void) {
  for (int p = 0; p < TS_P__COUNT; p++) sig_cut((ts_prim)p);
}

const ts__sig *ts__sig_get(ts_prim p) { return &sigs[p]; }
