// Making gnuplot's SVG fit to stand inside a page: named for screen readers, with ids that no other figure has.
#include "report/report_impl.h"

void ts__add_escaped(ts_text *out, const char *text) {
  for (const char *s = text; *s; s++) {
    if (*s == '&')
      ts_text_add(out, "&amp;");
    else if (*s == '<')
      ts_text_add(out, "&lt;");
    else if (*s == '>')
      ts_text_add(out, "&gt;");
    else if (*s == '"')
      ts_text_add(out, "&quot;");
    else if (*s == '\'')
      ts_text_add(out, "&#39;");
    else if ((unsigned char)*s >= 0x20 || *s == '\n')
      ts_text_addn(out, s, 1);
  }
}

// Where an id begins at s: behind id=" url(# href="# (with either quote), else 0.
static size_t id_begins(const char *s) {
  static const char *const before[] = {" id=\"", " id='", "url(#", "href='#", "href=\"#"};
  for (size_t i = 0; i < TS_COUNTOF(before); i++)
    if (strncmp(s, before[i], strlen(before[i])) == 0) return strlen(before[i]);
  return 0;
}

static void add_names(ts_text *out, const char *id, const char *title, const char *desc) {
  ts_text_addf(out, "<title id=\"%s-title\">", id);
  ts__add_escaped(out, title);
  ts_text_addf(out, "</title>\n<desc id=\"%s-desc\">", id);
  ts__add_escaped(out, desc);
  ts_text_add(out, "</desc>");
}

// From "<svg" on, with title and description in place of gnuplot's, which also name its version. NULL when it is not an
// SVG as gnuplot writes it.
char *ts__svg_accessible(ts_arena *a, const char *svg, const char *id, const char *title, const char *desc) {
  const char *s = strstr(svg, "<svg"), *names = s ? strstr(s, "<title>") : NULL,
             *rest = names ? strstr(names, "</desc>") : NULL;
  if (!rest || !strstr(rest, "</svg>")) return NULL;
  ts_text out = {0};
  ts_text_addf(&out, "<svg role=\"img\" aria-labelledby=\"%s-title %s-desc\"", id, id);
  ts_text_addn(&out, s + 4, (size_t)(names - s - 4));
  add_names(&out, id, title, desc);
  for (s = rest + 7; *s; s++) {
    size_t n = id_begins(s);
    if (!n) {
      ts_text_addn(&out, s, 1);
      continue;
    }
    ts_text_addn(&out, s, n);
    ts_text_addf(&out, "%s-", id);
    s += n - 1;
  }
  char *made = ts_arena_strdup(a, ts_text_str(&out));
  ts_text_free(&out);
  return made;
}
