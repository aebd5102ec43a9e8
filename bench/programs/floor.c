/*
** floor.c - floor spawn|cat|flow N: the floor of programs: `true` by posix_spawn and waitpid, N times; or N MB through
** `cat`, written and read by one loop of poll: all at once, into one block; or in pieces, of which none is kept. Prints
** the seconds of one.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/wait.h>

#define MB 1000000
#define PIECE 65536
#define WARM 20

extern char **environ;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int ok) {
  if (ok) return;
  perror("floor");
  exit(1);
}

static void wait_for(pid_t pid) {
  int status;
  must(waitpid(pid, &status, 0) == pid && status == 0);
}

static void spawn_true(void) {
  char *argv[] = {"true", NULL};
  pid_t pid;
  must(posix_spawnp(&pid, "true", NULL, NULL, argv, environ) == 0);
  wait_for(pid);
}

static pid_t start_cat(int *in, int *out) {
  char *argv[] = {"cat", NULL};
  int to[2], from[2];
  pid_t pid;
  posix_spawn_file_actions_t actions;
  must(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], 0);
  posix_spawn_file_actions_adddup2(&actions, from[1], 1);
  must(posix_spawnp(&pid, "cat", &actions, NULL, argv, environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  *in = to[1];
  *out = from[0];
  fcntl(*in, F_SETFL, O_NONBLOCK);
  fcntl(*out, F_SETFL, O_NONBLOCK);
  return pid;
}

/* What went through: `output` is NULL where none is kept. */
typedef struct Flow {
  const char *input; /* all of it; or a piece, again and again */
  char *output;
  size_t n, sent, got, room;
} Flow;

/* Whether there is more to write. */
static int write_some(Flow *f, int fd, int keep) {
  size_t left = f->n - f->sent;
  ssize_t k = keep ? write(fd, f->input + f->sent, left) : write(fd, f->input, left < PIECE ? left : PIECE);
  must(k > 0 || errno == EAGAIN);
  if (k > 0) f->sent += (size_t)k;
  return f->sent < f->n;
}

/* Whether there may be more to read. */
static int read_some(Flow *f, int fd, int keep) {
  if (keep && f->room - f->got < PIECE) f->output = realloc(f->output, f->room *= 2);
  must(f->output != NULL);
  ssize_t k = read(fd, keep ? f->output + f->got : f->output, keep ? f->room - f->got : PIECE);
  must(k >= 0 || errno == EAGAIN);
  if (k > 0) f->got += (size_t)k;
  return k != 0;
}

static void through_cat(Flow *f, int keep) {
  struct pollfd p[2] = {{.events = POLLOUT}, {.events = POLLIN}};
  pid_t pid = start_cat(&p[0].fd, &p[1].fd);
  f->room = PIECE;
  f->output = malloc(f->room);
  for (int more = 1; more;) {
    must(poll(p, 2, -1) > 0);
    if (p[0].revents && !write_some(f, p[0].fd, keep)) {
      close(p[0].fd);
      p[0].fd = -1;
    }
    if (p[1].revents) more = read_some(f, p[1].fd, keep);
  }
  close(p[1].fd);
  wait_for(pid);
}

static double measure_cat(size_t n, int keep) {
  char *input = malloc(keep ? n : PIECE);
  must(input != NULL);
  memset(input, 'x', keep ? n : PIECE);
  Flow f = {.input = input, .n = n};
  double begun = now();
  through_cat(&f, keep);
  double took = now() - begun;
  must(f.got == n && !(keep && memcmp(input, f.output, n)));
  free(f.output);
  free(input);
  return took;
}

static double measure_spawn(int n) {
  for (int i = 0; i < WARM; i++) spawn_true();
  double begun = now();
  for (int i = 0; i < n; i++) spawn_true();
  return (now() - begun) / n;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int n = atoi(argv[2]);
  printf("%.9f\n", !strcmp(argv[1], "spawn") ? measure_spawn(n) : measure_cat((size_t)n * MB, !strcmp(argv[1], "cat")));
  return 0;
}
