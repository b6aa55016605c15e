// Hardware counters of a call: CUPTI's range profiler, a range for each kernel, the call repeated for as many passes as the counters need. (One
// range around the call would hold tens of microseconds in which nothing runs.) The counters of a GPU belong to one process at a time: they are
// taken for a call and given back after it, since others of ours live at the same time.
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "cuda/cuda.h"

// Source: cupti_range_profiler.h, cupti_profiler_host.h, cupti_profiler_target.h, cupti_target.h. ORDER: tests/cuda/abi.c
#include "cuda/cupti_abi.h"

static const char *const names[] = {
#define COUNTER(name, metric) #name,
#include "cuda/counters.def"
#undef COUNTER
};
static const char *const metrics[] = {
#define COUNTER(name, metric) metric,
#include "cuda/counters.def"
#undef COUNTER
};
enum { COUNTERS = TS_COUNTOF(names), MOST_PASSES = 64, MOST_RANGES = 64, HARDWARE_BUSY = 26 };
_Static_assert((int)COUNTERS == (int)TS_CUDA_COUNTERS, "rows of counters.def");

const char *ts_cuda_counter_name(int i) { return names[i]; }

struct ts_cuda_counters {
  const ts_cuda_cupti *c;
  void *host, *context;
  void *range;  // while the counters are taken
  uint8_t *availability, *config, *data;
  size_t config_n, data_n, n;
  const char *metric[COUNTERS];  // those that this GPU has
  int at[COUNTERS];              // which row each of them is
};

static bool check(const ts_cuda_counters *x, int result, const char *what, ts_diag *d) {
  const char *text = NULL;
  if (!result) return true;
  if (x->c->cuptiGetResultString(result, &text)) text = NULL;
  return ts_env_fail(d, "no-counters", "counters: %s: %s%s", what, text ? text : "unknown error", result == HARDWARE_BUSY ? " (another process has them: a profiler, or DCGM, which `dcgmi profile --pause` stops)" : "");
}

// Ask again for a moment while somebody else has the counters.
static int ask(int (*function)(void *params), void *params) {
  enum { EVERY_US = 20000, TRIES = 50 };
  int result = function(params);
  for (int i = 0; i < TRIES && result == HARDWARE_BUSY; i++) {
    usleep(EVERY_US);
    result = function(params);
  }
  return result;
}

static bool there(const ts_cuda_cupti *c, ts_diag *d) {
  bool all = c->cuptiProfilerInitialize && c->cuptiDeviceGetChipName && c->cuptiProfilerGetCounterAvailability && c->cuptiProfilerHostInitialize && c->cuptiProfilerHostDeinitialize &&
             c->cuptiProfilerHostConfigAddMetrics && c->cuptiProfilerHostGetConfigImageSize && c->cuptiProfilerHostGetConfigImage && c->cuptiProfilerHostEvaluateToGpuValues &&
             c->cuptiRangeProfilerEnable && c->cuptiRangeProfilerDisable && c->cuptiRangeProfilerSetConfig && c->cuptiRangeProfilerStart && c->cuptiRangeProfilerStop &&
             c->cuptiRangeProfilerDecodeData && c->cuptiRangeProfilerGetCounterDataSize && c->cuptiRangeProfilerGetCounterDataInfo &&
             c->cuptiRangeProfilerCounterDataImageInitialize;
  return all || ts_env_fail(d, "no-counters", "counters: this version of CUPTI has no range profiler");
}

// --- what is to be counted --------------------------------------------------------------------------------------------------
static bool open_tables(ts_cuda_counters *x, const char *chip, const uint8_t *availability, ts_diag *d) {
  host_initialize host = {.size = sizeof host, .chip = chip, .availability = availability};
  TS_TRY(check(x, x->c->cuptiProfilerHostInitialize(&host), "the profiler's tables", d));
  x->host = host.host;
  return true;
}

