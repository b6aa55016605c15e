// pages: the rows of a cache for the host, one behind the other or, with TS_PAGE, in pages of a pool in shuffled order. Included behind the template and
// the enum of H, HK and P.
#pragma once

#ifdef TS_PAGE
enum { POOL = P / TS_PAGE + 3, ROWS_OF_CACHE = POOL * HK * TS_PAGE };
static int table[P / TS_PAGE];
static void draw_table() {
  int page[POOL];
  for (int i = 0; i < POOL; i++) page[i] = i;
  for (int i = POOL - 1; i > 0; i--) std::swap(page[i], page[host_random() % (i + 1)]);
  for (int i = 0; i < P / TS_PAGE; i++) table[i] = page[i];
}
// Where the row of a position begins.
static size_t place(int kv, int position) { return (((size_t)table[position / TS_PAGE] * HK + kv) * TS_PAGE + position % TS_PAGE) * D; }
#else
enum { ROWS_OF_CACHE = HK * P };
static void draw_table() {}
static size_t place(int kv, int position) { return ((size_t)kv * P + position) * D; }
#endif
