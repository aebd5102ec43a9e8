/*
** host.c - lets allocations fail, or finalisers run at them, one after the other, and sees what comes of it.
**
**   host [-p PART] [-m MODE] [-n N] [-s SAMPLES] [-r SEED] [-j JOBS] [-l LIMIT] [-w K/N] [-v] scenario.lua
**
** Every part of the scenario runs in a process of its own for each n of each mode:
**   lua-once   Lua's allocator fails at its n-th call, and at the retry that follows an emergency
**              collection
**   lua-rest   it fails at every call from the n-th on, until control is back here
**   c-once, c-rest   the same for the allocations of our C (alloc.h)
**   thread-lua-once, thread-lua-rest, thread-c-once, thread-c-rest   the same on other threads: in the
**              states of workers, which have an allocator of their own, and in our C there
**   tls-once, tls-rest   the same for OpenSSL's own, in the parts whose names begin with "tls"
** Calls are counted for the loop's thread and for all others apart, so what a thread does at its own pace
** shifts no n of the loop's. Among threads, and where the loop sees sooner or later what they did, the n-th
** call is not the same one in each run; but it fails, whichever it is, and must end well.
** Each must end by itself, with or without an error; then the same state must run a program, and be
** closed without leaving a block of either allocator, or a descriptor, behind. Lua never calls a
** finaliser again that it had no memory to call: then our blocks and descriptors may be left.
** A scenario with the field `finalisers` has modes of its own:
**   finaliser       at Lua's n-th allocation a full collection runs whatever finaliser the part has left, at
**                   the first place where Lua can: the code of a stranger, in the middle of ours
**   finaliser-rest  ... and at every allocation from the first on
** -n N: that n only. -s: so many n of each part and mode, chosen at random. -l: up to that n.
** -P PATTERN: parts whose name has it. -w K/N: of the parts, or of the calls of
** finalisers, every N-th, from the K-th on: N processes do all.
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <uv.h>

#if defined(HOST_OPENSSL)
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/ssl.h>
#endif

#include "base/alloc.h"

int luaopen_asyncio_core(lua_State *L);
int luaopen_asyncio_editor(lua_State *L);
int luaopen_asyncio_grammar(lua_State *L);
#if defined(HOST_OPENSSL)
int luaopen_asyncio_openssl(lua_State *L);
#endif

#define LIMIT_SECONDS 20 /* what takes longer hangs */
#define MAX_JOBS 16
#define LOG_LINES 40     /* shown of what a failed run wrote */

enum { LEAK = 90, DESCRIPTORS, UNHEALTHY, HANG, WRONG };

/* Failing */

typedef struct Failer {
  atomic_long calls, at; /* at: the call that fails; 0: none */
  atomic_bool rest;      /* ... and all after it */
  atomic_bool paused;    /* nothing is counted yet */
} Failer;

static Failer in_lua, in_c, in_thread_lua, in_thread_c, in_tls, finaliser;
static Failer *const FAILERS[] = {&in_lua, &in_c, &in_thread_lua, &in_thread_c, &in_tls, &finaliser};
#define NFAILERS ((int)(sizeof FAILERS / sizeof *FAILERS))
static lua_State *state;                    /* the one under test; NULL once it is closed */
static atomic_long lua_blocks, c_blocks;    /* of all threads: they free each other's */
static _Thread_local bool is_loop_s_thread; /* the first one */
static _Thread_local bool retrying;         /* Lua's next call is the retry */

static bool fails(Failer *f) {
  if (atomic_load(&f->paused)) return false;
  long call = atomic_fetch_add(&f->calls, 1) + 1, at = atomic_load(&f->at);
  return at && (call == at || (call > at && atomic_load(&f->rest)));
}

static void fail_at(Failer *f, long at, bool rest) {
  atomic_store(&f->calls, 0);
  atomic_store(&f->rest, rest);
  atomic_store(&f->at, at);
}

static void fail_no_more(void) {
  for (int i = 0; i < NFAILERS; i++) fail_at(FAILERS[i], 0, false);
}

