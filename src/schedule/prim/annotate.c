// annotate x "key" value : attaches key = value to a loop or block, replacing an older value of the key.
#include "schedule/schedule_impl.h"

bool ts__check_annotate(ts__ctx *c) {
  if (c->arg[1].s[0]) return true;
  return ts__refuse(c, TS_R_bad_argument, 1, "the key is empty");
}

bool ts__apply_annotate(ts__ctx *c) {
  ts_note note = c->arg[2].note;
  note.key = ts_arena_strdup(c->a, c->arg[1].s);
  if (note.kind == TS_NOTE_STR) note.s = ts_arena_strdup(c->a, note.s);
  return ts__notes_set(c, c->arg[0].node, ts_notes_with(c->a, ts__notes_of(c, c->arg[0].node), note));
}
