/*
** tracefile.c - events become rows of steps and waits: twice through the reel, first for who there was, then for what
** was done. The memory that takes is had before anything is written.
*/
#include "dev/tracefile.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

#define ROW_LOOP 0
#define ROW_COLLECTOR 900000000u
#define ROW_JOBS 900000001u
#define MOST_LANES 1000 /* of jobs; those beyond share the last */

/* A task's row, while its events are gone through. */
typedef struct Row {
  uint64_t task; /* its number; 0: the place is free */
  uint64_t maker, made, loop;
  uint32_t name, function;
  char state; /* d(one), f(ailed), c(ancelled), w(aiting), r(eady), R(unning), or 0 */
  bool known; /* when it was made */
  bool live;  /* it has not ended */
  bool waits; /* since `since`, for `text`, `on`, at `place` */
  bool gave_way, on_task;
  bool woken; /* at `woken_at`, by `by`, and has not run since */
  uint32_t text, on, place;
  uint64_t since, woken_at, by;
  uint64_t flow; /* the arrow that leads to its next step; 0: none */
  const char *arrow;
} Row;

typedef struct Lane {
  uint64_t job; /* its address; 0: the lane is free */
  uint64_t at, task;
  uint32_t text;
} Lane;

typedef struct Out {
  Tracer *t;
  const TraceFile *file;
  Runtime *rt;
  Row *rows; /* by number */
  uint64_t size, n;
  Lane *lanes;
  int nlanes;    /* that were used */
  size_t length; /* in the buffer */
  int error;     /* the first errno, negative; then nothing more is written */
  bool comma;
  bool collector; /* there are events of the collector */
  uint64_t flows;
  uint64_t turn; /* when the last poll ended; UINT64_MAX: there was none */
  uint64_t loop; /* the last loop that was heard of */
} Out;

/* Bytes */

static void flush(Out *o) {
  const char *p = o->file->buffer;
  while (o->length && !o->error) {
    ssize_t n = write(o->file->fd, p, o->length);
    if (n < 0 && errno != EINTR) o->error = -errno;
    if (n > 0) p += n, o->length -= (size_t)n;
  }
  o->length = 0;
}

static void put_bytes(Out *o, const char *text, size_t n) {
  while (n > 0) {
    size_t part = TRACEFILE_BUFFER - o->length < n ? TRACEFILE_BUFFER - o->length : n;
    memcpy(o->file->buffer + o->length, text, part);
    o->length += part;
    text += part;
    n -= part;
    if (o->length == TRACEFILE_BUFFER) flush(o);
  }
}

static void put(Out *o, const char *text) { put_bytes(o, text, strlen(text)); }

static void put_number(Out *o, uint64_t n) {
  char digits[20];
  int i = sizeof digits;
  do digits[--i] = (char)('0' + n % 10);
  while (n /= 10);
  put_bytes(o, digits + i, sizeof digits - (size_t)i);
}

/* Microseconds, with three places. */
static void put_time(Out *o, uint64_t ns) {
  char places[4] = {'.', (char)('0' + ns / 100 % 10), (char)('0' + ns / 10 % 10),
                    (char)('0' + ns % 10)};
  put_number(o, ns / 1000);
  put_bytes(o, places, sizeof places);
}