/* The collector stands still until the n-th allocation. Setting it going again allocates nothing, and is all
** that can be done here: Lua collects, and calls finalisers, at the next place where it may. */
static void run_finaliser(const Failer *f) {
  if (f == &in_lua && fails(&finaliser) && state) lua_gc(state, LUA_GCRESTART);
}

static void *lua_allocator(void *failer, void *block, size_t old, size_t size) {
  Failer *f = failer;
  if (!size) {
    if (block) atomic_fetch_sub(&lua_blocks, 1);
    free(block);
    return NULL;
  }
  if (!block || size > old) {
    run_finaliser(f);
    bool retry = retrying;
    retrying = false;
    if (retry) return NULL;
    if (fails(f)) {
      retrying = !atomic_load(&f->rest);
      return NULL;
    }
  }
  void *got = realloc(block, size);
  if (got && !block) atomic_fetch_add(&lua_blocks, 1);
  return got;
}

static lua_State *new_state(void) { return lua_newstate(lua_allocator, &in_lua); }

static void on_warning(void *ud, const char *message, int to_be_continued);

/* A worker's. */
lua_State *asy_newstate(void) {
  lua_State *L = lua_newstate(lua_allocator, &in_thread_lua);
  if (L) lua_setwarnf(L, on_warning, NULL);
  return L;
}

static bool c_fails(void) { return fails(is_loop_s_thread ? &in_c : &in_thread_c); }

void *mem_alloc(size_t size) {
  if (c_fails()) return NULL;
  atomic_fetch_add(&c_blocks, 1);
  return malloc(size);
}

void *mem_calloc(size_t n, size_t size) {
  if (c_fails()) return NULL;
  atomic_fetch_add(&c_blocks, 1);
  return calloc(n, size);
}

void *mem_realloc(void *block, size_t size) {
  if (c_fails()) return NULL;
  if (!block) atomic_fetch_add(&c_blocks, 1);
  return realloc(block, size);
}

void mem_free(void *block) {
  if (block) atomic_fetch_sub(&c_blocks, 1);
  free(block);
}

#if defined(HOST_OPENSSL)

/* OpenSSL's. What it keeps for good is nobody's leak: LeakSanitizer finds the others. */

/* malloc says it so: OpenSSL doesn't always. */
static bool tls_fails(void) {
  if (!fails(&in_tls)) return false;
  errno = ENOMEM;
  return true;
}

static void *tls_alloc(size_t size, const char *file, int line) {
  (void)file;
  (void)line;
  return tls_fails() ? NULL : malloc(size);
}

static void *tls_realloc(void *block, size_t size, const char *file, int line) {
  (void)file;
  (void)line;
  return tls_fails() ? NULL : realloc(block, size);
}

static void tls_free(void *block, const char *file, int line) {
  (void)file;
  (void)line;
  free(block);
}

/* LeakSanitizer's, where it is there. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void on_decoder(OSSL_DECODER *decoder, void *arg) {
  (void)decoder;
  (void)arg;
}

/* What it makes once in a process has no part in it. Nor is it a leak of ours when OpenSSL 3.0 loses it: without
** memory to look a name up, it takes the name for a new one, and puts that in the known one's place. */
static bool tls_begin(void) {
  if (!CRYPTO_set_mem_functions(tls_alloc, tls_realloc, tls_free)) return false;
  if (__lsan_disable) __lsan_disable();
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  SSL_CTX_free(context);
  OSSL_DECODER_do_all_provided(NULL, on_decoder, NULL);
  if (__lsan_enable) __lsan_enable();
  return context != NULL;
}

#else

static bool tls_begin(void) { return true; }

#endif

/* What the scenario needs of the system */

#define MAX_PIPES 8

static int pipes[MAX_PIPES], npipes; /* closed at the end */

