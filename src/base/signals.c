/*
** signals.c - the names of signals.
*/
#include "base/signals.h"

#include <signal.h>
#include <string.h>

static const struct {
  const char *name;
  int number;
} SIGNALS[] = {{"SIGHUP", SIGHUP},   {"SIGINT", SIGINT},   {"SIGQUIT", SIGQUIT}, {"SIGUSR1", SIGUSR1},
               {"SIGUSR2", SIGUSR2}, {"SIGPIPE", SIGPIPE}, {"SIGALRM", SIGALRM}, {"SIGTERM", SIGTERM},
               {"SIGCHLD", SIGCHLD}, {"SIGCONT", SIGCONT}, {"SIGTSTP", SIGTSTP}, {"SIGTTIN", SIGTTIN},
               {"SIGTTOU", SIGTTOU}, {"SIGWINCH", SIGWINCH}, {"SIGKILL", SIGKILL}, {"SIGSTOP", SIGSTOP},
               {"SIGABRT", SIGABRT}, {"SIGSEGV", SIGSEGV}, {"SIGBUS", SIGBUS},   {"SIGFPE", SIGFPE},
               {"SIGILL", SIGILL},   {"SIGTRAP", SIGTRAP}, {"SIGSYS", SIGSYS},   {"SIGURG", SIGURG},
               {"SIGXCPU", SIGXCPU}, {"SIGXFSZ", SIGXFSZ}, {"SIGPROF", SIGPROF}, {"SIGVTALRM", SIGVTALRM}};

const char *signal_name(int number) {
  for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++)
    if (SIGNALS[i].number == number) return SIGNALS[i].name;
  return NULL;
}

int signal_number(const char *name) {
  for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++)
    if (!strcmp(SIGNALS[i].name, name)) return SIGNALS[i].number;
  return 0;
}
