// limits_host: what templates say of the scales that they take ("limit max |ws| < 2"), against the halves that their code makes of all scales
// and codes: below the limit numbers, rounded as is said here; from it on some that are none.
#include "host.h"

#include <cmath>
#include <fstream>
#include <string>

#include "share64_q4.cuh"

typedef void (*halves)(u32 (&)[4][4], uint4, uint2);

// The number of a limit in a template's header; 0: it has none such.
static double limit(const char *path, const std::string &compare) {
  std::ifstream in(path);
  const std::string form = "limit     max |ws| " + compare + " ";
  for (std::string line; std::getline(in, line) && line != "*/";)
    if (line.compare(0, form.size(), form) == 0) return std::stod(line.substr(form.size()));
  return 0;
}

// times: how much too small the halves are. step: how far weights near zero may be off.
static int check(const char *path, halves make, double times, double step) {
  const double below = limit(path, "<"), least = limit(path, ">=");
  double first = INFINITY;
  for (u32 bits = 1; bits < 0x7c00; bits++) {
    const double scale = host_half((u16)bits);
    bool numbers = true;
    for (u32 code = 0; code < 16; code++) {
      const u32 word = code * 0x11111111u, s = bits << 16 | bits;
      u32 a[4][4];
      make(a, uint4{word, word, word, word}, uint2{s, s});
      for (int i = 0; i < 16; i++) {
        const double got = times * host_half((u16)a[i / 4][i % 4]), want = (int(code) - 7) * scale;
        if (!std::isfinite(got)) numbers = false;
        else if (scale < below && std::fabs(got - want) > std::fmax(std::fabs(want) / 2048, step) * 1.001) {
          printf("%s: code %u of scale %g is %g, not %g\n", path, code, scale, got, want);
          return 1;
        }
      }
    }
    if (!numbers) first = std::fmin(first, scale);
  }
  // What is least: the step is a tenth of one of the codes at most, which on the average is within the operator's tolerance.
  if (first == below && (step < 1e-7 || least >= 10 * step)) return 0;
  printf("%s: the limits are %g and %g; scales from %g on make no numbers, and the step is %g\n", path, below, least, first, step);
  return 1;
}

int main() {
  int wrong = check(FOLDER "/mma.share64.cu", share_halves, 64, std::ldexp(1.0, -18));
  wrong += check(FOLDER "/mma.gemm.cu", gemm_halves, 1, std::ldexp(1.0, -24));
  wrong += check(FOLDER "/mma.wide.cu", gemm_halves, 1, std::ldexp(1.0, -24));
  return wrong;
}