static int host_pipe(lua_State *L) {
  int *ends = pipes + npipes;
  if (npipes + 2 > MAX_PIPES || pipe2(ends, O_CLOEXEC | O_NONBLOCK)) return luaL_error(L, "no pipe");
  npipes += 2;
  lua_pushinteger(L, ends[0]);
  lua_pushinteger(L, ends[1]);
  return 2;
}

static int host_write(lua_State *L) {
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  lua_pushinteger(L, write((int)luaL_checkinteger(L, 1), bytes, n));
  return 1;
}

static int host_read(lua_State *L) {
  char bytes[256];
  ssize_t n = read((int)luaL_checkinteger(L, 1), bytes, sizeof bytes);
  lua_pushlstring(L, bytes, n > 0 ? (size_t)n : 0);
  return 1;
}

static char path[64]; /* removed at the end */

/* Where nothing is yet. */
static int host_path(lua_State *L) {
  if (!*path) {
    snprintf(path, sizeof path, "/tmp/lua-asyncio-oom-%ld", (long)getpid());
    unlink(path); /* of one that had the same number, and crashed */
  }
  lua_pushstring(L, path);
  return 1;
}

/* Standard input and output become a terminal of that kind, into which this is typed, ahead: so one that is
** to be edited on is raw from the start. */
static int host_terminal(lua_State *L) {
  struct termios raw;
  size_t n;
  const char *keys = luaL_checklstring(L, 1, &n), *term = luaL_checkstring(L, 2);
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0 || npipes + 1 > MAX_PIPES) return luaL_error(L, "no terminal");
  pipes[npipes++] = master;
  int slave = grantpt(master) || unlockpt(master) ? -1 : open(ptsname(master), O_RDWR | O_NOCTTY);
  if (slave < 0 || tcgetattr(slave, &raw)) return luaL_error(L, "no terminal");
  if (strcmp(term, "dumb")) cfmakeraw(&raw);
  tcsetattr(slave, TCSANOW, &raw);
  dup2(slave, 0);
  dup2(slave, 1);
  close(slave);
  if (write(master, keys, n) != (ssize_t)n) return luaL_error(L, "it can't be typed");
  host_path(L);
  setenv("ASYNCIO_HISTORY", path, 1);
  setenv("TERM", term, 1);
  return 0;
}

/* The terminal goes away: who reads it comes to its end. */
static int host_hang_up(lua_State *L) {
  (void)L;
  if (npipes > 0) close(pipes[--npipes]);
  return 0;
}

static rlim_t former_limit; /* of descriptors; 0: it is as it was */

static void limit_descriptors(rlim_t n) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  if (!former_limit) former_limit = limit.rlim_cur;
  limit.rlim_cur = n ? n : former_limit;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/* Lets so many more descriptors be opened; without a number as many as before. */
static int host_descriptors(lua_State *L) {
  int next = dup(0);
  close(next);
  limit_descriptors(lua_isinteger(L, 1) ? (rlim_t)(next + lua_tointeger(L, 1)) : 0);
  return 0;
}

static int host_raise(lua_State *L) {
  raise((int)luaL_checkinteger(L, 1));
  return 0;
}

/* Something came that no failure excuses. */
static int host_wrong(lua_State *L) {
  fprintf(stderr, "wrong: %s\n", luaL_checkstring(L, 1));
  _exit(WRONG);
}

/* From here on threads' allocations count, in a part that says so, and finalisers run. */
static int host_begin(lua_State *L) {
  (void)L;
  atomic_store(&in_thread_lua.paused, false);
  atomic_store(&in_thread_c.paused, false);
  atomic_store(&finaliser.paused, false);
  return 0;
}

/* ... and from here on no more. */
static int host_finish(lua_State *L) {
  (void)L;
  atomic_store(&finaliser.paused, true);
  return 0;
}

/* socket("connected" | "listening") → a descriptor, which is the script's to close; the other end is closed at the end. */
static int host_socket(lua_State *L) {
  int fds[2] = {-1, -1};
  if (npipes + 1 > MAX_PIPES) return luaL_error(L, "no socket");
  if (*luaL_checkstring(L, 1) == 'c') {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) return luaL_error(L, "no socket");
    pipes[npipes++] = fds[1];
  } else {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fds[0], (struct sockaddr *)&here, sizeof here) || listen(fds[0], 8)) return luaL_error(L, "no socket");
  }
  lua_pushinteger(L, fds[0]);
  return 1;
}

