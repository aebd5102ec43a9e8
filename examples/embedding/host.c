/*
** host.c - a program with a main loop of its own, here a poll() with a timer, that embeds Lua and lua-asyncio.
**
**   cc -o host examples/embedding/host.c $(pkg-config --cflags --libs lua5.4) -lm && ./host
**
** The loop is one descriptor and one timeout among the host's; whenever it may have something to do it makes a turn.
** Ctrl-C is the host's: it has everything cancelled, waits for that, and leaves.
*/
#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const SCRIPT =
    "local asyncio = require 'asyncio'\n"
    "local runner = asyncio.Runner {}\n"
    "local function talk(rounds)\n"
    "  local server <close> = asyncio.start_server(function(reader, writer)\n"
    "    for line in reader:lines() do writer:send(line:upper(), '\\n') end\n"
    "  end, '127.0.0.1', 0)\n"
    "  local reader, writer <close> = asyncio.open_connection('127.0.0.1', server:sockets()[1].port)\n"
    "  for i = 1, rounds do\n"
    "    writer:send('line ', i, '\\n')\n"
    "    print('script: ' .. reader:readline():gsub('\\n', ''))\n"
    "    asyncio.sleep(0.15)\n"
    "  end\nend\n"
    "runner:get_loop():create_task(talk, ...)\n"
    "return runner";

static const double TICK = 0.1; /* seconds from one of the host's own jobs to the next */
static volatile sig_atomic_t stopped;

static void on_sigint(int signum) { stopped = signum; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Calls the method of the object at idx, for one result. Errors of tasks don't come this way. */
static void call(lua_State *L, int idx, const char *name) {
  lua_getfield(L, idx, name);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  fprintf(stderr, "host: %s\n", luaL_tolstring(L, -1, NULL));
  exit(1);
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  signal(SIGINT, on_sigint);
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  luaL_loadstring(L, SCRIPT);
  lua_pushinteger(L, argc > 1 ? atoi(argv[1]) : 3);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) return fprintf(stderr, "host: %s\n", lua_tostring(L, -1)), 1;
  call(L, 1, "get_loop"); /* stack: runner, loop */
  call(L, 2, "backend_fd");
  struct pollfd p = {.fd = (int)lua_tointeger(L, -1), .events = POLLIN};
  double tick = now() + TICK;
  for (int alive = 1, ticks = 0; alive && !stopped; lua_settop(L, 2)) {
    call(L, 2, "backend_timeout"); /* nil: as long as the host likes */
    double wait = fmax(tick - now(), 0);
    if (lua_isnumber(L, -1)) wait = fmin(wait, lua_tonumber(L, -1));
    poll(&p, 1, (int)ceil(wait * 1000));
    if (now() >= tick) tick += TICK, printf("host: tick %d\n", ++ticks);
    call(L, 2, "run_once");
    alive = lua_toboolean(L, -1);
  }
  printf("host: %s\n", stopped ? "stops" : "nothing can come any more");
  call(L, 1, "close"); /* cancels what is left and waits for it, sends what was written, closes the loop */
  lua_close(L);
  return 0;
}
