/*
** fs.c - calls about files and folders, for lua/asyncio/fs.lua: a task waits while one of the loop's threads makes one.
*/
#include "files/fscall.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/errand.h"
#include "core/error.h"
#include "open.h"
#include "files/filecall.h"

typedef struct Verb {
  const char *name;
  FsWork *work;
  int (*push)(lua_State *L, FsCall *c); /* pushes the results. stack: [1] the path, or the Folder */
  bool two;                             /* `second` is a path, too */
} Verb;

typedef struct Request {
  Errand errand; /* first */
  FsCall *call;
  const Verb *verb;
} Request;

/* Results */

static int push_nothing(lua_State *L, FsCall *c) {
  (void)L, (void)c;
  return 0;
}

static int push_flag(lua_State *L, FsCall *c) {
  lua_pushboolean(L, c->flag);
  return 1;
}

static int push_text(lua_State *L, FsCall *c) {
  lua_pushlstring(L, buffer_bytes(&c->out), buffer_length(&c->out));
  return 1;
}

static const char *type_of(char letter) {
  switch (letter) {
  case 'f': return "file";
  case 'd': return "directory";
  case 'l': return "link";
  case 'p': return "fifo";
  case 's': return "socket";
  case 'c': return "char";
  case 'b': return "block";
  default: return "unknown";
  }
}

#if defined(__APPLE__)
#define st_atim st_atimespec
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

static void set_integer(lua_State *L, const char *key, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, key);
}