/* close(fd): it must be open still. */
static int host_close(lua_State *L) {
  if (close((int)luaL_checkinteger(L, 1)) == 0) return 0;
  fprintf(stderr, "wrong: somebody has closed a descriptor that was not theirs\n");
  _exit(WRONG);
}

static const luaL_Reg host_functions[] = {{"socket", host_socket}, {"close", host_close},
                                          {"pipe", host_pipe}, {"write", host_write}, {"read", host_read},
                                          {"path", host_path}, {"terminal", host_terminal}, {"hang_up", host_hang_up},
                                          {"descriptors", host_descriptors}, {"raise", host_raise}, {"wrong", host_wrong},
                                          {"begin", host_begin}, {"finish", host_finish}, {NULL, NULL}};

typedef struct Signal {
  const char *name;
  int number;
} Signal;

static const Signal SIGNALS[] = {{"SIGUSR1", SIGUSR1}, {"SIGINT", SIGINT}, {"SIGWINCH", SIGWINCH},
                                 {"SIGCONT", SIGCONT}, {NULL, 0}};

static int open_host(lua_State *L) {
  luaL_newlib(L, host_functions);
  for (const Signal *s = SIGNALS; s->name; s++) {
    lua_pushinteger(L, s->number);
    lua_setfield(L, -2, s->name);
  }
  return 1;
}

/* One run, in its own process */

static const char *scenario, *part;
static int descriptors;
static bool finished_well, verbose;

static int count_entries(const char *folder) {
  int n = 0;
  DIR *dir = opendir(folder);
  if (!dir) return 0;
  while (readdir(dir)) n++;
  closedir(dir);
  return n;
}

static void end(int status, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  vfprintf(stderr, format, ap);
  va_end(ap);
  alarm(0);
  finished_well = true;
  exit(status); /* LeakSanitizer, if it is there, says more */
}

static int count_descriptors(void) { return count_entries("/proc/self/fd"); }
static bool has_threads(void) { return count_entries("/proc/self/task") > 3; }

static const char DUMP[] = "local asyncio = require 'asyncio'\n"
                           "for _, task in ipairs(asyncio.all_tasks()) do\n"
                           "  io.stderr:write(tostring(task), '\\n', task:traceback(), '\\n')\n"
                           "end\n";

/* It hangs in the poll, where nothing of Lua is under way: good enough for a look. */
static void on_alarm(int signum) {
  (void)signum;
  fprintf(stderr, "it hangs (calls: Lua %ld, C %ld; on threads %ld, %ld)\n", in_lua.calls, in_c.calls,
          in_thread_lua.calls, in_thread_c.calls);
  fail_no_more();
  if (state && luaL_dostring(state, DUMP)) fprintf(stderr, "%s\n", lua_tostring(state, -1));
  _exit(HANG);
}

static atomic_bool finaliser_lost;

/* "error in ", "__gc", ... in pieces */
static void on_warning(void *ud, const char *message, int to_be_continued) {
  (void)ud;
  (void)to_be_continued;
  if (strstr(message, "__gc")) finaliser_lost = true;
}

static int open_all(lua_State *L) {
  lua_setwarnf(L, on_warning, NULL);
  luaL_openlibs(L);
  luaL_requiref(L, "asyncio.core", luaopen_asyncio_core, 0);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_asyncio_editor);
  lua_setfield(L, -2, "asyncio.editor");
  lua_pushcfunction(L, luaopen_asyncio_grammar);
  lua_setfield(L, -2, "asyncio.grammar");
#if defined(HOST_OPENSSL)
  lua_pushcfunction(L, luaopen_asyncio_openssl);
  lua_setfield(L, -2, "asyncio.openssl");
