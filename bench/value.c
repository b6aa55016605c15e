// value FILE PATH...: print the values at paths of a JSON file, one a line. A path is keys and indices joined by points:
// "tests.1.median"; a part KEY=TEXT chooses the first element of an array whose KEY is TEXT: "tests.name=tg64.median".
// FILE "-" is standard input. Exit status 1 when a path leads nowhere.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *choose(const json_t *array, const char *key, const char *text) {
  for (size_t i = 0; i < json_array_size(array); i++) {
    const json_t *o = json_array_get(array, i);
    const char *s = json_string_value(json_object_get(o, key));
    if (s && !strcmp(s, text)) return o;
  }
  return NULL;
}

static const json_t *step(const json_t *v, char *part) {
  char *equal = strchr(part, '=');
  if (json_is_object(v)) return json_object_get(v, part);
  if (!json_is_array(v)) return NULL;
  if (!equal) return json_array_get(v, strtoul(part, NULL, 10));
  *equal = 0;
  return choose(v, part, equal + 1);
}

int main(int argc, char **argv) {
  json_error_t e;
  json_t *root = argc < 3 ? NULL : strcmp(argv[1], "-") ? json_load_file(argv[1], 0, &e) : json_loadf(stdin, 0, &e);
  if (!root) {
    fprintf(stderr, argc < 3 ? "usage: value FILE PATH...\n" : "value: %s is not JSON: %s\n", argv[1], e.text);
    return 2;
  }
  int status = 0;
  for (int i = 2; i < argc; i++) {
    const json_t *v = root;
    for (char *save, *part = strtok_r(argv[i], ".", &save); part && v; part = strtok_r(NULL, ".", &save)) v = step(v, part);
    if (json_is_string(v)) puts(json_string_value(v));
    else if (json_is_integer(v)) printf("%lld\n", (long long)json_integer_value(v));
    else if (json_is_real(v)) printf("%.6g\n", json_real_value(v));
    else if (json_is_boolean(v)) puts(json_is_true(v) ? "true" : "false");
    else status = 1;
  }
  json_decref(root);
  return status;
}
