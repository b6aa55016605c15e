// Strings as JSON and CSV quote them.
#include "base/base.h"

void ts_text_add_json(ts_text *t, const char *s) {
  ts_text_add(t, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\')
      ts_text_addf(t, "\\%c", c);
    else if (c == '\n')
      ts_text_add(t, "\\n");
    else if (c < 0x20 || c == 0x7f)
      ts_text_addf(t, "\\u%04x", c);
    else
      ts_text_addn(t, s, 1);
  }
  ts_text_add(t, "\"");
}

void ts_text_add_csv(ts_text *t, const char *s) {
  if (!strpbrk(s, ",\"\n\r")) {
    ts_text_add(t, s);
    return;
  }
  ts_text_add(t, "\"");
  for (; *s; s++) ts_text_addn(t, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
  ts_text_add(t, "\"");
}
