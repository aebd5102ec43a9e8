/*
** editor.c - the C module asyncio.editor: line editing for the REPL, by GNU readline or libedit.
**
** asyncio.terminal loads it when it shows a prompt; nothing else does, and it needs nothing of asyncio.core.
**
** The library is loaded when an editor is opened, as Lua 5.5's own `lua` does: nothing here needs it
** to be built or to run. It is used through its callback interface, which is fed when the terminal
** can be read, so that the loop goes on while a line is edited. It catches no signals: Ctrl-C is the
** loop's business.
**
** Its state is the process's and its callbacks carry no pointer of ours, so there is one editor at a
** time: `owner`. This object is unloaded when the Lua state closes, and the library may have other users
** then (`lua` itself): so what was set there is put back.
*/
#include "base/asy.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EDITOR "asyncio.Editor"

static const char *const LIBRARIES[] = {"libreadline.so.8", "libreadline.so", "libreadline.8.dylib",
                                        "libreadline.dylib", "libedit.so.2", "libedit.3.dylib"};

static const char WORD_BREAKS[] = " \t\n\"'`@$><=;|&{}()[]+-*/%^~#,!";

typedef void LineHandler(char *line);
typedef char **Completer(const char *text, int start, int end);

/* What is used of the library. */
typedef struct Readline {
  void (*install)(const char *prompt, LineHandler *handler);
  void (*remove)(void);
  void (*read_char)(void);
  void (*add_history)(const char *line);
  int (*redisplay)(void);
  int (*on_new_line)(void);
  const char **name; /* for `$if lua` in inputrc */
  FILE **in, **out;
  char **line;
  const char **word_breaks;
  Completer **completer;
  int *completion_over, *append_character, *catch_signals;
  /* NULL where it has none */
  int *catch_sigwinch;
  void (*sigcleanup)(void);
  void (*free_line_state)(void);
  int (*clear_visible_line)(void);
  void (*resize)(void);
  void (*prep)(int meta);
  void (*deprep)(void);
} Readline;

static const struct {
  const char *symbol;
  size_t offset;
  bool needed;
} SYMBOLS[] = {
    {"rl_callback_handler_install", offsetof(Readline, install), true},
    {"rl_callback_handler_remove", offsetof(Readline, remove), true},
    {"rl_callback_read_char", offsetof(Readline, read_char), true},
    {"add_history", offsetof(Readline, add_history), true},
    {"rl_redisplay", offsetof(Readline, redisplay), true},
    {"rl_on_new_line", offsetof(Readline, on_new_line), true},
    {"rl_readline_name", offsetof(Readline, name), true},
    {"rl_instream", offsetof(Readline, in), true},
    {"rl_outstream", offsetof(Readline, out), true},
    {"rl_line_buffer", offsetof(Readline, line), true},
    {"rl_completer_word_break_characters", offsetof(Readline, word_breaks), true},
    {"rl_attempted_completion_function", offsetof(Readline, completer), true},
    {"rl_attempted_completion_over", offsetof(Readline, completion_over), true},
    {"rl_completion_append_character", offsetof(Readline, append_character), true},
    {"rl_catch_signals", offsetof(Readline, catch_signals), true},
    {"rl_catch_sigwinch", offsetof(Readline, catch_sigwinch), false},
    {"rl_callback_sigcleanup", offsetof(Readline, sigcleanup), false},
    {"rl_free_line_state", offsetof(Readline, free_line_state), false},
    {"rl_clear_visible_line", offsetof(Readline, clear_visible_line), false},
    {"rl_resize_terminal", offsetof(Readline, resize), false},
    {"rl_prep_terminal", offsetof(Readline, prep), false},
    {"rl_deprep_terminal", offsetof(Readline, deprep), false},
};

/* What stood in the library's variables before. */
typedef struct Former {
  const char *name, *word_breaks;
  FILE *in, *out;
  Completer *completer;
  int catch_signals, catch_sigwinch;
} Former;

