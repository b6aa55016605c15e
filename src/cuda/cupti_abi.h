// Parameter structures of CUPTI's range profiler, as its headers lay them out: size first, then a pointer that stays NULL. ORDER: tests/cuda/abi.c
#ifndef TS_CUDA_CUPTI_ABI_H
#define TS_CUDA_CUPTI_ABI_H

#include <stddef.h>
#include <stdint.h>

enum { RANGE_OF_KERNEL = 1, REPLAY_BY_USER = 3 };
typedef struct profiler_initialize {
  size_t size;
  void *priv;
} profiler_initialize;
typedef struct chip_name {
  size_t size;
  void *priv;
  size_t device;
  const char *name;
} chip_name;
typedef struct counter_availability {
  size_t size;
  void *priv, *context;
  size_t image_size;
  uint8_t *image;
} counter_availability;
typedef struct host_initialize {
  size_t size;
  void *priv;
  int kind;  // 0: the range profiler
  const char *chip;
  const uint8_t *availability;
  void *host;
} host_initialize;
typedef struct host_object {
  size_t size;
  void *priv, *host;
} host_object;
typedef struct host_metrics {
  size_t size;
  void *priv, *host;
  const char *const *names;
  size_t n;
} host_metrics;
typedef struct host_config_size {
  size_t size;
  void *priv, *host;
  size_t bytes;
} host_config_size;
typedef struct host_config {
  size_t size;
  void *priv, *host;
  size_t bytes;
  uint8_t *image;
} host_config;
typedef struct host_values {
  size_t size;
  void *priv, *host;
  const uint8_t *data;
  size_t data_n, index;
  const char *const *names;
  size_t n;
  double *values;
} host_values;
typedef struct range_enable {
  size_t size;
  void *priv, *context, *range;
} range_enable;
typedef struct range_object {
  size_t size;
  void *priv, *range;
} range_object;
typedef struct range_config {
  size_t size;
  void *priv, *range;
  size_t config_n;
  const uint8_t *config;
  size_t data_n;
  uint8_t *data;
  int mode, replay;
  size_t ranges;
  uint16_t levels, least_level;
  size_t pass;
  uint16_t target_level;
} range_config;
typedef struct range_stop {
  size_t size;
  void *priv, *range;
  size_t pass, level;
  uint8_t all;  // passes were made
} range_stop;
typedef struct range_decode {
  size_t size;
  void *priv, *range;
  size_t dropped;
} range_decode;
typedef struct range_data_size {
  size_t size;
  void *priv, *range;
  const char *const *names;
  size_t n, ranges;
  uint32_t nodes;
  size_t bytes;
} range_data_size;
typedef struct range_info {
  size_t size;
  void *priv;
  const uint8_t *image;
  size_t bytes, ranges;
} range_info;
typedef struct range_data {
  size_t size;
  void *priv, *range;
  size_t bytes;
  uint8_t *image;
} range_data;

#endif
