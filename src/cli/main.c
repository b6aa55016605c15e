// tunesmith: the command line.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "cli/cli.h"

typedef struct command {
  const char *name, *help;
  int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
#define CMD(name, help) {#name, help, ts_cmd_##name},
#include "cli/commands.def"
#undef CMD
};

static void usage(FILE *f) {
  fprintf(f, "tunesmith " TS_VERSION ": tune, build, run and measure kernels of quantized language models\n\nusage: tunesmith COMMAND [options]\n\n");
  for (size_t i = 0; i < TS_COUNTOF(commands); i++) fprintf(f, "  %-12s %s\n", commands[i].name, commands[i].help);
  fprintf(f, "\ntunesmith COMMAND --help explains a command.\n");
}

// The exit code of a command, unless its output could not be written.
static int finish(int code) {
  if (!fflush(stdout) && !ferror(stdout)) return code;
  fprintf(stderr, "error: standard output: %s  [write-failed]\n", strerror(errno));
  return 3;
}

// A closed standard descriptor would be given to the next file that is opened, and what is said would be written into it. In its
// place stands one that cannot be written.
static void hold_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", O_RDONLY);  // the lowest that is free: fd
}

static const command *find(const char *name) {
  for (size_t i = 0; i < TS_COUNTOF(commands); i++)
    if (!strcmp(commands[i].name, name)) return &commands[i];
  return NULL;
}

static int no_command(const char *name) {
  fprintf(stderr, "error: no command '%s'  [no-such-command]\n  hint: tunesmith --help lists the commands\n", name);
  return 2;
}

// "help COMMAND" is "COMMAND --help".
static int help(int argc, char **argv) {
  if (argc < 2) return usage(stdout), 0;
  const command *c = find(argv[1]);
  char *words[] = {argv[1], "--help", NULL};
  return c ? c->run(2, words) : no_command(argv[1]);
}

int main(int argc, char **argv) {
  hold_descriptors();
  ts_interrupt_install();
  signal(SIGXFSZ, SIG_IGN);  // a file at its size limit fails the write, as a full disk does
  if (argc < 2) return usage(stderr), 2;
  const char *name = argv[1];
  if (!strcmp(name, "--help") || !strcmp(name, "-h")) return finish((usage(stdout), 0));
  if (!strcmp(name, "help")) return finish(help(argc - 1, argv + 1));
  if (!strcmp(name, "--version")) return puts("tunesmith " TS_VERSION), 0;
  const command *c = find(name);
  return c ? finish(c->run(argc - 1, argv + 1)) : no_command(name);
}
