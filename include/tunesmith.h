/* tunesmith: run a built model from C or C++.
 *
 * A model directory is what `tunesmith build` makes. Open it once; make a session for each sequence of tokens. All text is
 * UTF-8. Calls on one model, its sessions included, must come from one thread at a time; the model's own threads do the work.
 *
 * Every function that can fail returns a status and, when `error` is not NULL, fills it in. Outputs are only set on success.
 * The caller frees: models with tunesmith_close, sessions with tunesmith_session_free, arrays with tunesmith_free.
 */
#ifndef TUNESMITH_H
#define TUNESMITH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TUNESMITH_API __attribute__((visibility("default")))
#else
#define TUNESMITH_API
#endif

typedef enum tunesmith_status {
  TUNESMITH_OK = 0,
  TUNESMITH_REFUSED = 2,     /* this input cannot be served: wrong file, wrong value, context full */
  TUNESMITH_ENVIRONMENT = 3, /* the system failed: no such file, no memory */
  TUNESMITH_BUG = 70         /* tunesmith failed */
} tunesmith_status;

typedef struct tunesmith_error {
  tunesmith_status status;
  char code[40];      /* stable identifier, "context-full" */
  char message[1000]; /* one line that names the file and the fact */
  char hint[300];     /* what to do, or "" */
} tunesmith_error;

/* The version of this library, "0.1.0". */
TUNESMITH_API const char *tunesmith_version(void);

/* --- models ------------------------------------------------------------------------------------------------ */

typedef struct tunesmith_model tunesmith_model;

typedef struct tunesmith_options {
  int threads;         /* 0: one per physical core. The calling thread is one of them and is pinned to a core */
  const char *library; /* path of a model library; NULL: the one in the directory */
} tunesmith_options;

typedef struct tunesmith_info {
  const char *name, *arch, *quantization; /* valid until the model is closed */
  int64_t vocab, context;                 /* tokens */
  int64_t layers, hidden;
  size_t weight_bytes;                    /* in memory, once for all sessions */
  size_t session_bytes;                   /* in memory for each session; in a model with pages: at most */
  int threads;
} tunesmith_info;

/* options may be NULL. */
TUNESMITH_API tunesmith_status tunesmith_open(const char *directory, const tunesmith_options *options, tunesmith_model **model,
                                              tunesmith_error *error);
/* Sessions of the model must be freed before. Accepts NULL. */
TUNESMITH_API void tunesmith_close(tunesmith_model *model);
TUNESMITH_API void tunesmith_get_info(const tunesmith_model *model, tunesmith_info *info);

/* --- text and tokens ---------------------------------------------------------------------------------------- */

/* special: not 0 to add what the model puts around a text (a beginning-of-sequence token). */
TUNESMITH_API tunesmith_status tunesmith_tokenize(const tunesmith_model *model, const char *text, size_t bytes, int special,
                                                  int32_t **ids, size_t *count, tunesmith_error *error);
/* special: not 0 to show special tokens. *text ends with a NUL that *bytes does not count. */
TUNESMITH_API tunesmith_status tunesmith_detokenize(const tunesmith_model *model, const int32_t *ids, size_t count, int special,
                                                    char **text, size_t *bytes, tunesmith_error *error);
/* Free what tunesmith_tokenize or tunesmith_detokenize gave. Accepts NULL. */
TUNESMITH_API void tunesmith_free(void *p);

/* --- sessions ----------------------------------------------------------------------------------------------- */

typedef struct tunesmith_session tunesmith_session;

/* Called with new text, whole UTF-8 characters, not NUL-terminated. Return 0 to stop. */
typedef int (*tunesmith_text_fn)(void *arg, const char *text, size_t bytes);

typedef struct tunesmith_sampling {
  double temperature;        /* 0: always the likeliest token */
  double top_p;              /* in (0, 1]; 1 is off */
  int64_t top_k;             /* 0 is off */
  double repetition_penalty; /* 1 is off */
  uint64_t seed;             /* same model, text, settings and seed: same answer */
  int64_t max_tokens;        /* 0: until the context is full */
} tunesmith_sampling;

typedef enum tunesmith_stop {
  TUNESMITH_STOP_END = 1,     /* the model ended its answer */
  TUNESMITH_STOP_STRING = 2,  /* a stop text of the model came up */
  TUNESMITH_STOP_LENGTH = 3,  /* max_tokens */
  TUNESMITH_STOP_CONTEXT = 4, /* the context is full */
  TUNESMITH_STOP_CALLER = 5   /* the callback returned 0 */
} tunesmith_stop;

typedef struct tunesmith_result {
  int64_t prompt_tokens;  /* computed now; those that were in the session already are not counted */
  int64_t new_tokens;
  double prompt_seconds;  /* of the prompt */
  double first_seconds;   /* from the call to the first token */
  double decode_seconds;  /* of the tokens after the first */
  tunesmith_stop stop;
} tunesmith_result;

/* The sampling settings of the model's configuration. */
TUNESMITH_API tunesmith_sampling tunesmith_default_sampling(const tunesmith_model *model);

TUNESMITH_API tunesmith_status tunesmith_session_new(tunesmith_model *model, tunesmith_session **session, tunesmith_error *error);
/* Another session that begins as this one is now, conversation included: a system message or a long text that many answers begin with is
 * computed once. In a model that was built with pages both have the same memory until one goes on; else the tokens are computed again. */
TUNESMITH_API tunesmith_status tunesmith_session_fork(const tunesmith_session *from, tunesmith_session **session, tunesmith_error *error);
TUNESMITH_API void tunesmith_session_free(tunesmith_session *session); /* accepts NULL */
TUNESMITH_API void tunesmith_session_reset(tunesmith_session *session); /* forget tokens and conversation */
TUNESMITH_API int64_t tunesmith_session_length(const tunesmith_session *session); /* tokens in the cache */

/* Continue a sequence of tokens. A beginning that the session has computed before is not computed again. sampling NULL: the model's
 * own settings; text and result may be NULL. Do not mix with tunesmith_say on one session without a reset. */
TUNESMITH_API tunesmith_status tunesmith_generate(tunesmith_session *session, const int32_t *ids, size_t count,
                                                  const tunesmith_sampling *sampling, tunesmith_text_fn text, void *arg,
                                                  tunesmith_result *result, tunesmith_error *error);

/* A turn of a conversation in the model's own template: the user says `message`, the answer goes to `text`. */
TUNESMITH_API tunesmith_status tunesmith_say(tunesmith_session *session, const char *message, const tunesmith_sampling *sampling,
                                             tunesmith_text_fn text, void *arg, tunesmith_result *result, tunesmith_error *error);
/* The system message of the conversation; NULL: the model's own. Takes effect with the next turn. */
TUNESMITH_API void tunesmith_set_system(tunesmith_session *session, const char *system);

/* The logits after each of `count` tokens: row(arg, position, logits, vocab) in order; return 0 from it to stop (status REFUSED, code
 * "stopped"). The session begins anew. */
typedef int (*tunesmith_row_fn)(void *arg, int64_t position, const float *logits, int64_t vocab);
TUNESMITH_API tunesmith_status tunesmith_score(tunesmith_session *session, const int32_t *ids, size_t count, tunesmith_row_fn row,
                                               void *arg, tunesmith_error *error);

#ifdef __cplusplus
}
#endif

#endif