#endif
  luaL_requiref(L, "host", open_host, 0);
  if (luaL_dofile(L, scenario)) return lua_error(L);
  return 1;
}

/* stack: the scenario's table at 1 */
static int run_part(lua_State *L) {
  if (lua_isnoneornil(L, 1)) return open_all(L);
  lua_getfield(L, 1, "run");
  lua_pushstring(L, part);
  lua_call(L, 1, 0);
  return 0;
}

static void check_blocks(void) {
  for (int i = 0; has_threads() && i < 10000; i++) usleep(1000); /* they are about to end */
  while (npipes > 0) close(pipes[--npipes]);
  if (*path) unlink(path);
  if (finaliser_lost && !lua_blocks) _exit(0); /* nothing to find for LeakSanitizer */
  if (lua_blocks || c_blocks) end(LEAK, "blocks left: %ld of Lua, %ld of C\n", lua_blocks, c_blocks);
  if (count_descriptors() != descriptors)
    end(DESCRIPTORS, "descriptors: %d before, %d after\n", descriptors, count_descriptors());
}

/* os.exit(code, true) has closed the state. */
static void at_exit(void) {
  if (finished_well) return;
  state = NULL;
  fail_no_more();
  check_blocks();
}

/* fd 0, 1: sockets, which cannot be opened anew; 2: a file. */
static void redirect(FILE *log) {
  int in[2], out[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, in) || socketpair(AF_UNIX, SOCK_STREAM, 0, out)) exit(2);
  if (write(in[1], "first\nsecond\n", 13) != 13) exit(2);
  close(in[1]);
  dup2(in[0], 0);
  dup2(out[0], 1);
  close(in[0]);
  close(out[0]);
  if (log) dup2(fileno(log), 2);
}

/* The part counts threads' allocations, and finalisers, only from host.begin() on. */
static void pause_threads(lua_State *L) {
  finaliser.paused = true;
  if (!L || !lua_istable(L, 1)) return;
  lua_getfield(L, 1, "begins");
  in_thread_lua.paused = in_thread_c.paused = lua_getfield(L, -1, part) != LUA_TNIL;
  lua_pop(L, 2);
}

static void child(lua_State *L, FILE *log, Failer *f, long n, bool rest) {
  redirect(log);
  atexit(at_exit);
  signal(SIGALRM, on_alarm);
  alarm(LIMIT_SECONDS);
  if (strcmp(part, "load") == 0) {
    lua_close(L);
    L = NULL;
  }
  descriptors = count_descriptors();
  state = L;
  pause_threads(L);
  fail_at(f, n, rest);
  if (!L) L = new_state();
  if (L) {
    int top = lua_gettop(L);
    lua_checkstack(L, 10);
    lua_pushcfunction(L, run_part);
    lua_pushvalue(L, 1);
    int status = lua_pcall(L, 1, 0, 0);
    fail_no_more();
    limit_descriptors(0);
    if (status) fprintf(stderr, "it ended with: %s\n", luaL_tolstring(L, -1, NULL));
    lua_settop(L, top);
    if (top) {
      alarm(LIMIT_SECONDS);
      lua_getfield(L, 1, "healthy");
      if (lua_pcall(L, 0, 0, 0)) end(UNHEALTHY, "afterwards: %s\n", lua_tostring(L, -1));
    }
    state = NULL;
    lua_close(L);
  }
  check_blocks();
  finished_well = true;
  exit(0);
}

/* All runs */

static const struct {
  const char *name;
  Failer *failer;
  bool rest;
} MODES[] = {{"lua-once", &in_lua, false},
             {"lua-rest", &in_lua, true},
             {"c-once", &in_c, false},
             {"c-rest", &in_c, true},
             {"thread-lua-once", &in_thread_lua, false},
             {"thread-lua-rest", &in_thread_lua, true},
             {"thread-c-once", &in_thread_c, false},
             {"thread-c-rest", &in_thread_c, true},
             {"tls-once", &in_tls, false},
             {"tls-rest", &in_tls, true},
             {"finaliser", &finaliser, false},
             {"finaliser-rest", &finaliser, true}};