static void set_time(lua_State *L, const char *key, struct timespec time) {
  lua_pushnumber(L, (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec * 1e-9);
  lua_setfield(L, -2, key);
}

static int push_stat(lua_State *L, FsCall *c) {
  lua_createtable(L, 0, 11);
  lua_pushstring(L, type_of(fs_letter(c->st.st_mode)));
  lua_setfield(L, -2, "type");
  set_integer(L, "size", (uint64_t)c->st.st_size);
  set_integer(L, "mode", c->st.st_mode & 07777);
  set_integer(L, "ino", c->st.st_ino);
  set_integer(L, "dev", c->st.st_dev);
  set_integer(L, "nlink", c->st.st_nlink);
  set_integer(L, "uid", c->st.st_uid);
  set_integer(L, "gid", c->st.st_gid);
  set_time(L, "atime", c->st.st_atim);
  set_time(L, "mtime", c->st.st_mtim);
  set_time(L, "ctime", c->st.st_ctim);
  return 1;
}

/* The file, and its path. */
static int push_file(lua_State *L, FsCall *c) {
  push_text(L, c);
  File *f = asy_file_push(L, asy_runtime(L)->running, lua_tostring(L, -1));
  file_adopt(f, c->fd, FILE_READS | FILE_WRITES);
  c->fd = -1;
  lua_insert(L, -2);
  return 2;
}

/* The file, to be read, what is known of it, and where it stands. */
static int push_opened(lua_State *L, FsCall *c) {
  push_text(L, c);
  File *f = asy_file_push(L, asy_runtime(L)->running, lua_tostring(L, -1));
  file_adopt(f, c->fd, FILE_READS);
  c->fd = -1;
  push_stat(L, c);
  lua_rotate(L, -3, 2);
  return 3;
}

static const Verb VERBS[] = {
    {"read_file", fs_read_file, push_text, false},
    {"write_file", fs_write_file, push_nothing, false},
    {"copy_file", fs_copy_file, push_nothing, true},
    {"stat", fs_stat, push_stat, false},
    {"lstat", fs_lstat, push_stat, false},
    {"exists", fs_exists, push_flag, false},
    {"access", fs_access, push_flag, false},
    {"real_path", fs_real_path, push_text, false},
    {"rename", fs_rename, push_nothing, true},
    {"unlink", fs_unlink, push_nothing, false},
    {"link", fs_link, push_nothing, true},
    {"symlink", fs_symlink, push_nothing, true},
    {"read_link", fs_read_link, push_text, false},
    {"chmod", fs_chmod, push_nothing, false},
    {"chown", fs_chown, push_nothing, false},
    {"utime", fs_utime, push_nothing, false},
    {"mkdir", fs_mkdir, push_nothing, false},
    {"makedirs", fs_makedirs, push_nothing, false},
    {"rmdir", fs_rmdir, push_nothing, false},
    {"remove_tree", fs_remove_tree, push_nothing, false},
    {"mkdtemp", fs_mkdtemp, push_text, false},
    {"mkstemp", fs_mkstemp, push_file, false},
    {"open_beneath", fs_open_beneath, push_opened, false},
};

static int fail(lua_State *L, const Request *r) {
  const FsCall *c = r->call;
  const char *path = c->failed ? c->failed : c->path, *path2 = r->verb->two ? c->second : NULL;
  if (c->status == -ENOMEM && !strcmp(c->syscall, "malloc")) asy_nomemory(L);
  asy_patherror_push(L, c->status, c->syscall, path, path2);
  if (c->why) {
    lua_pushfstring(L, path2 ? "%s: %s %s to %s" : "%s: %s %s", c->why, c->syscall, path, path2);
    lua_setfield(L, -2, "message");
  }
  asy_made_note(L, 0);
  return lua_error(L);
}

/* Requests */

static Request *request_of(Chore *chore) { return asy_container(chore, Request, errand.chore); }

static void request_work(Chore *chore) { fscall_run(request_of(chore)->call); }

static ErrandRest request_rest(const Errand *e) {
  const Request *r = asy_container(e, Request, errand);
  if (!fscall_has_got(r->call)) return ERRAND_NO_REST;
  return r->call->undo ? ERRAND_OWED_REST : ERRAND_REST;
}

static void request_give_back(Chore *chore) { fscall_give_back(request_of(chore)->call); }

static void request_free(Errand *e) {
  Request *r = asy_container(e, Request, errand);
  fscall_give_back(r->call);
  fscall_free(r->call);
  mem_free(r);
}

static int push_results(lua_State *L, Errand *e) {
  Request *r = asy_container(e, Request, errand);
  if (r->call->status) return fail(L, r);
  int n = r->verb->push(L, r->call);
  r->call->undo = NULL; /* it is taken */
  return n;
}

/* The path is the call's, and no thread changes it. */
static void describe(const Task *t, char *text) {
  const Request *r = t->on;
  snprintf(text, ASY_WAIT_TEXT, "%s %s", r->verb->name, r->call->path);
}

static Abort request_abort(lua_State *L, Task *t) {
  const Request *r = t->on;
  r->call->left = true;
  return asy_errand_abort(L, t);
}

static const WaitKind REQUEST = {.name = "files",
                                 .finish = asy_errand_finish,
                                 .abort = request_abort,
                                 .giveback = asy_errand_giveback,
                                 .describe = describe};

static Request *request_new(lua_State *L, const Verb *verb, const char *path, const char *second,
                            size_t length) {
  Request *r = mem_calloc(1, sizeof *r);
  FsCall *c = fscall_new(verb->work, path, second, length);
  if (!r || !c) {
    mem_free(r);
    if (c) fscall_free(c);
    asy_nomemory(L);
  }
  *r = (Request){.errand = {.chore.work = request_work,
                            .results = push_results,
                            .free = request_free,
                            .rest = request_rest,
                            .give_back = request_give_back}};
  r->call = c;
  r->verb = verb;
  return r;
}

static const Verb *check_verb(lua_State *L, int idx) {
  const char *name = luaL_checkstring(L, idx);
  for (size_t i = 0; i < sizeof VERBS / sizeof *VERBS; i++)
    if (!strcmp(VERBS[i].name, name)) return &VERBS[i];
  asy_argerror(L, idx, "no such call");
}

/* fs_call(verb, path, another path or bytes, a, b, flag) → results; a, b: modes, ids, times; nil: none */
static int fs_call(lua_State *L) {
  size_t length = 0;
  const Verb *verb = check_verb(L, 1);
  const char *path = luaL_checkstring(L, 2), *second = lua_tolstring(L, 3, &length);
  Task *t = asy_current(L);
  lua_settop(L, 6);
  Request *r = request_new(L, verb, path, second, length);
  FsCall *c = r->call;
  if (lua_isinteger(L, 4)) c->a = lua_tointeger(L, 4);
  if (lua_isinteger(L, 5)) c->b = lua_tointeger(L, 5);
  c->atime = lua_tonumber(L, 4);
  c->mtime = lua_tonumber(L, 5);
  c->flag = lua_toboolean(L, 6);
  lua_pushvalue(L, 2);
  return asy_errand_run(L, t, &r->errand, CREW_FILES, &REQUEST);
}

/* Folders, read by portions */

typedef enum FolderState { FOLDER_READY, FOLDER_READ, FOLDER_CLOSED } FolderState;

/* While it is read its DIR is the call's; the call of a task that was cancelled closes it. User value: its path. */
typedef struct Folder {
  DIR *dir;   /* NULL: it has not been opened, or is at its end */
  bool below; /* it has to be in the folder of that number, and be no link */
  dev_t above_dev, dev;
  ino_t above_ino, ino; /* its own ones are known when it has been opened */
  FolderState state;
} Folder;

static Folder *check_folder(lua_State *L, int idx) {
  return asy_check(L, ASY_RUNTIME(L), idx, ASY_FOLDER, "asyncio.Folder");
}

/* open_folder(path, above) → Folder; the first read opens it. above: a Folder that was read, in which it is, and that no
** link has led there; or nil */
static int folder_open(lua_State *L) {
  luaL_checkstring(L, 1);
  asy_checkalive(L);
  const Folder *above = lua_toboolean(L, 2) ? check_folder(L, 2) : NULL;
  Folder *f = lua_newuserdatauv(L, sizeof *f, 1);
  *f = (Folder){.state = FOLDER_READY, .below = above != NULL};
  if (above) {
    f->above_dev = above->dev;
    f->above_ino = above->ino;
  }
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  asy_pushmeta(L, ASY_RUNTIME(L), ASY_FOLDER);
  lua_setmetatable(L, -2);
  return 1;
}

/* The list of names and types in turn, and whether there may be more. stack: [1] Folder */
static int push_records(lua_State *L, FsCall *c) {
  Folder *f = lua_touserdata(L, 1);
  const char *record = buffer_bytes(&c->out), *end = record + buffer_length(&c->out);
  lua_createtable(L, (int)(buffer_length(&c->out) / 8), 0);
  for (lua_Integer i = 1; record < end; i += 2) {
    lua_pushstring(L, record + 1);
    lua_rawseti(L, -2, i);
    lua_pushstring(L, type_of(*record));
    lua_rawseti(L, -2, i + 1);
    record += strlen(record) + 1;
  }
  bool more = c->dir != NULL;
  if (!f->ino) {
    f->dev = c->st.st_dev;
    f->ino = c->st.st_ino;
  }
  if (f->state == FOLDER_READ) { /* nobody has closed it */
    f->dir = c->dir;
    c->dir = NULL;
    f->state = more ? FOLDER_READY : FOLDER_CLOSED;
  }
  lua_pushboolean(L, more);
  return 2;
}

/* read_folder(folder) → names and types in turn, whether there may be more */
static int folder_read(lua_State *L) {
  static const Verb READ = {"list_dir", fs_list, push_records, false};
  Folder *f = check_folder(L, 1);
  Task *t = asy_current(L);
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, 1);
  Request *r = request_new(L, &READ, lua_tostring(L, -1), NULL, 0);
  if (f->state != FOLDER_READY) {
    request_free(&r->errand);
    if (f->state == FOLDER_CLOSED) asy_error(L, ASY_CLOSED, "the folder is closed");
    asy_error(L, ASY_BUSY, "another task reads the folder");
  }
  f->state = FOLDER_READ;
  r->call->dir = f->dir;
  f->dir = NULL;
  r->call->flag = f->below;
  r->call->above.dev = f->above_dev;
  r->call->above.ino = f->above_ino;
  lua_pushvalue(L, 1);
  return asy_errand_run(L, t, &r->errand, CREW_FILES, &REQUEST);
}

