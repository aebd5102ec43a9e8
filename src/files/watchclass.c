/*
** watchclass.c - asyncio.fs.watch: what happens to a path, event by event.
*/
#include "files/watcher.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/errand.h"
#include "core/error.h"
#include "core/options.h"
#include "core/report.h"
#include "net/unclosed.h"
#include "open.h"

typedef struct Watch {
  Watcher *watcher; /* NULL: it has been collected, or is being made */
} Watch;

static Watch *check_watch(lua_State *L) { return asy_check(L, ASY_RUNTIME(L), 1, ASY_WATCH, "asyncio.Watch"); }

/* Errors */

/* What to do where the system's limits are reached, or NULL. */
static const char *remedy(int status, const char *call) {
  if (status == UV_ENOSPC && !strcmp(call, "inotify_add_watch"))
    return "the system allows no more watches: raise fs.inotify.max_user_watches (sysctl), or watch fewer folders";
  if (status == UV_EMFILE && !strcmp(call, "inotify_init1"))
    return "too many watches at once: raise fs.inotify.max_user_instances (sysctl), or close some";
  if (status == UV_ENOSYS && !strcmp(call, "inotify_init1"))
    return "files can be watched on Linux only: it is its inotify that tells of them";
  return NULL;
}

static int raise_failure(lua_State *L, int status, const char *call, const char *path) {
  const char *words = remedy(status, call);
  if (status == UV_ENOMEM) return asy_nomemory(L);
  path = lua_pushstring(L, path); /* whose watch a finaliser may close */
  asy_patherror_push(L, status, call, path, NULL);
  if (words) {
    lua_pushfstring(L, "%s: %s", words, path);
    lua_setfield(L, -2, "message");
  }
  asy_made_note(L, 0);
  return lua_error(L);
}

/* Events */

static const char *const KINDS[] = {[FS_CREATED] = "created", [FS_CHANGED] = "changed", [FS_REMOVED] = "removed",
                                    [FS_RENAMED] = "renamed", [FS_RESCAN] = "rescan"};

/* args: note (light) → event */
static int push_event(lua_State *L) {
  const FsNote *note = lua_touserdata(L, 1);
  lua_createtable(L, 0, note->from ? 3 : 2);
  lua_pushstring(L, KINDS[note->kind]);
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, note->path);
  lua_setfield(L, -2, "path");
  if (note->from) {
    lua_pushstring(L, note->from);
    lua_setfield(L, -2, "from");
  }
  return 1;
}

/* The event, or nil at the end. What there is no memory for comes again. stack: watch */
static int give(lua_State *L, Watcher *w) {
  FsNote *note = watcher_take(w);
  if (!note && w->status) return raise_failure(L, w->status, w->call, w->failed ? w->failed : w->path);
  if (!note) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushcfunction(L, push_event);
  lua_pushlightuserdata(L, note);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    watcher_put_back(w, note);
    return lua_error(L);
  }
  mem_free(note);
  return 1;
}

static int got(lua_State *L, Task *t) {
  Watcher *w = t->on;
  if (!w) return 0;
  waitq_took(t);
  w->handed--;
  lua_settop(L, 1);
  return give(L, w);
}

static void giveback(lua_State *L, Task *t) {
  Watcher *w = t->on;
  (void)L;
  if (!w) return;
  waitq_took(t);
  watcher_pass(w);
}

static void describe(const Task *t, char *text) {
  const Watcher *w = t->on;
  if (w) snprintf(text, ASY_WAIT_TEXT, "%s", w->path);
}

static bool may_come(const Task *t) {
  const Watcher *w = t->on;
  return !w || !w->over;
}

static const WaitKind NEXT = {.name = "watch", .finish = got, .abort = asy_waitq_abort, .giveback = giveback,
                              .may_come = may_come, .describe = describe};

static Watcher *check_watcher(lua_State *L) {
  const Watch *watch = check_watch(L);
  if (!watch->watcher) asy_error(L, ASY_CLOSED, "the watch has been collected");
  return watch->watcher;
}