/* How many bytes of a character of UTF-8 stand here; 0: it is none. */
static size_t utf8_length(const unsigned char *s, size_t n) {
  size_t more = s[0] < 0x80   ? 0
                : s[0] < 0xc2 ? 9
                : s[0] < 0xe0 ? 1
                : s[0] < 0xf0 ? 2
                : s[0] < 0xf5 ? 3
                              : 9;
  if (more >= n) return 0;
  for (size_t i = 1; i <= more; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
  if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
  return more + 1;
}

/* A string of JSON, which may stand in a page, too. What is no UTF-8 becomes the sign for that. */
static void put_string(Out *o, const char *text, size_t n) {
  const unsigned char *s = (const unsigned char *)text, *end = s + n;
  char escape[8];
  put(o, "\"");
  while (s < end) {
    size_t length = utf8_length(s, (size_t)(end - s));
    if (!length)
      put(o, "\xef\xbf\xbd"), length = 1;
    else if (*s < 0x20 || *s == 0x7f || *s == '"' || *s == '\\' || *s == '<') {
      snprintf(escape, sizeof escape, "\\u%04x", *s);
      put(o, escape);
    } else
      put_bytes(o, (const char *)s, length);
    s += length;
  }
  put(o, "\"");
}

static void put_phrase(Out *o, uint32_t i, const char *fallback) {
  const Phrase *it = i ? phrases_get(&o->t->phrases, i) : NULL;
  if (it && it->text)
    put_string(o, it->text, it->n);
  else
    put_string(o, fallback, strlen(fallback));
}

/* Events */

static void begin_event(Out *o, const char *head, uint64_t loop, uint64_t row) {
  put(o, o->comma ? ",\n" : "\n");
  o->comma = true;
  put(o, "{");
  put(o, head);
  put(o, ",\"pid\":");
  put_number(o, loop);
  put(o, ",\"tid\":");
  put_number(o, row);
}

static void put_from(Out *o, uint64_t at) {
  put(o, ",\"ts\":");
  put_time(o, at);
}

static void put_span(Out *o, uint64_t at, uint64_t end) {
  put_from(o, at);
  put(o, ",\"dur\":");
  put_time(o, end > at ? end - at : 0);
}

static void put_field(Out *o, const char *key, uint32_t phrase, const char **separator) {
  if (!phrase) return;
  put(o, *separator);
  put(o, key);
  put_phrase(o, phrase, "");
  *separator = ",";
}

/* The rows */

static Row *place_of(Row *rows, uint64_t size, uint64_t task) {
  uint64_t at = (task * 0x9e3779b97f4a7c15u >> 20) & (size - 1);
  while (rows[at].task && rows[at].task != task) at = (at + 1) & (size - 1);
  return &rows[at];
}

static bool grow(Out *o) {
  uint64_t size = o->size ? 2 * o->size : 64;
  Row *rows = mem_calloc(size, sizeof *rows);
  if (!rows) return false;
  for (uint64_t i = 0; i < o->size; i++)
    if (o->rows[i].task) *place_of(rows, size, o->rows[i].task) = o->rows[i];
  mem_free(o->rows);
  o->rows = rows;
  o->size = size;
  return true;
}

/* Valid until the next call. Where there is no memory for a row of its own, a task shares one with others, and the
** file is not written. */
static Row *find_row(Out *o, uint64_t task) {
  if (2 * o->n >= o->size && !grow(o)) o->error = -ENOMEM;
  Row *row = place_of(o->rows, o->size, task);
  if (row->task || o->error) return row;
  row->task = task;
  o->n++;
  return row;
}

static bool make_room(Out *o) {
  o->lanes = mem_calloc(MOST_LANES, sizeof *o->lanes);
  return o->lanes && grow(o);
}

static bool is_tasks(const Event *e) { return e->kind <= EVENT_LEFT; }

static void learn(Out *o, const Event *e) {
  static const char STATES[] = {[FUTURE_PENDING] = 'w',
                                [FUTURE_RESULT] = 'd',
                                [FUTURE_ERROR] = 'f',
                                [FUTURE_CANCELLED] = 'c'};
  static const char PHASES[] = {[TASK_NEW] = 'r',
                                [TASK_RUNNING] = 'R',
                                [TASK_PARKED] = 'w',
                                [TASK_WOKEN] = 'r',
                                [TASK_ENDED] = 'w'};
  if (e->kind == EVENT_SWEPT || e->kind == EVENT_CYCLE) o->collector = true;
  if (!is_tasks(e)) return;
  Row *row = find_row(o, e->task);
  if (e->kind == EVENT_MADE) {
    row->known = true;
    row->made = e->at;
    row->maker = e->other;
    row->function = e->text;
    row->loop = e->on;
  } else if (e->kind == EVENT_ENDED || e->kind == EVENT_LEFT) {
    row->name = e->text;
    row->function = e->on;
    row->loop = e->other;
    row->state = (e->kind == EVENT_LEFT ? PHASES : STATES)[e->flags];
  }
}

static void put_row(Out *o, const Row *row, const char *name, size_t n) {
  const char *states[] = {['d'] = "done",    ['f'] = "failed", ['c'] = "cancelled",
                          ['w'] = "waiting", ['r'] = "ready",  ['R'] = "running"};
  begin_event(o, "\"ph\":\"M\",\"name\":\"thread_name\"", row->loop, row->task);
  put(o, ",\"args\":{\"name\":");
  put_string(o, name, n);
  put(o, ",\"what\":\"task\"");
  const char *separator = ",";
  put_field(o, "\"source\":", row->function, &separator);
  if (row->known) {
    put(o, ",\"made_by\":");
    put_number(o, row->maker);
    put(o, ",\"made\":");
    put_time(o, row->made);
  }
  if (row->state) {
    put(o, ",\"state\":\"");
    put(o, states[(unsigned char)row->state]);
    put(o, "\"");
  }
  put(o, "}}");
  begin_event(o, "\"ph\":\"M\",\"name\":\"thread_sort_index\"", row->loop, row->task);
  put(o, ",\"args\":{\"sort_index\":");
  put_number(o, row->task);
  put(o, "}}");
}

static void put_known_row(Out *o, const Row *row) {
  char number[40];
  const Phrase *name = row->name ? phrases_get(&o->t->phrases, row->name) : NULL;
  if (name && name->text) {
    put_row(o, row, name->text, name->n);
    return;
  }
  snprintf(number, sizeof number, "Task-%llu", (unsigned long long)row->task);
  put_row(o, row, number, strlen(number));
}

/* A task that has not ended: its row says what it is called now. */
static void meet(lua_State *L, Task *task, void *arg) {
  static const char PHASES[] = {
      [TASK_NEW] = 'r', [TASK_RUNNING] = 'R', [TASK_PARKED] = 'w', [TASK_WOKEN] = 'r'};
  Out *o = arg;
  char text[PHRASE_MOST];
  Row *row = find_row(o, task->number);
  row->loop = task->loop->id;
  row->state = PHASES[task->phase];
  row->live = true;
  size_t n = asy_tracer_name(L, o->t, task, lua_gettop(L), text);
  if (!n) n = (size_t)snprintf(text, sizeof text, "Task-%llu", (unsigned long long)task->number);
  put_row(o, row, text, n);
}

static void put_named_row(Out *o, uint64_t row, const char *name, const char *what) {
  begin_event(o, "\"ph\":\"M\",\"name\":\"thread_name\"", o->loop, row);
  put(o, ",\"args\":{\"name\":\"");
  put(o, name);
  put(o, "\",\"what\":\"");
  put(o, what);
  put(o, "\"}}");
}

/* Its process is the loop. */
static void put_loop(Out *o, uint64_t loop) {
  char name[60];
  o->loop = loop;
  snprintf(name, sizeof name, "event loop %llu", (unsigned long long)loop);
  begin_event(o, "\"ph\":\"M\",\"name\":\"process_name\"", loop, 0);
  put(o, ",\"args\":{\"name\":\"");
  put(o, name);
  put(o, "\"}}");
  put_named_row(o, ROW_LOOP, "loop", "loop");
  if (o->collector) put_named_row(o, ROW_COLLECTOR, "collector", "collector");
}

/* The loop that an event is of; 0: it does not say. */
static uint64_t loop_of(Out *o, const Event *e) {
  switch (e->kind) {
  case EVENT_MADE:
  case EVENT_HANDED: return e->on;
  case EVENT_BACK: return 0;
  case EVENT_STEP:
  case EVENT_WOKEN: return find_row(o, e->task)->loop;
  case EVENT_ENDED:
  case EVENT_LEFT: return e->other;
  default: return e->task;
  }
}

/* Loops follow each other, nearly always; one that is heard of again is named again, which does no harm. */
static void put_loops(Out *o) {
  o->loop = 0;
  for (uint64_t i = 0; i < reel_length(&o->t->reel); i++) {
    uint64_t loop = loop_of(o, reel_get(&o->t->reel, i));
    if (loop && loop != o->loop) put_loop(o, loop);
  }
}

/* What was done */

static void put_arrow(Out *o, Row *row, const char *kind, uint64_t by, uint64_t at) {
  row->flow = ++o->flows;
  row->arrow = kind;
  begin_event(o, "\"ph\":\"s\"", row->loop, by);
  put_from(o, at);
  put(o, ",\"id\":");
  put_number(o, row->flow);
  put(o, ",\"cat\":\"");
  put(o, kind);
  put(o, "\",\"name\":\"");
  put(o, kind);
  put(o, "\"}");
}

static void put_arrow_head(Out *o, Row *row, uint64_t at) {
  if (!row->flow || row->woken_at > at) return;
  begin_event(o, "\"ph\":\"f\",\"bp\":\"e\"", row->loop, row->task);
  put_from(o, at);
  put(o, ",\"id\":");
  put_number(o, row->flow);
  put(o, ",\"cat\":\"");
  put(o, row->arrow);
  put(o, "\",\"name\":\"");
  put(o, row->arrow);
  put(o, "\"}");
  row->flow = 0;
}

static void put_wait(Out *o, const Row *row, uint64_t end, bool open) {
  const char *separator = "";
  begin_event(o, row->gave_way ? "\"ph\":\"X\",\"cat\":\"ready\"" : "\"ph\":\"X\",\"cat\":\"wait\"",
              row->loop, row->task);
  put_span(o, row->since, end);
  put(o, ",\"name\":");
  put_phrase(o, row->text, "wait");
  put(o, ",\"args\":{");
  if (row->on_task) {
    put(o, "\"on\":\"task ");
    put_number(o, row->on);
    put(o, "\",\"on_task\":");
    put_number(o, row->on);
    separator = ",";
  } else
    put_field(o, "\"on\":", row->on, &separator);
  put_field(o, "\"at\":", row->place, &separator);
  if (row->woken) {
    put(o, separator);
    put(o, "\"by\":");
    put_number(o, row->by);
    separator = ",";
  }
  if (open) {
    put(o, separator);
    put(o, "\"open\":true");
  }
  put(o, "}}");
}

static void put_ready(Out *o, const Row *row, uint64_t from, uint64_t end) {
  begin_event(o, "\"ph\":\"X\",\"cat\":\"ready\",\"name\":\"ready\"", row->loop, row->task);
  put_span(o, from, end);
  put(o, "}");
}

/* What the task did until `at`: it waited, and was ready. */
static void put_before(Out *o, Row *row, uint64_t at, bool open) {
  bool woken = row->woken && row->woken_at <= at;
  if (row->waits && row->woken_at < row->since)
    row->woken_at = row->since; /* in the very step that ended with it */
  if (row->waits)
    put_wait(o, row, woken && !row->gave_way ? row->woken_at : at,
             open && !woken && !row->gave_way);
  if (woken && !(row->waits && row->gave_way)) put_ready(o, row, row->woken_at, at);
  row->waits = false;
  if (woken) row->woken = false;
}

static void put_step(Out *o, Row *row, const Event *e) {
  const char *separator = "";
  put_before(o, row, e->at, false);
  begin_event(o, "\"ph\":\"X\",\"cat\":\"step\",\"name\":\"step\"", row->loop, row->task);
  put_span(o, e->at, e->other);
  put(o, ",\"args\":{");
  put_field(o, "\"to\":", e->place, &separator);
  put(o, "}}");
  put_arrow_head(o, row, e->at);
  if (!(e->flags & EVENT_PARKS)) return;
  row->waits = true;
  row->gave_way = e->flags & EVENT_READY;
  row->on_task = e->flags & EVENT_ON_TASK;
  row->since = e->other;
  row->text = e->text;
  row->on = e->on;
  row->place = e->place;
}

static void put_end(Out *o, Row *row, const Event *e) {
  static const char *const NAMES[] = {"", "done", "failed", "cancelled"};
  put_before(o, row, e->at, false);
  begin_event(o, "\"ph\":\"i\",\"s\":\"t\",\"cat\":\"end\"", row->loop, row->task);
  put_from(o, e->at);
  put(o, ",\"name\":\"");
  put(o, NAMES[e->flags & 3]);
  put(o, "\",\"args\":{");
  const char *separator = "";
  put_field(o, "\"error\":", e->place, &separator);
  put(o, "}}");
}

static void wake(Out *o, const Event *e) {
  Row *row = find_row(o, e->task);
  row->woken = true;
  row->woken_at = e->at;
  row->by = e->other;
  put_arrow(o, row, e->flags & EVENT_CANCELS ? "cancel" : "wake", e->other, e->at);
}

static void make(Out *o, const Event *e) {
  Row *row = find_row(o, e->task);
  row->woken = true;
  row->woken_at = e->at;
  put_arrow(o, row, "spawn", e->other, e->at);
}

static void put_work(Out *o, const char *head, uint64_t row, const Event *e) {
  begin_event(o, head, e->task, row);
  put_span(o, e->at, e->other);
  put(o, "}");
}

/* Between two polls the loop had a turn, or several. */
static void put_poll(Out *o, const Event *e) {
  static const char TURN[] = "\"ph\":\"X\",\"cat\":\"loop\",\"name\":\"turn\"";
  if (o->turn <= e->at)
    put_work(o, TURN, ROW_LOOP, &(Event){.task = e->task, .at = o->turn, .other = e->at});
  put_work(o, "\"ph\":\"X\",\"cat\":\"loop\",\"name\":\"poll\"", ROW_LOOP, e);
  o->turn = e->other;
}

static void put_memory(Out *o, const Event *e) {
  begin_event(o, "\"ph\":\"C\",\"name\":\"memory\"", e->task, ROW_LOOP);
  put_from(o, e->at);
  put(o, ",\"args\":{\"KiB\":");
  put_number(o, e->other);
  put(o, "}}");
}

static void put_cycle(Out *o, const Event *e) {
  begin_event(o, "\"ph\":\"i\",\"s\":\"t\",\"cat\":\"gc\",\"name\":\"cycle\"", e->task,
              ROW_COLLECTOR);
  put_from(o, e->at);
  put(o, "}");
}

/* Jobs: each has a lane for itself meanwhile */

static void hand(Out *o, const Event *e) {
  int i = 0;
  while (i < MOST_LANES - 1 && o->lanes[i].job) i++;
  o->lanes[i] = (Lane){.job = e->other, .at = e->at, .task = e->task, .text = e->text};
  if (i >= o->nlanes) {
    put_named_row(o, ROW_JOBS + (uint64_t)i, "threads' jobs", "jobs");
    o->nlanes = i + 1;
  }
}

static void put_job(Out *o, int i, uint64_t end) {
  Lane *lane = &o->lanes[i];
  begin_event(o, "\"ph\":\"X\",\"cat\":\"job\"", o->loop, ROW_JOBS + (uint64_t)i);
  put_span(o, lane->at, end);
  put(o, ",\"name\":");
  put_phrase(o, lane->text, "job");
  put(o, ",\"args\":{\"task\":");
  put_number(o, lane->task);
  put(o, "}}");
  lane->job = 0;
}

static void take_back(Out *o, const Event *e) {
  for (int i = 0; i < o->nlanes; i++)
    if (o->lanes[i].job == e->other) {
      put_job(o, i, e->at);
      return;
    }
}

static void put_event(Out *o, const Event *e) {
  uint64_t loop = loop_of(o, e);
  if (loop && loop != o->loop) o->turn = UINT64_MAX, o->loop = loop;
  switch ((EventKind)e->kind) {
  case EVENT_MADE: make(o, e); return;
  case EVENT_STEP: put_step(o, find_row(o, e->task), e); return;
  case EVENT_WOKEN: wake(o, e); return;
  case EVENT_ENDED: put_end(o, find_row(o, e->task), e); return;
  case EVENT_LEFT: put_before(o, find_row(o, e->task), e->at, true); return;
  case EVENT_POLL: put_poll(o, e); return;
  case EVENT_CALL:
    put_work(o, "\"ph\":\"X\",\"cat\":\"loop\",\"name\":\"callback\"", ROW_LOOP, e);
    return;
  case EVENT_SWEPT:
    put_work(o, "\"ph\":\"X\",\"cat\":\"gc\",\"name\":\"collector\"", ROW_COLLECTOR, e);
    return;
  case EVENT_CYCLE: put_cycle(o, e); return;
  case EVENT_MEMORY: put_memory(o, e); return;
  case EVENT_HANDED: hand(o, e); return;
  case EVENT_BACK: take_back(o, e); return;
  }
}

/* What goes on when the trace ends. */
static void put_open(Out *o) {
  uint64_t end = o->t->end;
  if (o->turn <= end && o->loop)
    put_work(o, "\"ph\":\"X\",\"cat\":\"loop\",\"name\":\"turn\"", ROW_LOOP,
             &(Event){.task = o->loop, .at = o->turn, .other = end});
  for (int i = 0; i < o->nlanes; i++)
    if (o->lanes[i].job) put_job(o, i, end);
  for (uint64_t i = 0; i < o->size; i++)
    if (o->rows[i].task) put_before(o, &o->rows[i], end, true);
}

static void put_facts(Out *o) {
  const Tracer *t = o->t;
  char when[40] = "";
  struct tm tm;
  time_t began = (time_t)o->file->began;
  if (gmtime_r(&began, &tm)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
  put(o, "\n],\"displayTimeUnit\":\"ms\",\"otherData\":{\"program\":");
  put_string(o, o->file->program, strlen(o->file->program));
  put(o, ",\"pid\":");
  put_number(o, (uint64_t)getpid());
  put(o, ",\"started\":\"");
  put(o, when);
  put(o,
      t->virtual_loop ? "\",\"clock\":\"virtual\",\"lua\":\"" : "\",\"clock\":\"real\",\"lua\":\"");
  put(o, LUA_VERSION "\",\"events\":");
  put_number(o, reel_length(&t->reel));
  put(o, ",\"dropped\":");
  put_number(o, reel_first(&t->reel));
  put(o, ",\"max_events\":");
  put_number(o, t->reel.most);
  put(o, ",\"duration\":");
  put_time(o, t->end);
  put(o, "}}\n");
}

static void put_all(lua_State *L, Out *o) {
  uint64_t n = reel_length(&o->t->reel);
  put(o, "{\"traceEvents\":[");
  list_each(node, &o->rt->loops) asy_tracer_each(L, asy_container(node, Loop, link), meet, o);
  put_loops(o);
  for (uint64_t i = 0; i < o->size; i++)
    if (o->rows[i].task && !o->rows[i].live) put_known_row(o, &o->rows[i]);
  o->turn = UINT64_MAX;
  for (uint64_t i = 0; i < n; i++) put_event(o, reel_get(&o->t->reel, i));
  put_open(o);
  put_facts(o);
}

int asy_tracefile_write(lua_State *L, Tracer *t, const TraceFile *file, Runtime *rt,
                        const char **syscall) {
  Out o = {.t = t, .file = file, .rt = rt};
  *syscall = "malloc";
  if (make_room(&o)) {
    *syscall = "write";
    for (uint64_t i = 0; i < reel_length(&t->reel); i++) learn(&o, reel_get(&t->reel, i));
    put_bytes(&o, file->before, file->nbefore);
    put_all(L, &o);
    put_bytes(&o, file->after, file->nafter);
    flush(&o);
  } else
    o.error = -ENOMEM;
  mem_free(o.rows);
  mem_free(o.lanes);
  return o.error;
}