typedef struct Editor {
  Readline rl;
  Former former;
  FILE *in;        /* the terminal, opened anew: polling it changes no flag that others see */
  lua_State *L;    /* who feeds, for the completer, ... */
  int self;        /* ... and where on its stack the editor is */
  char *line;      /* a finished one */
  bool editing;    /* the prompt is there */
  bool finished;   /* a line has come, or with NULL in `line` the end */
  bool hidden;     /* the prompt is off the screen for a while */
} Editor; /* user value 1: the completer */

static _Atomic(Editor *) owner;

static Editor *check_editor(lua_State *L) {
  Editor *e = luaL_checkudata(L, 1, EDITOR);
  if (!e->in) luaL_error(L, "the editor is closed");
  return e;
}

/* The library */

static bool find_symbols(void *lib, Readline *rl) {
  for (size_t i = 0; i < sizeof SYMBOLS / sizeof *SYMBOLS; i++) {
    void *p = dlsym(lib, SYMBOLS[i].symbol);
    if (!p && SYMBOLS[i].needed) return false;
    memcpy((char *)rl + SYMBOLS[i].offset, &p, sizeof p);
  }
  return true;
}

/* One that is found stays loaded: an exit handler of it may be registered. */
static bool load_library(Readline *rl) {
  for (size_t i = 0; i < sizeof LIBRARIES / sizeof *LIBRARIES; i++) {
    void *lib = dlopen(LIBRARIES[i], RTLD_LAZY);
    if (lib && find_symbols(lib, rl)) return true;
    if (lib) dlclose(lib);
  }
  return false;
}

/* The terminal of stdin through a description of our own. */
static FILE *open_terminal(void) {
  char path[256];
  int fd = -1, flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
  if (ttyname_r(0, path, sizeof path) == 0) fd = open(path, flags);
  if (fd < 0) fd = open("/proc/self/fd/0", flags);
  if (fd < 0) fd = open("/dev/tty", flags);
  FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
  if (!f && fd >= 0) close(fd);
  return f;
}

/* Editing */

static void end_editing(Editor *e) {
  if (!e->editing) return;
  e->editing = e->hidden = false;
  e->rl.remove();
}

/* What the library calls back: C only, save for the completer, which runs protected */

static void on_line(char *line) {
  Editor *e = atomic_load(&owner);
  free(e->line); /* one that there was no memory to take */
  e->line = line;
  e->finished = true;
  end_editing(e); /* or the library would prompt again */
}

static void free_matches(char **matches, size_t n) {
  for (size_t i = 0; i < n; i++) free(matches[i]);
  free(matches);
}

/* stack: list of strings → what the library expects: what all have in common, then each, then NULL */
static char **copy_matches(lua_State *L, int list) {
  size_t n = lua_rawlen(L, list), common = 0;
  if (!n) return NULL;
  char **matches = calloc(n + 2, sizeof *matches);
  for (size_t i = 1; matches && i <= n; i++) {
    lua_rawgeti(L, list, (lua_Integer)i);
    const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    matches[i] = strdup(s);
    lua_pop(L, 1);
    if (!matches[i]) return free_matches(matches, n + 2), NULL;
    if (i == 1) common = strlen(s);
    for (size_t k = 0; k < common; k++)
      if (matches[1][k] != matches[i][k]) common = k;
  }
  if (!matches) return NULL;
  matches[0] = n == 1 ? matches[1] : strndup(matches[1], common);
  if (n == 1) matches[1] = NULL;
  if (!matches[0]) return free_matches(matches, n + 2), NULL;
  return matches;
}

/* args: start, end, editor, where to put the matches (light) */
static int complete_protected(lua_State *L) {
  const Editor *e = lua_touserdata(L, 3);
  char ***matches = lua_touserdata(L, 4);
  lua_getiuservalue(L, 3, 1);
  lua_insert(L, 1);
  lua_settop(L, 3);
  lua_pushstring(L, *e->rl.line);
  lua_insert(L, 2); /* completer, line, start, end */
  lua_call(L, 3, 1);
  if (lua_istable(L, -1)) *matches = copy_matches(L, 1);
  return 0;
}

