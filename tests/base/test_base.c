// base: arenas, lexer, hashes, small floats, random numbers, files, processes, fault points.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"

static void arena_restores(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *first = ts_arena_strdup(a, "kept");
  ts_arena_mark m = ts_arena_save(a);
  size_t before = ts_arena_bytes(a);
  for (int i = 0; i < 1000; i++) {
    uint64_t *p = ts_new_array(a, uint64_t, 100);
    assert_int_equal((uintptr_t)p % 8, 0);
    assert_int_equal(p[99], 0);
    p[99] = 7;
  }
  assert_true(ts_arena_bytes(a) >= before + 800000);
  ts_arena_restore(a, m);
  assert_int_equal(ts_arena_bytes(a), before);
  uint64_t *again = ts_new_array(a, uint64_t, 100);
  assert_int_equal(again[99], 0);
  assert_string_equal(first, "kept");
  ts_arena_free(a);
}

static void lexer_tokens(void **state) {
  (void)state;
  const char *text = "split i [_, 16] 0..n x.y 1.5e-3 0x1F \"a\\n\\\"b\" // # end\n<= 12ab";
  ts_lex l;
  ts_arena *a = ts_arena_new("test");
  ts_diag d = {0};
  ts_lex_init(&l, "t", text, strlen(text));
  assert_true(ts_lex_accept(&l, "split"));
  assert_true(ts_lex_accept(&l, "i") && ts_lex_accept(&l, "[") && ts_lex_accept(&l, "_") && ts_lex_accept(&l, ","));
  int64_t v;
  assert_true(ts_lex_int(&l, &v, &d) && v == 16);
  assert_true(ts_lex_accept(&l, "]"));
  assert_true(ts_lex_int(&l, &v, &d) && v == 0);
  assert_true(ts_lex_accept(&l, "..") && ts_lex_accept(&l, "n") && ts_lex_accept(&l, "x.y"));
  assert_int_equal(l.tok, TS_TOK_FLOAT);
  assert_true(l.f == 1.5e-3);
  ts_lex_next(&l);
  assert_true(ts_lex_int(&l, &v, &d) && v == 31);
  assert_string_equal(ts_lex_string(&l, a, &d), "a\n\"b");
  assert_true(ts_lex_accept(&l, "//"));
  assert_true(ts_lex_accept(&l, "<="));
  assert_int_equal(l.line, 2);
  assert_int_equal(l.tok, TS_TOK_ERROR);
  assert_false(ts_lex_expect(&l, &d, "x"));
  assert_string_equal(d.message, "t:2:4: expected 'x', found '12'");
  ts_arena_free(a);
}

static void lexer_newlines(void **state) {
  (void)state;
  const char *text = "a # c\n\nb";
  ts_lex l;
  ts_lex_init(&l, "t", text, strlen(text));
  l.newlines = true;
  assert_true(ts_lex_accept(&l, "a"));
  assert_true(ts_lex_accept(&l, "\n") && ts_lex_accept(&l, "\n"));
  assert_int_equal(l.line, 3);
  assert_true(ts_lex_accept(&l, "b"));
  assert_int_equal(l.tok, TS_TOK_EOF);
}