/* The next event; nil once it is closed, or when nothing can come any more. */
static int watch__call(lua_State *L) {
  Watcher *w = check_watcher(L);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  if (task_spent(t)) return asy_give_way(L, t, watch__call);
  if (!w->handle.open) return give(L, w); /* nil */
  if (w->handle.loop->copied) return asy_error(L, ASY_CLOSED, "the watch is the parent's: this process was forked from it");
  if (w->handle.loop != t->loop) return asy_error(L, ASY_ERROR, "the watch belongs to another event loop");
  if (watcher_has_news(w)) return give(L, w);
  return asy_waitq_park(L, t, &w->line, &NEXT, w);
}

/* Making one */

typedef struct Arming {
  Errand errand; /* first */
  FsWatch *fs;   /* NULL: somebody has it */
  lua_Number debounce;
} Arming;

static void arming_work(Chore *chore) { fswatch_arm(asy_container(chore, Arming, errand.chore)->fs); }

static void arming_free(Errand *e) {
  Arming *a = asy_container(e, Arming, errand);
  if (a->fs) fswatch_free(a->fs);
  mem_free(a);
}

/* stack: [1] path */
static int armed(lua_State *L, Errand *e) {
  Arming *a = asy_container(e, Arming, errand);
  Loop *loop = asy_running(L, asy_runtime(L));
  int status = a->fs->status;
  if (status) return raise_failure(L, status, a->fs->call, a->fs->failed ? a->fs->failed : lua_tostring(L, 1));
  Watch *watch = lua_newuserdatauv(L, sizeof *watch, 0);
  watch->watcher = NULL;
  asy_pushmeta(L, asy_runtime(L), ASY_WATCH);
  lua_setmetatable(L, -2);
  char *site = asy_debug_site(L, loop);
  uint64_t now = loop_now(loop), window = a->debounce > 0 ? loop_deadline(loop, a->debounce) - now : 0;
  watch->watcher = watcher_new(loop, a->fs, window, &status);
  if (!watch->watcher) {
    mem_free(site);
    return raise_failure(L, status, "poll", lua_tostring(L, 1));
  }
  a->fs = NULL;
  watch->watcher->site = site;
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, -3);
  return 4;
}

static const WaitKind ARM = {.name = "watch", .finish = asy_errand_finish, .abort = asy_errand_abort,
                             .giveback = asy_errand_giveback};

static const OptSpec SPECS[] = {{.key = "recursive", .kind = OPT_BOOLEAN}, {.key = "debounce", .kind = OPT_SECONDS}};
static const Options OPTIONS = {"watch", 2, OPT_NAMED, OPT_SPECS(SPECS)};

/* watch(path, opts) → watch, nil, nil, watch: fs.watch */
static int fs_watch(lua_State *L) {
  size_t n;
  if (lua_type(L, 1) != LUA_TSTRING) asy_typeerror(L, 1, 1, "path (a string)", "");
  const char *path = lua_tolstring(L, 1, &n);
  asy_argcheck(L, strlen(path) == n, 1, "a zero byte, which no path has");
  lua_settop(L, 2);
  asy_options_check(L, 2, &OPTIONS);
  bool recursive = !lua_isnil(L, 2) && asy_opt_bool(L, 2, "recursive", false);
  lua_Number debounce = lua_isnil(L, 2) ? 0 : asy_opt_seconds(L, 2, "debounce", 0);
  Task *t = asy_current(L);
  if (task_spent(t)) return asy_give_way(L, t, fs_watch);
  if (!n) return asy_patherror(L, UV_ENOENT, "watch", path, NULL);
  asy_checkalive(L);
  Arming *a = mem_calloc(1, sizeof *a);
  FsWatch *fs = a ? fswatch_new(path, recursive) : NULL;
  if (!fs) {
    mem_free(a);
    return asy_nomemory(L);
  }
  a->errand = (Errand){.chore.work = arming_work, .results = armed, .free = arming_free};
  a->fs = fs;
  a->debounce = debounce;
  lua_settop(L, 1);
  return asy_errand_run(L, t, &a->errand, CREW_FILES, &ARM);
}