/* Nothing may be raised through the library, which would lose what it holds: what allocates is in there. */
static char **on_complete(const char *text, int start, int end) {
  Editor *e = atomic_load(&owner);
  char **matches = NULL;
  lua_State *L = e->L;
  (void)text;
  *e->rl.completion_over = 1;  /* no names of files */
  *e->rl.append_character = 0; /* no space either; the library sets that anew each time */
  lua_pushcfunction(L, complete_protected);
  lua_pushinteger(L, start + 1);
  lua_pushinteger(L, end);
  lua_pushvalue(L, e->self);
  lua_pushlightuserdata(L, &matches);
  if (lua_pcall(L, 4, 0, 0) != LUA_OK) lua_pop(L, 1);
  return matches;
}

/* Opening and closing */

static void set_up(Editor *e) {
  const Readline *rl = &e->rl;
  e->former = (Former){.name = *rl->name, .word_breaks = *rl->word_breaks, .in = *rl->in, .out = *rl->out,
                       .completer = *rl->completer, .catch_signals = *rl->catch_signals};
  *rl->name = "lua";
  *rl->in = e->in;
  *rl->out = stdout; /* so that the prompt comes in its place among what is printed */
  *rl->catch_signals = 0;
  if (rl->catch_sigwinch) {
    e->former.catch_sigwinch = *rl->catch_sigwinch;
    *rl->catch_sigwinch = 0;
  }
  *rl->word_breaks = WORD_BREAKS;
  *rl->completer = on_complete;
  if (rl->deprep) atexit(rl->deprep); /* os.exit while a line is edited; twice is no harm */
}

static void put_back(const Readline *rl, const Former *former) {
  *rl->name = former->name;
  *rl->in = former->in ? former->in : stdin; /* it would go on with the file that we close */
  *rl->out = former->out;
  *rl->catch_signals = former->catch_signals;
  if (rl->catch_sigwinch) *rl->catch_sigwinch = former->catch_sigwinch;
  *rl->word_breaks = former->word_breaks;
  *rl->completer = former->completer;
}

static void close_editor(Editor *e) {
  if (!e->in) return;
  end_editing(e);
  put_back(&e->rl, &e->former);
  fclose(e->in);
  free(e->line);
  e->in = NULL;
  e->line = NULL;
  atomic_store(&owner, NULL);
}