static bool open_host(ts_cuda_counters *x, const ts_cuda *g, ts_diag *d) {
  profiler_initialize init = {.size = sizeof init};
  chip_name chip = {.size = sizeof chip, .device = (size_t)g->ordinal};
  counter_availability av = {.size = sizeof av, .context = g->context};
  TS_TRY(check(x, x->c->cuptiProfilerInitialize(&init), "starting the profiler", d) && check(x, x->c->cuptiDeviceGetChipName(&chip), "the GPU's name", d) &&
         check(x, ask(x->c->cuptiProfilerGetCounterAvailability, &av), "what may be counted", d));
  x->availability = av.image = calloc(av.image_size + 1, 1);
  if (!av.image) return ts_env_fail(d, "out-of-memory", "no memory for counters");
  return check(x, ask(x->c->cuptiProfilerGetCounterAvailability, &av), "what may be counted", d) && open_tables(x, chip.name, av.image, d);
}

static bool configure(ts_cuda_counters *x, ts_diag *d) {
  for (int i = 0; i < COUNTERS; i++) {
    host_metrics m = {.size = sizeof m, .host = x->host, .names = &metrics[i], .n = 1};
    if (x->c->cuptiProfilerHostConfigAddMetrics(&m)) continue;
    x->at[x->n] = i;
    x->metric[x->n++] = metrics[i];
  }
  if (!x->n) return ts_env_fail(d, "no-counters", "counters: this GPU has none of those that are wanted");
  host_config_size size = {.size = sizeof size, .host = x->host};
  TS_TRY(check(x, x->c->cuptiProfilerHostGetConfigImageSize(&size), "a configuration", d));
  x->config_n = size.bytes;
  x->config = calloc(size.bytes + 1, 1);
  if (!x->config) return ts_env_fail(d, "out-of-memory", "no memory for counters");
  host_config config = {.size = sizeof config, .host = x->host, .bytes = x->config_n, .image = x->config};
  return check(x, x->c->cuptiProfilerHostGetConfigImage(&config), "a configuration", d);
}

ts_cuda_counters *ts_cuda_counters_open(const ts_cuda *g, ts_diag *d) {
  const ts_cuda_cupti *c = ts_cuda_cupti_open(d);
  if (!c || !there(c, d)) return NULL;
  ts_cuda_counters *x = calloc(1, sizeof *x);
  if (!x) return ts_env_fail(d, "out-of-memory", "no memory for counters"), NULL;
  x->c = c;
  x->context = g->context;
  if (open_host(x, g, d) && configure(x, d)) return x;
  ts_cuda_counters_close(x);
  return NULL;
}

void ts_cuda_counters_close(ts_cuda_counters *x) {
  if (!x) return;
  host_object host = {.size = sizeof host, .host = x->host};
  if (x->host) (void)x->c->cuptiProfilerHostDeinitialize(&host);
  free(x->availability);
  free(x->config);
  free(x->data);
  free(x);
}

bool ts_cuda_counters_known(const char *chip, bool known[TS_CUDA_COUNTERS], ts_diag *d) {
  ts_cuda_counters x = {.c = ts_cuda_cupti_open(d)};
  if (!x.c || !there(x.c, d) || !open_tables(&x, chip, NULL, d)) return false;
  bool ok = configure(&x, d);
  for (int i = 0; i < COUNTERS; i++) known[i] = false;
  for (size_t i = 0; i < x.n; i++) known[x.at[i]] = true;
  host_object host = {.size = sizeof host, .host = x.host};
  (void)x.c->cuptiProfilerHostDeinitialize(&host);
  free(x.config);
  return ok;
}

// --- counting -------------------------------------------------------------------------------------------------------------------
static bool one_pass(const ts_cuda_counters *x, bool (*run)(void *arg, ts_diag *d), void *arg, bool *last, ts_diag *d) {
  range_object start = {.size = sizeof start, .range = x->range};
  range_stop stop = {.size = offsetof(range_stop, all) + 1, .range = x->range};
  TS_TRY(check(x, x->c->cuptiRangeProfilerStart(&start), "beginning a pass", d));
  bool ok = run(arg, d);
  ok = check(x, x->c->cuptiRangeProfilerStop(&stop), "ending a pass", ok ? d : NULL) && ok;
  *last = stop.all;
  return ok;
}

