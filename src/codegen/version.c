// Which LLVM this program runs with.
#include <llvm-c/Core.h>

#include "codegen/codegen.h"

const char *ts_codegen_compiler(void) {
  static char text[32];
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  snprintf(text, sizeof text, "%u.%u.%u", major, minor, patch);
  return text;
}