typedef struct Closing {
  Chore chore; /* first */
  DIR *dir;
} Closing;

static void closing_work(Chore *chore) { closedir(asy_container(chore, Closing, chore)->dir); }
static void closing_free(Chore *chore) { mem_free(asy_container(chore, Closing, chore)); }

static void closing_lost(Chore *chore) {
  closing_work(chore);
  closing_free(chore);
}

/* By a thread, where there is one. */
static void close_dir(Loop *loop, DIR *dir) {
  Closing *c = loop ? mem_calloc(1, sizeof *c) : NULL;
  if (c) {
    *c = (Closing){{.work = closing_work, .done = closing_free, .lost = closing_lost}, dir};
    if (!loop_add_forsaken(loop, CREW_FILES, &c->chore, false)) return;
    mem_free(c);
  }
  closedir(dir);
}

/* close_folder(folder) */
static int folder_close(lua_State *L) {
  Folder *f = check_folder(L, 1);
  DIR *dir = f->dir;
  f->state = FOLDER_CLOSED;
  f->dir = NULL;
  if (dir) close_dir(asy_runtime(L)->running, dir);
  return 0;
}

static const luaL_Reg metamethods[] = {
    {"__gc", folder_close}, {"__close", folder_close}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"fs_call", fs_call},
                                     {"open_folder", folder_open},
                                     {"read_folder", folder_read},
                                     {"close_folder", folder_close},
                                     {NULL, NULL}};

/* stack: module */
void asy_open_fs(lua_State *L) {
  asy_setfuncs(L, functions);
  asy_newclass(L, ASY_FOLDER, "asyncio.Folder", NULL, metamethods);
}
