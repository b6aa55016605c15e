// Seals: a magic and a 64-bit checksum at the end of a file. Readers of formats that end before it do not see it.
#include "base/base.h"

enum { MAGIC = 8 };
static const char magic[MAGIC + 1] = "tsseal1\n";  // the number is that of the checksum

static void put_checksum(uint8_t out[8], const void *p, size_t n) {
  uint64_t h = ts_hash64(p, n, 0);
  for (int i = 0; i < 8; i++) out[i] = (uint8_t)(h >> (8 * i));
}

void ts_seal(void *p, size_t n) {
  uint8_t *seal = (uint8_t *)p + n;
  memcpy(seal, magic, MAGIC);
  put_checksum(seal + MAGIC, p, n);
}

ts_seal_state ts_seal_check(const void *p, size_t n) {
  if (n < TS_SEAL_BYTES) return TS_SEAL_NONE;
  const uint8_t *seal = (const uint8_t *)p + n - TS_SEAL_BYTES;
  uint8_t want[8];
  if (memcmp(seal, magic, MAGIC) != 0) return TS_SEAL_NONE;
  put_checksum(want, p, n - TS_SEAL_BYTES);
  return memcmp(seal + MAGIC, want, sizeof want) == 0 ? TS_SEAL_HOLDS : TS_SEAL_BROKEN;
}