static void sha256_known(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_sha256 h = ts_sha256_of("abc", 3);
  assert_string_equal(ts_hex(a, h.b, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  h = ts_sha256_of("", 0);
  assert_string_equal(ts_hex(a, h.b, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  char big[1000];
  memset(big, 'x', sizeof big);
  ts_sha256 whole = ts_sha256_of(big, sizeof big);
  for (size_t cut = 0; cut <= sizeof big; cut += 37) {
    ts_sha256_ctx c;
    ts_sha256_init(&c);
    ts_sha256_add(&c, big, cut);
    ts_sha256_add(&c, big + cut, sizeof big - cut);
    ts_sha256 parts = ts_sha256_end(&c);
    assert_memory_equal(&whole, &parts, sizeof whole);
  }
  ts_arena_free(a);
}

// Any one change of any byte, and any other length, breaks a seal.
static void sealed(void **state) {
  (void)state;
  uint8_t bytes[61 + TS_SEAL_BYTES], other[sizeof bytes + 1];
  for (size_t n = 0; n <= 61; n++) {
    memset(bytes, n % 3 ? 0xa5 : 0, sizeof bytes);
    ts_seal(bytes, n);
    size_t all = n + TS_SEAL_BYTES;
    assert_int_equal(ts_seal_check(bytes, all), TS_SEAL_HOLDS);
    for (size_t i = 0; i < 8 * all; i++) {
      bytes[i / 8] ^= (uint8_t)(1u << i % 8);
      assert_int_equal(ts_seal_check(bytes, all), i / 8 >= n && i / 8 < n + 8 ? TS_SEAL_NONE : TS_SEAL_BROKEN);
      bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t i = 0; i < n; i++) {
      memcpy(other, bytes, i);
      other[i] = bytes[i];
      memcpy(other + i + 1, bytes + i, all - i);
      assert_int_equal(ts_seal_check(other, all + 1), TS_SEAL_BROKEN);
      memcpy(other + i, bytes + i + 1, all - i - 1);
      assert_int_equal(ts_seal_check(other, all - 1), TS_SEAL_BROKEN);
    }
    for (size_t cut = 0; cut < all; cut++) assert_int_equal(ts_seal_check(bytes, cut), TS_SEAL_NONE);
  }
}

static void half_against_compiler(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    _Float16 f;
    uint16_t bits = (uint16_t)h;
    memcpy(&f, &bits, 2);
    float wide = ts_f32_from_f16(bits);
    if (isnan((float)f)) assert_true(isnan(wide));
    else {
      assert_true(wide == (float)f);
      assert_int_equal(ts_f16_from_f32(wide), bits);
    }
  }
  ts_rng r = ts_rng_new(1, 0);
  for (int i = 0; i < 200000; i++) {
    uint32_t u = ts_rng_u32(&r);
    if (i % 2) u = (u & 0x8fffffff) + 0x33000000;  // around the half range
    float v;
    memcpy(&v, &u, 4);
    if (isnan(v)) continue;
    _Float16 f = (_Float16)v;
    uint16_t want;
    memcpy(&want, &f, 2);
    assert_int_equal(ts_f16_from_f32(v), want);
  }
  assert_int_equal(ts_bf16_from_f32(1.00390625f), 0x3F80);
  assert_int_equal(ts_bf16_from_f32(1.01171875f), 0x3F82);
}

static void rng_reference(void **state) {
  (void)state;
  // known answer of Philox4x32-10: zero key and counter
  ts_rng r = ts_rng_new(0, 0);
  assert_int_equal(ts_rng_u32(&r), 0x6627e8d5);
  assert_int_equal(ts_rng_u32(&r), 0xe169c58d);
  assert_int_equal(ts_rng_u32(&r), 0xbc57ac4c);
  assert_int_equal(ts_rng_u32(&r), 0x9b00dbd8);
  double sum = 0;
  for (int i = 0; i < 10000; i++) sum += ts_rng_unit(&r);
  assert_true(fabs(sum / 10000 - 0.5) < 0.02);
  for (int i = 0; i < 1000; i++) assert_true(ts_rng_below(&r, 7) < 7);
}

static void files_and_faults(void **state) {
  (void)state;
  char dir[] = "/tmp/ts-base-XXXXXX";
  assert_non_null(mkdtemp(dir));
  ts_arena *a = ts_arena_new("test");
  ts_diag d = {0};
  char *deep = ts_path_join(a, dir, "x/y/z");
  assert_true(ts_dir_make(deep, &d));
  char *path = ts_path_join(a, deep, "f.txt");
  assert_true(ts_file_write(path, "one", 3, &d));
  char *data;
  size_t n;
  ts_arena_strdup(a, "xx");
  assert_true(ts_file_read(path, a, &data, &n, &d));
  assert_int_equal((uintptr_t)data % 16, 0);
  assert_int_equal(n, 3);
  ts_fault_set("write:1");
  assert_false(ts_file_write(path, "twotwo", 6, &d));  // a full disk: the old content stays, no part file is left
  ts_fault_set(NULL);
  assert_int_equal(d.kind, TS_ENVIRONMENT);
  assert_non_null(strstr(d.message, "No space left"));
  assert_true(ts_file_read(path, a, &data, &n, &d));
  assert_string_equal(data, "one");
  char **names;
  assert_true(ts_dir_list(deep, "", a, &names, &n, &d));
  assert_int_equal(n, 1);
  assert_false(ts_file_read(deep, a, &data, &n, &d));
  assert_string_equal(d.code, "not-a-file");
  assert_false(ts_dir_make(ts_path_join(a, path, "under-a-file"), &d));
  assert_true(ts_file_write(path, "", 0, &d));
  assert_true(ts_file_read(path, a, &data, &n, &d));
  assert_int_equal(n, 0);
  assert_string_equal(data, "");
  unlink(path);
  ts_arena_free(a);
}

static void processes(void **state) {
  (void)state;
  ts_diag d = {0};
  ts_proc_result r;
  ts_text out = {0};
  assert_true(ts_proc_run((const char *[]){"sh", "-c", "echo hello; exit 3", NULL}, 10, &out, &r, &d));
  assert_string_equal(ts_text_str(&out), "hello\n");
  assert_int_equal(r.exit_code, 3);
  assert_true(ts_proc_run((const char *[]){"sleep", "10", NULL}, 0.1, NULL, &r, &d));
  assert_true(r.timed_out && r.signal == SIGKILL);
  assert_false(ts_proc_run((const char *[]){"no-such-command-here", NULL}, 1, &out, &r, &d));
  assert_string_equal(d.code, "command-not-found");
  ts_text_free(&out);
}

static void echo_server(int fd, void *arg) {
  (void)arg;
  ts_text t = {0};
  while (ts_msg_recv(fd, &t, 0) == 1) {
    if (t.n == 5 && memcmp(t.p, "crash", 5) == 0) abort();
    if (!ts_msg_send(fd, t.p, t.n)) break;
  }
}

static void workers(void **state) {
  (void)state;
  ts_worker w;
  ts_diag d = {0};
  assert_true(ts_worker_start(&w, echo_server, NULL, &d));
  ts_text t = {0};
  assert_true(ts_msg_send(w.fd, "abc", 3));
  assert_int_equal(ts_msg_recv(w.fd, &t, 5), 1);
  assert_string_equal(t.p, "abc");
  assert_int_equal(ts_msg_recv(w.fd, &t, 0.05), 0);
  assert_true(ts_msg_send(w.fd, "crash", 5));
  assert_int_equal(ts_msg_recv(w.fd, &t, 5), -1);
  ts_proc_result r;
  ts_worker_stop(&w, &r);
  assert_int_equal(r.signal, SIGABRT);
  ts_text_free(&t);
}

static void doubles_read_back(void **state) {
  (void)state;
  ts_text t = {0};
  ts_text_add_double(&t, 0.1);
  ts_text_add(&t, " ");
  ts_text_add_double(&t, 3);
  ts_text_add(&t, " ");
  ts_text_add_double(&t, 1e-5);
  assert_string_equal(t.p, "0.1 3.0 1e-05");
  ts_text_free(&t);
}

static void strings_are_quoted(void **state) {
  (void)state;
  ts_text t = {0};
  const char *s[] = {"", "plain", "a \"b\" \\", "x,y", "two\nlines\r\t\x7f", "\xc3\xa9"};
  for (size_t i = 0; i < TS_COUNTOF(s); i++) ts_text_add_json(&t, s[i]);
  assert_string_equal(ts_text_str(&t), "\"\"\"plain\"\"a \\\"b\\\" \\\\\"\"x,y\"\"two\\nlines\\u000d\\u0009\\u007f\"\"\xc3\xa9\"");
  t.n = 0;
  for (size_t i = 0; i < TS_COUNTOF(s); i++) ts_text_add_csv(&t, s[i]), ts_text_add(&t, ";");
  assert_string_equal(ts_text_str(&t), ";plain;\"a \"\"b\"\" \\\";\"x,y\";\"two\nlines\r\t\x7f\";\xc3\xa9;");
  ts_text_free(&t);
}

static void diag_keeps_own_fields(void **state) {
  (void)state;
  ts_diag d = {0};
  ts_refuse(&d, "first", "inner fact");
  ts_env_fail(&d, d.code, "outer: %s", d.message);
  assert_string_equal(d.message, "outer: inner fact");
  assert_string_equal(d.code, "first");
  assert_int_equal(ts_diag_exit(&d), 3);
}

static void diag_is_one_line(void **state) {
  (void)state;
  ts_diag d = {0};
  char *out = NULL;
  size_t n;
  ts_refuse(&d, "bad", "a name\n\033]0;gotcha\007 of a file");
  ts_hint(&d, "\r%s", "plain \xc3\xbc");
  FILE *f = open_memstream(&out, &n);
  ts_diag_print(f, &d);
  fclose(f);
  assert_string_equal(out, "error: a name??]0;gotcha? of a file  [bad]\n  hint: ?plain \xc3\xbc\n");
  free(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_restores),   cmocka_unit_test(lexer_tokens),   cmocka_unit_test(lexer_newlines),
      cmocka_unit_test(sha256_known),     cmocka_unit_test(sealed), cmocka_unit_test(half_against_compiler), cmocka_unit_test(rng_reference),
      cmocka_unit_test(files_and_faults), cmocka_unit_test(processes),      cmocka_unit_test(workers),
      cmocka_unit_test(doubles_read_back), cmocka_unit_test(strings_are_quoted), cmocka_unit_test(diag_keeps_own_fields), cmocka_unit_test(diag_is_one_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
