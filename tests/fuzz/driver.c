// Runs a fuzz target without libFuzzer: every seed file (arguments: files and directories), then a fixed number of seeded
// mutations of them. TS_FUZZ_RUNS sets the number, TS_FUZZ_SEED the seed. An input that crashes, or that takes longer than
// MAX_INPUT_S, is left in the file fuzz-failure.bin of the working directory: run the program on that file to see it again.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_SEEDS = 4096, MAX_SEED_BYTES = 1 << 20, DEFAULT_RUNS = 20000, MAX_INPUT_S = 20, MAX_TOTAL_S = 8 };

typedef struct input {
  uint8_t *p;
  size_t n;
} input;

static input seeds[MAX_SEEDS];
static size_t nseeds;
static input current;  // what runs now, for the signal handler
static uint64_t state;

static uint64_t next_random(void) {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static size_t below(size_t n) { return n ? (size_t)(next_random() % n) : 0; }

static void *must(void *p) {
  if (!p) {
    fputs("driver: out of memory\n", stderr);
    exit(70);
  }
  return p;
}

// Keep the input that failed and end with the signal's usual status. Only async-signal-safe calls.
static void failed(int sig) {
  static const char slow[] = "driver: an input ran too long; it is in fuzz-failure.bin\n";
  static const char crash[] = "driver: an input crashed; it is in fuzz-failure.bin\n";
  int fd = open("fuzz-failure.bin", O_CREAT | O_TRUNC | O_WRONLY, 0644);
  ssize_t written = fd >= 0 && current.n ? write(fd, current.p, current.n) : 0;
  written += sig == SIGALRM ? write(2, slow, sizeof slow - 1) : write(2, crash, sizeof crash - 1);
  (void)written;
  signal(sig, SIG_DFL);
  raise(sig);
}

static void add_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f || nseeds == MAX_SEEDS) {
    fprintf(stderr, "driver: cannot take seed %s\n", path);
    exit(3);
  }
  uint8_t *p = must(malloc(MAX_SEED_BYTES));
  size_t n = fread(p, 1, MAX_SEED_BYTES, f);
  fclose(f);
  seeds[nseeds++] = (input){must(realloc(p, n ? n : 1)), n};
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void add_path(const char *path) {
  struct stat st;
  if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
    add_file(path);
    return;
  }
  struct dirent **names;
  int n = scandir(path, &names, NULL, by_name);
  for (int i = 0; i < n; i++) {
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
    if (names[i]->d_name[0] != '.') add_file(file);
    free(names[i]);
  }
  if (n >= 0) free(names);
}

static void run(const uint8_t *p, size_t n) {
  uint8_t *copy = must(malloc(n ? n : 1));  // exactly n bytes, so that a sanitizer sees one read too many
  if (n) memcpy(copy, p, n);
  current = (input){copy, n};
  alarm(MAX_INPUT_S);
  LLVMFuzzerTestOneInput(copy, n);
  alarm(0);
  free(copy);
}

// Replace `drop` bytes at `at` by the `n` bytes at `src`.
static void replace(input *b, size_t at, size_t drop, const uint8_t *src, size_t n) {
  if (b->n - drop + n > 2 * MAX_SEED_BYTES) return;
  uint8_t *p = must(malloc(b->n - drop + n + 1));
  memcpy(p, b->p, at);
  if (n) memcpy(p + at, src, n);
  memcpy(p + at + n, b->p + at + drop, b->n - at - drop);
  free(b->p);
  *b = (input){p, b->n - drop + n};
}

// One random change. Numbers that break bounds checks are likelier than others.
static void mutate(input *b) {
  static const uint64_t numbers[] = {0, 1, UINT64_MAX, 0x7fffffff, 0x80000000u, 0xffffffffu, INT64_MAX, (uint64_t)INT64_MIN, 255, 65536};
  static const char *const words[] = {"-1", "0", "99999999999999999999", "1e999", "nan", "\"", "{", "}", "[", "]", "(", ")", "\n", "\\u", ","};
  size_t at = below(b->n + 1), span = below(b->n - at < 32 ? b->n - at + 1 : 32);
  uint8_t byte = (uint8_t)next_random();
  uint64_t number = numbers[below(sizeof numbers / sizeof *numbers)];
  const char *word = words[below(sizeof words / sizeof *words)];
  const input *other = &seeds[below(nseeds)];
  size_t from = below(other->n + 1), take = below(other->n - from < 64 ? other->n - from + 1 : 64);
  switch (below(9)) {
    case 0: if (at < b->n) b->p[at] ^= (uint8_t)(1u << below(8)); break;
    case 1: if (at < b->n) b->p[at] = byte; break;
    case 2: replace(b, at, 0, &byte, 1); break;
    case 3: replace(b, at, span, NULL, 0); break;
    case 4: if (b->n - at >= 8) memcpy(b->p + at, &number, 8); break;
    case 5: if (b->n - at >= 4) memcpy(b->p + at, &number, 4); break;
    case 6: replace(b, at, below(2) ? span : 0, (const uint8_t *)word, strlen(word)); break;
    case 7: replace(b, at, span, other->p + from, take); break;
    case 8: replace(b, at, b->n - at, NULL, 0); break;
  }
}

static void run_mutant(void) {
  const input *seed = &seeds[below(nseeds)];
  input b = {must(malloc(seed->n + 1)), seed->n};
  if (seed->n) memcpy(b.p, seed->p, seed->n);
  for (size_t i = 1 + below(5); i; i--) mutate(&b);
  run(b.p, b.n);
  free(b.p);
}

static uint64_t setting(const char *name, uint64_t otherwise) {
  const char *s = getenv(name);
  return s && *s ? strtoull(s, NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
  static const int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], failed);
  for (int i = 1; i < argc; i++) add_path(argv[i]);
  if (!nseeds) seeds[nseeds++] = (input){must(calloc(1, 1)), 0};
  for (size_t i = 0; i < nseeds; i++) run(seeds[i].p, seeds[i].n);
  uint64_t runs = setting("TS_FUZZ_RUNS", DEFAULT_RUNS), done = 0;
  state = setting("TS_FUZZ_SEED", 1);
  time_t end = time(NULL) + MAX_TOTAL_S;
  for (; done < runs && (getenv("TS_FUZZ_RUNS") || time(NULL) < end); done++) run_mutant();
  printf("%zu seeds, %llu mutations\n", nseeds, (unsigned long long)done);
  for (size_t i = 0; i < nseeds; i++) free(seeds[i].p);
  return 0;
}
