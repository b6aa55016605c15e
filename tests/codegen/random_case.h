// A function of functions.h, to be scheduled at random.
#ifndef TS_TEST_RANDOM_CASE_H
#define TS_TEST_RANDOM_CASE_H

#include "differ.h"
#include "functions.h"
#include "schedule/schedule.h"

// The function that a seed picks; f is NULL, and the reason was said, when it does not parse.
static testcase random_case(uint64_t seed) {
  testcase c = {.a = ts_arena_new("random"), .text = functions[seed % TS_COUNTOF(functions)]};
  ts_diag d = {0};
  c.name = ts_arena_printf(c.a, "seed %llu", (unsigned long long)seed);
  c.ir = ts_ir_new(c.a);
  c.f = ts_func_parse(c.ir, "function", c.text, strlen(c.text), NULL, 0, &d);
  if (!c.f) complain(&c, "%s", d.message);
  return c;
}

// Its trace, the function as scheduled and, unless NULL, as lowered.
static void show(const ts_sched *s, const ts_func *loops) {
  ts_text text = {0};
  ts_trace_print(&text, ts_sched_trace(s));
  ts_func_print(&text, ts_sched_func(s));
  if (loops) ts_func_print(&text, loops);
  printf("%s\n", ts_text_str(&text));
  ts_text_free(&text);
}

#endif