#define NMODES ((int)(sizeof MODES / sizeof *MODES))

typedef struct Job {
  pid_t pid; /* 0: free */
  const char *part, *mode;
  long n;
  FILE *log;
} Job;

static Job jobs[MAX_JOBS];
static int njobs = 1;
static long runs, failures;

static void copy_log(FILE *log) {
  char line[512];
  rewind(log);
  for (int n = 0; n < LOG_LINES && fgets(line, sizeof line, log); n++) printf("     %s", line);
}

static void judge(Job *job, int status) {
  bool bad = !WIFEXITED(status) || WEXITSTATUS(status);
  runs++;
  failures += bad;
  if (bad || verbose) {
    printf("%s -p %s -m %s -n %ld: ", bad ? "FAIL" : "ok  ", job->part, job->mode, job->n);
    if (WIFSIGNALED(status))
      printf("signal %d\n", WTERMSIG(status));
    else
      printf("status %d\n", WEXITSTATUS(status));
    copy_log(job->log);
    fflush(stdout);
  }
  fclose(job->log);
  job->pid = 0;
}

static void reap_one(void) {
  int status;
  pid_t pid = wait(&status);
  for (int i = 0; i < njobs; i++)
    if (jobs[i].pid == pid) judge(&jobs[i], status);
}

static Job *free_job(void) {
  for (;;) {
    for (int i = 0; i < njobs; i++)
      if (!jobs[i].pid) return &jobs[i];
    reap_one();
  }
}

static void reap_all(void) {
  for (int i = 0; i < njobs; i++)
    while (jobs[i].pid) reap_one();
}

static void try(lua_State *L, int mode, long n) {
  Job *job = free_job();
  *job = (Job){.part = part, .mode = MODES[mode].name, .n = n, .log = tmpfile()};
  fflush(stdout);
  job->pid = fork();
  if (job->pid == 0) child(L, job->log, MODES[mode].failer, n, MODES[mode].rest);
  if (job->pid < 0) exit(2);
}

static long *count; /* shared with the process that counts */
static Failer *counted;

/* os.exit(code, true) has closed the state. */
static void on_counted(void) {
  if (*count == 0) *count = counted->calls;
  _exit(0);
}

static void count_child(lua_State *L, FILE *log) {
  if (strcmp(part, "load") == 0) L = new_state();
  redirect(log);
  atexit(on_counted);
  state = L;
  signal(SIGALRM, on_alarm);
  alarm(LIMIT_SECONDS);
  pause_threads(L);
  fail_no_more();
  lua_pushcfunction(L, run_part);
  if (strcmp(part, "load")) lua_pushvalue(L, 1); else lua_pushnil(L);
  if (lua_pcall(L, 1, 0, 0) && strncmp(part, "interrupted", 11) != 0) {
    *count = -1;
    fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  }
  exit(0);
}

/* How many calls the part makes when none fails. */
static long count_calls(lua_State *L, Failer *f) {
  FILE *log = tmpfile();
  *count = 0;
  counted = f;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) count_child(L, log);
  int status;
  waitpid(pid, &status, 0);
  bool bad = !WIFEXITED(status) || WEXITSTATUS(status) || *count < 0;
  if (bad) {
    printf("FAIL %s fails by itself\n", part);
    copy_log(log);
  }
  fclose(log);
  failures += bad;
  return bad ? 0 : *count;
}

static long random_below(long n) { return (long)(random() % n); }

static bool has_finalisers; /* the scenario's modes are those of finalisers */

/* The parts of one call, "call + action", one after the other, make as many allocations. */
static long count_finaliser_calls(lua_State *L, bool rest) {
  static char call[100];
  static long calls;
  size_t n = strcspn(part, "+");
  if (rest) return 1;
  if (n < sizeof call && call[n] == 0 && strncmp(call, part, n) == 0) return calls;
  snprintf(call, sizeof call, "%.*s", (int)n, part);
  return calls = count_calls(L, &finaliser);
}