/* Pushes nil and says why there is no line editing. */
static int refuse(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/* open(completer) → editor; or nil and why not. completer(line, from, to) → list of strings that
** may stand in place of line:sub(from, to) */
static int editor_open(lua_State *L) {
  const char *term = getenv("TERM");
  Editor *none = NULL;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  if (!isatty(0) || !isatty(1)) return refuse(L, "not a terminal");
  if (!term || !*term || !strcmp(term, "dumb")) return refuse(L, "the terminal can do nothing");
  Editor *e = lua_newuserdatauv(L, sizeof *e, 1);
  memset(e, 0, sizeof *e);
  luaL_setmetatable(L, EDITOR);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  if (!load_library(&e->rl)) return refuse(L, "neither libreadline nor libedit is installed");
  if (!atomic_compare_exchange_strong(&owner, &none, e)) return refuse(L, "there is one already");
  if (!(e->in = open_terminal())) {
    atomic_store(&owner, NULL);
    return refuse(L, "the terminal can't be opened");
  }
  set_up(e);
  return 1;
}

/* Methods, for the Lua layer */

static int editor_getfd(lua_State *L) {
  lua_pushinteger(L, fileno(check_editor(L)->in));
  return 1;
}

/* start(prompt): shows it; what is typed goes to `feed` from now on */
static int editor_start(lua_State *L) {
  Editor *e = check_editor(L);
  const char *prompt = luaL_checkstring(L, 2);
  end_editing(e);
  e->finished = false;
  e->editing = true;
  e->rl.install(prompt, on_line);
  return 0;
}

/* feed(): takes what the terminal has to give; only when it can be read. → whether a line is finished,
** the line or (the end) nil */
static int editor_feed(lua_State *L) {
  Editor *e = check_editor(L);
  lua_settop(L, 1);
  if (!e->editing) return 0;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  e->L = L;
  e->self = 1;
  e->rl.read_char();
  lua_pushboolean(L, e->finished);
  lua_pushstring(L, e->line); /* nil for NULL */
  free(e->line);
  e->line = NULL;
  return 2;
}

/* stop(text): ends the editing of a line that is not finished; text is left behind it. It is written first:
** the library goes back to the first column when it gives the terminal back. */
static int editor_stop(lua_State *L) {
  Editor *e = check_editor(L);
  const char *text = luaL_optstring(L, 2, "");
  if (!e->editing) return 0;
  if (e->rl.free_line_state) e->rl.free_line_state();
  if (e->rl.sigcleanup) e->rl.sigcleanup();
  fputs(text, stdout);
  fflush(stdout);
  end_editing(e);
  return 0;
}

/* hide(): takes prompt and line off the screen, so that something else can be written */
static int editor_hide(lua_State *L) {
  Editor *e = check_editor(L);
  if (!e->editing || e->hidden) return 0;
  e->hidden = true;
  if (e->rl.clear_visible_line)
    e->rl.clear_visible_line();
  else
    fputs("\r\033[K", stdout);
  fflush(stdout);
  return 0;
}

/* show(): shows them again, where the cursor stands, which must be the first column */
static int editor_show(lua_State *L) {
  Editor *e = check_editor(L);
  if (!e->editing || !e->hidden) return 0;
  e->hidden = false;
  e->rl.on_new_line();
  e->rl.redisplay();
  return 0;
}

/* resumed(): the process was stopped, and the shell has had the terminal */
static int editor_resumed(lua_State *L) {
  Editor *e = check_editor(L);
  if (!e->editing || !e->rl.deprep || !e->rl.prep) return 0;
  e->rl.deprep();
  e->rl.prep(1);
  e->rl.on_new_line();
  e->rl.redisplay();
  return 0;
}

/* resized(): the terminal has another size */
static int editor_resized(lua_State *L) {
  Editor *e = check_editor(L);
  if (e->editing && !e->hidden && e->rl.resize) e->rl.resize();
  return 0;
}

/* remember(input): adds it to the history */
static int editor_remember(lua_State *L) {
  check_editor(L)->rl.add_history(luaL_checkstring(L, 2));
  return 0;
}

/* append_private(file, text) → whether that could be done; a file that is made is the user's alone to read */
static int editor_append_private(lua_State *L) {
  size_t n;
  const char *file = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
  int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  lua_pushboolean(L, fd >= 0 && write(fd, text, n) == (ssize_t)n);
  if (fd >= 0) close(fd);
  return 1;
}

static int editor_close(lua_State *L) {
  close_editor(luaL_checkudata(L, 1, EDITOR));
  return 0;
}

static int editor__gc(lua_State *L) {
  Editor *e = luaL_testudata(L, 1, EDITOR);
  if (e) close_editor(e);
  return 0;
}

static const luaL_Reg methods[] = {{"getfd", editor_getfd},     {"start", editor_start},
                                   {"feed", editor_feed},       {"stop", editor_stop},
                                   {"hide", editor_hide},       {"show", editor_show},
                                   {"resumed", editor_resumed}, {"resized", editor_resized},
                                   {"remember", editor_remember},
                                   {"close", editor_close},     {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", editor__gc}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"open", editor_open}, {"append_private", editor_append_private}, {NULL, NULL}};

ASY_EXPORT int luaopen_asyncio_editor(lua_State *L);

int luaopen_asyncio_editor(lua_State *L) {
  luaL_newmetatable(L, EDITOR);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  luaL_newlib(L, functions);
  return 1;
}
