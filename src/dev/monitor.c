/*
** monitor.c - the process's monitor: its socket, its clients, the loops' desks.
**
** The thread and the loops share the desks, under one lock, which the process has once, as it has one monitor. Clients
** are the thread's alone.
*/
#include "dev/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "dev/place.h"

#define CLIENTS 8
#define LINE 96                /* bytes of a question */
#define TELL_NS 10000000000u   /* for so long a client may take nothing of an answer ... */
#define SILENT_NS 60000000000u /* ... or ask nothing */
#define STRANGER_NS 1000000000u
#define LOOK_MS 500      /* so often is looked for these, and how an answer goes on */
#define TRACE_LOOK_MS 50 /* ... and whether the time of a trace is up */
#define READ_SIZE ((size_t)65536)
#define WAIT_NS 400000000u /* so often who waits for a long answer is told that it comes */
#define PROTOCOL "asyncio-monitor/1 "
#define WAIT PROTOCOL "wait\n"

/* CLIENT_TRACES: until its time is up, when it waits for the trace. */
typedef enum ClientState {
  CLIENT_NONE,
  CLIENT_ASKS,
  CLIENT_WAITS,
  CLIENT_TRACES,
  CLIENT_TAKES
} ClientState;

typedef struct Client {
  ClientState state;
  int fd;
  uint64_t serial;   /* of what it asked last: no other has it */
  bool passed_on;    /* a desk has that */
  unsigned progress; /* ... and was so far at the last look */
  Ask ask;
  int number; /* of which loop */
  uint32_t argument;
  bool measures; /* it has asked for the busiest tasks of loop `number` */
  bool stranger; /* another user's: whatever it asks is refused */
  bool last;     /* it has broken the rules: what it is told is the last */
  char line[LINE];
  size_t n;
  Buffer out;
  uint64_t since; /* when something moved last */
  uint64_t until; /* for so long it has a trace made */
} Client;

typedef struct Monitor {
  pid_t pid; /* whose it is: a forked child's copy is none */
  pthread_t thread;
  int listener;
  int wake[2]; /* a pipe: there are news for the thread */
  char path[MONITOR_PATH];
  bool ending;
  ListNode desks;
  int last_number;
  uint64_t last_serial;
  Client clients[CLIENTS];
} Monitor;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Monitor *the_monitor; /* under the lock: the process's, or its parent's; or NULL */

static Monitor *ours(void) {
  return the_monitor && the_monitor->pid == getpid() ? the_monitor : NULL;
}

static void wake_thread(const Monitor *m) {
  ssize_t n = write(m->wake[1], "", 1);
  (void)n; /* full: it is awake */
}

/* Clients */

/* What is unread would take from it what it was told. */
static void drop(Client *c) {
  char rest[1024];
  for (int i = 0; c->last && i < 64 && recv(c->fd, rest, sizeof rest, MSG_DONTWAIT) > 0; i++)
    continue;
  close(c->fd);
  buffer_free(&c->out);
  *c = (Client){.fd = -1};
}

/* What it was told and has not taken yet goes; without memory it does. */
static bool tell(Client *c, const char *text, size_t n) {
  c->state = CLIENT_TAKES;
  c->since = uv_hrtime();
  buffer_free(&c->out);
  bool told = buffer_append(&c->out, text, n);
  if (!told) drop(c);
  return told;
}

static void tell_answer(Client *c, const Buffer *answer) {
  char head[LINE];
  size_t n = buffer_length(answer);
  bool told = tell(c, head, (size_t)snprintf(head, sizeof head, PROTOCOL "ok %zu\n", n));
  if (told && n && !buffer_append(&c->out, buffer_bytes(answer), n)) drop(c);
}

static void tell_error(Client *c, const char *text, const char *more) {
  char head[LINE * 2];
  tell(c, head, (size_t)snprintf(head, sizeof head, PROTOCOL "error %s%s\n", text, more));
}

static void refuse(Client *c, const char *text, const char *more) {
  tell_error(c, text, more);
  c->last = true;
}

/* A decimal number of up to 9 digits at *text, which goes on behind it; -1: there is none. */
static int read_number(const char **text) {
  int value = 0, digits = 0;
  for (; **text >= '0' && **text <= '9'; ++*text, digits++) {
    if (digits == 9) return -1;
    value = 10 * value + (**text - '0');
  }
  return digits ? value : -1;
}

static bool has_prefix(const char **text, const char *prefix) {
  size_t n = strlen(prefix);
  if (strncmp(*text, prefix, n) != 0) return false;
  *text += n;
  return true;
}