// The counters, until they are given back, and room for their values.
static bool take(ts_cuda_counters *x, ts_diag *d) {
  range_enable enable = {.size = sizeof enable, .context = x->context};
  TS_TRY(check(x, ask(x->c->cuptiRangeProfilerEnable, &enable), "switching counters on", d));
  x->range = enable.range;
  range_data_size size = {.size = sizeof size, .range = x->range, .names = x->metric, .n = x->n, .ranges = MOST_RANGES, .nodes = MOST_RANGES};
  TS_TRY(check(x, x->c->cuptiRangeProfilerGetCounterDataSize(&size), "memory for values", d));
  x->data = calloc(size.bytes + 1, 1);
  x->data_n = size.bytes;
  return x->data || ts_env_fail(d, "out-of-memory", "no memory for counters");
}

static void give_back(ts_cuda_counters *x) {
  range_object off = {.size = sizeof off, .range = x->range};
  if (x->range) (void)x->c->cuptiRangeProfilerDisable(&off);
  free(x->data);
  x->range = x->data = NULL;
}

static bool adds_up(const char *metric) {
  size_t n = strlen(metric);
  return n > 4 && strcmp(metric + n - 4, ".sum") == 0;
}

// What the kernels of the call have counted, as values of the call.
static bool evaluate(const ts_cuda_counters *x, double values[COUNTERS], ts_diag *d) {
  range_info info = {.size = sizeof info, .image = x->data, .bytes = x->data_n};
  double weight[COUNTERS] = {0}, v[COUNTERS];
  TS_TRY(check(x, x->c->cuptiRangeProfilerGetCounterDataInfo(&info), "reading values", d));
  if (!info.ranges) return ts_env_fail(d, "no-counters", "counters: no kernel was counted");
  for (size_t i = 0; i < x->n; i++) values[i] = 0;
  for (size_t r = 0; r < info.ranges; r++) {
    host_values of = {.size = sizeof of, .host = x->host, .data = x->data, .data_n = x->data_n, .index = r, .names = x->metric, .n = x->n, .values = v};
    TS_TRY(check(x, x->c->cuptiProfilerHostEvaluateToGpuValues(&of), "reading values", d));
    double ns = x->at[0] == 0 && isfinite(v[0]) && v[0] > 0 ? v[0] : 1;  // ORDER: the time is the first row of counters.def
    for (size_t i = 0; i < x->n; i++) {
      bool sum = adds_up(x->metric[i]);
      if (!isfinite(v[i])) continue;
      values[i] += sum ? v[i] : v[i] * ns;
      weight[i] = sum ? 1 : weight[i] + ns;
    }
  }
  for (size_t i = 0; i < x->n; i++) values[i] = weight[i] > 0 ? values[i] / weight[i] : NAN;
  return true;
}

static bool count(ts_cuda_counters *x, bool (*run)(void *arg, ts_diag *d), void *arg, double v[COUNTERS], ts_diag *d) {
  bool last = false;
  range_data data = {.size = sizeof data, .range = x->range, .bytes = x->data_n, .image = x->data};
  range_config config = {.size = offsetof(range_config, target_level) + sizeof config.target_level, .range = x->range, .config_n = x->config_n, .config = x->config, .data_n = x->data_n, .data = x->data,
                         .mode = RANGE_OF_KERNEL, .replay = REPLAY_BY_USER, .ranges = MOST_RANGES, .levels = 1, .least_level = 1};
  TS_TRY(check(x, x->c->cuptiRangeProfilerCounterDataImageInitialize(&data), "memory for values", d) && check(x, x->c->cuptiRangeProfilerSetConfig(&config), "choosing counters", d));
  for (int i = 0; i < MOST_PASSES && !last; i++) TS_TRY(one_pass(x, run, arg, &last, d));
  range_decode decode = {.size = sizeof decode, .range = x->range};
  return check(x, x->c->cuptiRangeProfilerDecodeData(&decode), "reading values", d) && evaluate(x, v, d);
}

bool ts_cuda_count(ts_cuda_counters *x, bool (*run)(void *arg, ts_diag *d), void *arg, double values[TS_CUDA_COUNTERS], ts_diag *d) {
  double v[COUNTERS];
  for (int i = 0; i < COUNTERS; i++) values[i] = NAN;
  bool ok = take(x, d) && count(x, run, arg, v, d);
  give_back(x);
  for (size_t i = 0; i < x->n && ok; i++)
    if (isfinite(v[i])) values[x->at[i]] = v[i];
  return ok;
}