/* Its methods */

/// Ends it: whoever waits for an event gets `nil`. Once more does nothing.
// @function Watch:close
static int watch_close(lua_State *L) {
  const Watch *watch = check_watch(L);
  if (watch->watcher) watcher_close(watch->watcher);
  return 0;
}

static int watch__tostring(lua_State *L) {
  const Watch *watch = check_watch(L);
  const Watcher *w = watch->watcher;
  if (!w)
    lua_pushfstring(L, "asyncio.Watch: collected (%p)", (const void *)watch);
  else if (!w->duty)
    lua_pushfstring(L, "asyncio.Watch: %s, closed (%p)", w->path, (const void *)watch);
  else
    lua_pushfstring(L, "asyncio.Watch: %s, %d events (%p)", w->path, (int)w->notes.n, (const void *)watch);
  return 1;
}

/* Left behind */

static int watch__gc(lua_State *L) {
  char site[1000] = "", text[ASY_HANDLE_TEXT];
  Watch *watch = asy_test(L, ASY_RUNTIME(L), 1, ASY_WATCH);
  Watcher *w = watch ? watch->watcher : NULL;
  if (!w) return 0;
  watch->watcher = NULL;
  Loop *loop = w->handle.loop;
  bool forgotten = w->handle.open && loop && !loop->copied;
  snprintf(text, sizeof text, "asyncio: a watch of %s was not closed before it was collected", w->path);
  if (forgotten && w->site && loop->debug) snprintf(site, sizeof site, "%s", w->site);
  asy_waitq_destroy(L, &w->line); /* only where a stranger closed the task's coroutine */
  watcher_close(w);
  handle_unbox(&w->handle);
  if (!forgotten) return 0;
  lua_warning(L, text, 0); /* may raise, and so may what follows: last */
  if (!*site) return 0;
  lua_pushstring(L, text + strlen("asyncio: "));
  asy_unclosed_report_later(L, loop, site);
  return 0;
}

static void report_one(Handle *h, void *arg) {
  const Watcher *w = asy_container(h, Watcher, handle);
  lua_State *L = arg;
  if (!w->site) return;
  lua_pushfstring(L, "a watch of %s was not closed", w->path);
  asy_unclosed_report(L, h->loop, lua_tostring(L, -1), "opened at", w->site);
  lua_pop(L, 1);
}

static void report_watches(lua_State *L, Loop *loop) {
  if (loop->debug) watchers_each(loop, report_one, L);
}

static void leave(lua_State *L, Loop *loop, int held) {
  (void)L;
  (void)held;
  watchers_leave(loop);
}

static void in_child(Loop *loop, bool live) {
  if (live) watchers_leave(loop);
}

/// What happens to a path, event by event; `asyncio.fs.watch` makes it. Called, it waits for the next event.
// It is a `<close>` variable, and closed by the `for` that it is given to.
// @type Watch
// @usage
// local fs = asyncio.fs
// local folder = fs.mkdtemp()
// local watch <close> = fs.watch(folder, { debounce = 0.05 }) -- from here on nothing is missed
// fs.write_file(folder .. "/tea.txt", "green")
// for event in watch do
//   print(event.kind, event.path == folder .. "/tea.txt") --> created  true
//   break
// end
// fs.remove_tree(folder)

static const luaL_Reg methods[] = {{"close", watch_close}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__call", watch__call},         {"__close", watch_close}, {"__gc", watch__gc},
                                       {"__tostring", watch__tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"watch", fs_watch}, {NULL, NULL}};

/* stack: module */
void asy_open_fswatch(lua_State *L) {
  static const LoopHooks hooks = {.leave = leave, .report = report_watches, .in_child = in_child};
  asy_options_note(L, &OPTIONS);
  asy_setfuncs(L, functions);
  runtime_on_loop(asy_runtime(L), &hooks);
  asy_newclass(L, ASY_WATCH, "asyncio.Watch", methods, metamethods);
}