static void list_loops(Client *c, const Monitor *m) {
  Buffer out = {.data = NULL};
  char text[32];
  bool ok = true;
  pthread_mutex_lock(&lock);
  list_each(node, &m->desks) {
    int n = snprintf(text, sizeof text, "loop\t%d\n", asy_container(node, Desk, link)->number);
    ok = ok && buffer_append(&out, text, (size_t)n);
  }
  pthread_mutex_unlock(&lock);
  if (ok)
    tell_answer(c, &out);
  else
    tell_error(c, "no memory", "");
  buffer_free(&out);
}

/* A question, NUL-terminated and without its newline. */
static void hear(Client *c, Monitor *m, const char *line) {
  static const char *const WORDS[] = {
      [ASK_STATS] = "stats", [ASK_TOP] = "top",         [ASK_TREE] = "tree",
      [ASK_LEAKS] = "leaks", [ASK_TRACE_HTML] = "html", [ASK_TRACE_JSON] = "json"};
  if (c->stranger || !has_prefix(&line, PROTOCOL)) {
    refuse(c, c->stranger ? "this process is another user's" : "this speaks " PROTOCOL "only", "");
    return;
  }
  if (!strcmp(line, "loops")) {
    list_loops(c, m);
    return;
  }
  for (int i = 0; i < (int)(sizeof WORDS / sizeof *WORDS); i++) {
    const char *rest = line;
    if (!has_prefix(&rest, WORDS[i]) || *rest++ != ' ') continue;
    int number = read_number(&rest), argument = *rest == ' ' ? (rest++, read_number(&rest)) : 0;
    if (number < 0 || argument < 0 || *rest) break;
    c->state = CLIENT_WAITS;
    c->passed_on = false;
    c->serial = ++m->last_serial;
    c->ask = (Ask)i;
    c->number = number;
    c->argument = (uint32_t)argument;
    c->measures = c->measures || i == ASK_TOP;
    return;
  }
  refuse(c, "unknown question", "");
}

/* The next question among the bytes that have come. */
static void hear_next(Client *c, Monitor *m) {
  char line[LINE + 1];
  const char *end = memchr(c->line, '\n', c->n);
  if (!end) {
    if (c->n == LINE) refuse(c, "the question is too long", "");
    return;
  }
  size_t n = (size_t)(end - c->line);
  memcpy(line, c->line, n);
  line[n] = 0;
  c->n -= n + 1;
  memmove(c->line, end + 1, c->n);
  c->since = uv_hrtime();
  if (strlen(line) == n)
    hear(c, m, line);
  else
    refuse(c, "unknown question", "");
}

static void receive(Client *c, Monitor *m) {
  ssize_t n = recv(c->fd, c->line + c->n, LINE - c->n, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    drop(c);
    return;
  }
  if (n > 0) c->n += (size_t)n;
  hear_next(c, m);
}

static void send_rest(Client *c, Monitor *m) {
  size_t left = buffer_length(&c->out);
  ssize_t n = send(c->fd, buffer_bytes(&c->out), left, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    drop(c);
    return;
  }
  if (n > 0) {
    buffer_consume(&c->out, (size_t)n);
    c->since = uv_hrtime();
  }
  if (n < 0 || (size_t)n < left) return;
  buffer_free(&c->out);
  c->state = CLIENT_ASKS;
  if (c->last)
    drop(c);
  else
    hear_next(c, m);
}