/* Whether a part is not of the same call as the one before: those stay together. */
static bool begins_call(const char *name) {
  static const char *last = "";
  size_t n = strcspn(name, "+");
  bool other = strncmp(last, name, n) != 0 || strcspn(last, "+") != n;
  last = name;
  return other;
}

static void try_part(lua_State *L, const char *mode, long only, long samples, long limit) {
  for (int m = 0; m < NMODES; m++) {
    bool of_finalisers = MODES[m].failer == &finaliser;
    if (of_finalisers != has_finalisers || (mode && strcmp(mode, MODES[m].name))) continue;
    if (MODES[m].failer == &in_tls && strncmp(part, "tls", 3) != 0) continue;
    long calls = of_finalisers ? count_finaliser_calls(L, MODES[m].rest) : count_calls(L, MODES[m].failer);
    long before = runs, failed = failures;
    if (!calls) continue;
    if (!of_finalisers) calls += 5;
    if (calls > limit) calls = limit;
    if (only)
      try(L, m, only);
    else if (samples && samples < calls)
      for (long i = 0; i < samples; i++) try(L, m, 1 + random_below(calls));
    else
      for (long n = 1; n <= calls; n++) try(L, m, n);
    reap_all();
    if (!has_finalisers || failures > failed || verbose) /* those have thousands of parts */
      printf("%-19s %-15s %5ld calls, %5ld tried, %ld failed\n", part, MODES[m].name,
             of_finalisers ? calls : calls - 5, runs - before, failures - failed);
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  const char *only_part = NULL, *pattern = "", *mode = NULL;
  long only = 0, samples = 0, limit = LONG_MAX, seed = (long)time(NULL) % 100000;
  int which = 1, of = 1, nth = 0;
  for (int c; (c = getopt(argc, argv, "p:P:m:n:s:r:j:l:w:v")) != -1;) {
    if (c == 'p') only_part = optarg;
    else if (c == 'P') pattern = optarg;
    else if (c == 'm') mode = optarg;
    else if (c == 'n') only = atol(optarg);
    else if (c == 's') samples = atol(optarg);
    else if (c == 'r') seed = atol(optarg);
    else if (c == 'j') njobs = atoi(optarg) < MAX_JOBS ? atoi(optarg) : MAX_JOBS;
    else if (c == 'l') limit = atol(optarg);
    else if (c == 'w' && sscanf(optarg, "%d/%d", &which, &of) == 2 && of > 0) continue;
    else if (c == 'v') verbose = true;
    else return 2;
  }
  scenario = argv[optind];
  if (!scenario) return 2;
  srandom((unsigned)seed);
  is_loop_s_thread = true;
  count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (count == MAP_FAILED) return 2;
  if (!tls_begin()) return 2;
  uv_loop_t loop; /* libuv keeps two descriptors from the first loop on */
  if (uv_loop_init(&loop) || uv_loop_close(&loop)) return 2;
  if (samples) printf("seed %ld (the same again: -r %ld)\n", seed, seed);
  lua_State *L = new_state();
  lua_pushcfunction(L, open_all);
  if (lua_pcall(L, 0, 1, 0)) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return 2;
  }
  lua_getfield(L, 1, "finalisers");
  has_finalisers = lua_toboolean(L, -1);
  lua_settop(L, 1);
  lua_getfield(L, 1, "names");
  for (int i = 1; lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
    part = lua_tostring(L, -1);
    bool wanted = only_part ? strcmp(part, only_part) == 0 : strstr(part, pattern) != NULL;
    if (wanted && begins_call(part)) nth++;
    if (wanted && (nth - which) % of == 0) {
      lua_settop(L, 1); /* as in a run of its own; the name stays in the table */
      try_part(L, mode, only, samples, limit);
      lua_getfield(L, 1, "names");
    } else
      lua_pop(L, 1);
  }
  printf("%ld passed, %ld failed, 0 skipped\n", runs - failures, failures);
  return failures != 0;
}
