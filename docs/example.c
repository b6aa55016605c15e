/* Ask a model one question. In the repository:
   cc docs/example.c -Iinclude -Lbuild/check/lib -Wl,-rpath,$PWD/build/check/lib -ltunesmith && ./a.out dist/tiny-q4f16_1 "Who is Mia?" */
#include <stdio.h>
#include <tunesmith.h>

static int show(void *arg, const char *text, size_t bytes) {
  fwrite(text, 1, bytes, arg);
  return 1; /* go on */
}

static int failed(const tunesmith_error *e) {
  fprintf(stderr, "%s [%s]\n", e->message, e->code);
  return (int)e->status;
}

int main(int argc, char **argv) {
  tunesmith_model *model;
  tunesmith_session *session;
  tunesmith_sampling how;
  tunesmith_result result;
  tunesmith_error error;
  if (argc != 3) return fprintf(stderr, "usage: %s DIR QUESTION\n", argv[0]), 2;
  if (tunesmith_open(argv[1], NULL, &model, &error)) return failed(&error);
  if (tunesmith_session_new(model, &session, &error)) return failed(&error);
  how = tunesmith_default_sampling(model);
  how.temperature = 0;
  how.max_tokens = 64;
  if (tunesmith_say(session, argv[2], &how, show, stdout, &result, &error)) return failed(&error);
  printf("\n%lld tokens, the first after %.3f s\n", (long long)result.new_tokens, result.first_seconds);
  tunesmith_session_free(session);
  tunesmith_close(model);
  return 0;
}