static void accept_one(Monitor *m) {
  int fd = accept(m->listener, NULL, NULL);
  if (fd < 0) {
    if (errno != EAGAIN)
      poll(NULL, 0, 50); /* no descriptor is left: the next look would come at once */
    return;
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  Client *c = m->clients;
  while (c < m->clients + CLIENTS && c->state != CLIENT_NONE) c++;
  if (c == m->clients + CLIENTS) {
    close(fd);
    return;
  }
  *c = (Client){.state = CLIENT_ASKS, .fd = fd, .since = uv_hrtime()};
  c->stranger = !place_is_ours(fd);
}

/* Between clients and desks */

static Desk *find_desk(const Monitor *m, int number) {
  list_each(node, &m->desks) {
    Desk *desk = asy_container(node, Desk, link);
    if (desk->number == number) return desk;
  }
  return NULL;
}

static bool post(Desk *desk, Ask ask, uint32_t argument, uint64_t client) {
  desk->ask = ask;
  desk->argument = argument;
  desk->client = client;
  desk->state = DESK_ASKED;
  desk->posted = true;
  if (inbox_post(desk->inbox, &desk->message)) return true;
  desk->posted = false;
  desk->state = DESK_FREE;
  return false;
}

/* Its answer is being written. */
static void say_wait(Client *c, uint64_t now) {
  c->since = now;
  if (send(c->fd, WAIT, sizeof WAIT - 1, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof WAIT - 1)
    drop(c);
}

static void console(Client *c, const Desk *desk, uint64_t now) {
  unsigned progress = atomic_load(&desk->progress);
  if (c->state != CLIENT_WAITS || !c->passed_on || progress == c->progress ||
      now - c->since < WAIT_NS)
    return;
  c->progress = progress;
  say_wait(c, now);
}

static bool is_trace(Ask ask) { return ask == ASK_TRACE_HTML || ask == ASK_TRACE_JSON; }

/* A trace's file, in a folder of its own. */
static bool make_folder(Desk *desk, Ask ask) {
  char folder[] = "/tmp/asyncio-trace-XXXXXX";
  if (!mkdtemp(folder)) return false;
  snprintf(desk->path, sizeof desk->path, "%s/%s", folder,
           ask == ASK_TRACE_HTML ? "trace.html" : "trace.json");
  return true;
}

static void remove_folder(Desk *desk) {
  if (!*desk->path) return;
  unlink(desk->path);
  *strrchr(desk->path, '/') = 0;
  rmdir(desk->path);
  *desk->path = 0;
}

static void pass_question(Desk *desk, Client *c) {
  if (is_trace(c->ask) && desk->traces) {
    tell_error(c, "a trace is under way", "");
    return;
  }
  if (is_trace(c->ask) && !make_folder(desk, c->ask)) {
    tell_error(c, "no folder in /tmp can be made for the trace", "");
    return;
  }
  c->passed_on = post(desk, c->ask, c->argument, c->serial);
  if (c->passed_on && c->ask == ASK_TOP) desk->measures = true;
  if (c->passed_on && is_trace(c->ask)) desk->traces = true;
  c->since = uv_hrtime();
  c->progress = atomic_load(&desk->progress);
}

/* Under the lock, as what follows. */
static void pass_on(const Monitor *m, Client *c) {
  Desk *desk = find_desk(m, c->number);
  char number[16];
  snprintf(number, sizeof number, "%d", c->number);
  if (!desk || (c->passed_on && desk->client != c->serial))
    tell_error(c, "there is no loop ", number);
  else if (c->passed_on)
    console(c, desk, uv_hrtime());
  else if (desk->state == DESK_FREE && !desk->posted)
    pass_question(desk, c);
}

/* The whole of a trace, in place of the desk's answer. False: it can't be had. */
static bool read_trace(Desk *desk) {
  int fd = open(desk->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  ssize_t n = -1;
  buffer_free(&desk->answer);
  while (fd >= 0) {
    char *room = buffer_reserve(&desk->answer, READ_SIZE);
    n = room ? read(fd, room, READ_SIZE) : -1;
    if (n <= 0) break;
    buffer_added(&desk->answer, (size_t)n);
  }
  if (fd >= 0) close(fd);
  return n == 0;
}

static void begin_tracing(Client *c) {
  c->state = CLIENT_TRACES;
  c->since = uv_hrtime();
  c->until = c->since + c->argument * (uint64_t)1000000;
}

static void pass_answer(Desk *desk, Client *c) {
  char words[LINE];
  size_t n =
      buffer_length(&desk->answer) < sizeof words ? buffer_length(&desk->answer) : sizeof words - 1;
  if (desk->failed) {
    memcpy(words, buffer_bytes(&desk->answer), n);
    words[n] = 0;
    tell_error(c, n ? words : "no memory", "");
  } else if (is_trace(desk->ask))
    begin_tracing(c);
  else
    tell_answer(c, &desk->answer);
}

static void pass_back(Monitor *m, Desk *desk) {
  if (desk->state != DESK_ANSWERED) return;
  bool ends = desk->ask == ASK_TRACED || (is_trace(desk->ask) && desk->failed);
  if (desk->ask == ASK_TRACED && !desk->failed) desk->failed = !read_trace(desk);
  for (Client *c = m->clients; c < m->clients + CLIENTS; c++)
    if (c->state == CLIENT_WAITS && c->serial == desk->client) pass_answer(desk, c);
  buffer_free(&desk->answer);
  desk->state = DESK_FREE;
  if (!ends) return;
  remove_folder(desk);
  desk->traces = false;
}

/* A trace whose time is up, or for which nobody waits, is ended. */
static void end_trace(Monitor *m, Desk *desk) {
  Client *waits = NULL;
  if (!desk->traces || desk->state != DESK_FREE || desk->posted) return;
  for (Client *c = m->clients; c < m->clients + CLIENTS; c++)
    if (c->state == CLIENT_TRACES && c->serial == desk->client) waits = c;
  if (waits && uv_hrtime() < waits->until) return;
  if (!post(desk, ASK_TRACED, 0, waits ? waits->serial : 0) || !waits) return;
  waits->state = CLIENT_WAITS;
  waits->progress = atomic_load(&desk->progress);
}

static bool is_measured(const Monitor *m, const Desk *desk) {
  for (const Client *c = m->clients; c < m->clients + CLIENTS; c++)
    if (c->state != CLIENT_NONE && c->measures && c->number == desk->number) return true;
  return false;
}

/* What is new at the desks, both ways. True: it goes on. */
static bool look_at_desks(Monitor *m) {
  pthread_mutex_lock(&lock);
  list_each(node, &m->desks) pass_back(m, asy_container(node, Desk, link));
  for (Client *c = m->clients; c < m->clients + CLIENTS; c++)
    if (c->state == CLIENT_WAITS) pass_on(m, c);
  list_each(node, &m->desks) {
    Desk *desk = asy_container(node, Desk, link);
    end_trace(m, desk);
    if (desk->measures && desk->state == DESK_FREE && !desk->posted && !is_measured(m, desk))
      desk->measures = !post(desk, ASK_REST, 0, 0);
  }
  bool goes_on = !m->ending;
  pthread_mutex_unlock(&lock);
  return goes_on;
}

/* The thread */

static bool is_late(const Client *c, uint64_t now) {
  if (c->state == CLIENT_TAKES) return now - c->since > TELL_NS;
  return c->state == CLIENT_ASKS && now - c->since > (c->stranger ? STRANGER_NS : SILENT_NS);
}

static void attend(Client *c, Monitor *m, short events) {
  if (c->state == CLIENT_NONE) return;
  if (c->state == CLIENT_ASKS && events)
    receive(c, m);
  else if (c->state == CLIENT_TAKES && events)
    send_rest(c, m);
  else if (c->state == CLIENT_TRACES && !events && uv_hrtime() - c->since > WAIT_NS)
    say_wait(c, uv_hrtime());
  else if ((events & (POLLHUP | POLLERR)) ||
           is_late(c, uv_hrtime())) /* it has given up, or so do we */
    drop(c);
}

static void drain(int fd) {
  char bytes[64];
  while (read(fd, bytes, sizeof bytes) > 0) continue;
}

/* Waits until there are news, or it is time to look for clients that are late. */
static void turn(Monitor *m) {
  struct pollfd fds[CLIENTS + 2] = {{.fd = m->wake[0], .events = POLLIN},
                                    {.fd = m->listener, .events = POLLIN}};
  int patience = -1;
  for (int i = 0; i < CLIENTS; i++) {
    const Client *c = &m->clients[i];
    int events = c->state == CLIENT_ASKS ? POLLIN : c->state == CLIENT_TAKES ? POLLOUT : 0;
    fds[i + 2] =
        (struct pollfd){.fd = c->state == CLIENT_NONE ? -1 : c->fd, .events = (short)events};
    if (c->state == CLIENT_TRACES) patience = TRACE_LOOK_MS;
    if (c->state != CLIENT_NONE && patience < 0) patience = LOOK_MS;
  }
  if (poll(fds, CLIENTS + 2, patience) < 0) return;
  if (fds[0].revents) drain(m->wake[0]);
  for (int i = 0; i < CLIENTS; i++) attend(&m->clients[i], m, fds[i + 2].revents);
  if (fds[1].revents) accept_one(m);
}

static void *serve(void *arg) {
  Monitor *m = arg;
  while (look_at_desks(m)) turn(m);
  for (Client *c = m->clients; c < m->clients + CLIENTS; c++)
    if (c->state != CLIENT_NONE) drop(c);
  return NULL;
}

/* Made, joined, left */

static void free_monitor(Monitor *m) {
  if (m->listener >= 0) close(m->listener);
  if (m->wake[0] >= 0) close(m->wake[0]);
  if (m->wake[1] >= 0) close(m->wake[1]);
  mem_free(m);
}

/* A thread that is deaf to all signals. */
static int start_thread(Monitor *m) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  int status = pthread_create(&m->thread, NULL, serve, m);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return status;
}

static int copy_path(Monitor *m, const char *path, char why[MONITOR_WHY]) {
  size_t n = strlen(path);
  if (n >= sizeof m->path) {
    snprintf(why, MONITOR_WHY, "the socket of a monitor at '%s'", path);
    return ENAMETOOLONG;
  }
  memcpy(m->path, path, n + 1);
  return 0;
}

static int open_monitor(Monitor *m, const char *path, char why[MONITOR_WHY]) {
  int status = 0;
  if (*path)
    status = copy_path(m, path, why);
  else
    status = place_of_process(m->path, sizeof m->path, why);
  if (status) return status;
  m->listener = place_listen(m->path, why);
  if (m->listener < 0) return -m->listener;
  snprintf(why, MONITOR_WHY, "pipe");
  status = -uv_pipe(m->wake, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE);
  if (status) m->wake[0] = m->wake[1] = -1;
  snprintf(why, MONITOR_WHY, "start a thread");
  if (!status) status = start_thread(m);
  if (status) unlink(m->path);
  return status;
}

/* Under the lock. */
static int make(const char *path, char why[MONITOR_WHY]) {
  snprintf(why, MONITOR_WHY, "a monitor");
  Monitor *m = mem_calloc(1, sizeof *m);
  if (!m) return ENOMEM;
  m->pid = getpid();
  m->listener = m->wake[0] = m->wake[1] = -1;
  list_init(&m->desks);
  int status = open_monitor(m, path, why);
  if (status)
    free_monitor(m);
  else
    the_monitor = m;
  return status;
}

static void arrive(Message *message) {
  Desk *desk = asy_container(message, Desk, message);
  pthread_mutex_lock(&lock);
  desk->posted = false;
  bool left = desk->left;
  pthread_mutex_unlock(&lock);
  if (left)
    desk->destroy(desk);
  else
    desk->asked(desk);
}

int monitor_join(Desk *desk, const char *path, char why[MONITOR_WHY]) {
  int status = 0;
  desk->message.arrive = arrive;
  pthread_mutex_lock(&lock);
  if (!ours())
    status = make(path, why);
  else if (*path && strcmp(path, the_monitor->path) != 0) {
    snprintf(why, MONITOR_WHY, "the process has a monitor, at another path");
    status = EBUSY;
  }
  if (!status) {
    desk->number = ++the_monitor->last_number;
    list_append(&the_monitor->desks, &desk->link);
  }
  pthread_mutex_unlock(&lock);
  return status;
}

void monitor_leave(Desk *desk) {
  Monitor *last = NULL;
  pthread_mutex_lock(&lock);
  list_remove(&desk->link);
  desk->left = true;
  buffer_free(&desk->answer);
  remove_folder(desk);
  bool posted = desk->posted;
  if (ours() && list_empty(&the_monitor->desks)) {
    last = the_monitor;
    last->ending = true;
    the_monitor = NULL;
    unlink(last->path);
  }
  if (last || ours()) wake_thread(last ? last : the_monitor);
  pthread_mutex_unlock(&lock);
  if (last) {
    pthread_join(last->thread, NULL);
    free_monitor(last);
  }
  if (!posted) desk->destroy(desk);
}

void monitor_answer(Desk *desk, Buffer *answer, bool ok) {
  pthread_mutex_lock(&lock);
  if (desk->ask == ASK_REST)
    desk->state = DESK_FREE;
  else {
    desk->state = DESK_ANSWERED;
    desk->answer = *answer;
    desk->failed = !ok;
    *answer = (Buffer){.data = NULL};
  }
  if (ours()) wake_thread(the_monitor);
  pthread_mutex_unlock(&lock);
  buffer_free(answer);
}

bool monitor_path(char path[MONITOR_PATH]) {
  pthread_mutex_lock(&lock);
  bool there = ours() != NULL;
  if (there) memcpy(path, the_monitor->path, MONITOR_PATH);
  pthread_mutex_unlock(&lock);
  return there;
}

/* Its thread may have been in the middle of anything: only the descriptors go. */
void monitor_in_child(void) {
  Monitor *m = the_monitor;
  pthread_mutex_init(&lock, NULL); /* whoever held it is in the parent */
  if (!m || m->listener < 0) return;
  for (Client *c = m->clients; c < m->clients + CLIENTS; c++)
    if (c->state != CLIENT_NONE) close(c->fd);
  close(m->listener);
  close(m->wake[0]);
  close(m->wake[1]);
  m->listener = -1;
}
