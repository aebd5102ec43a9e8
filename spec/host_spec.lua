-- host_spec.lua - a program in C that closes a Lua state while a worker of it is still blocked.
local t = require "helper"

local HOST = [[
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The job: reads a line from standard input, then says so through a descriptor of the host's. */
static const char *const SCRIPT =
    "local asyncio = require 'asyncio'\n"
    "local back, ready = ...\n"
    "local function job(name, here)\n"
    "  io.open(here, 'w'):close()\n"
    "  local line = io.read 'L'\n"
    "  local file = assert(io.open(name, 'w'))\n"
    "  file:write(line)\n"
    "  file:close()\n"
    "end\n"
    "asyncio.run(function()\n"
    "  local loop = asyncio.get_running_loop()\n"
    "  loop:set_exception_handler(function() end)\n" /* slow steps, on a slow machine */
    "  local task = asyncio.create_task(function()\n"
    "    asyncio.await(loop:run_in_executor(nil, job, back, ready))\n"
    "  end)\n"
    "  loop:run_in_executor(asyncio.ThreadPoolExecutor(1), io.read, 'L')\n" /* nobody cancels this one */
    "  while not io.open(ready) do asyncio.sleep(0.001) end\n"
    "  task:cancel()\n"
    "end)\n";

static void fail(const char *what) {
  printf("%s\n", what);
  exit(1);
}

static void round_of(const char *ready, int into, int from) {
  char name[64], line[64];
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  snprintf(name, sizeof name, "/proc/self/fd/%d", from);
  if (luaL_loadstring(L, SCRIPT)) fail(lua_tostring(L, -1));
  lua_pushfstring(L, "/proc/self/fd/%d", into);
  lua_pushstring(L, ready);
  if (lua_pcall(L, 2, 0, 0)) fail(lua_tostring(L, -1));
  lua_close(L);
  remove(ready);
  (void)from;
  /* two workers read, one line each; the one that answers may be either the first or the second */
  if (write(3, "a line\na line\n", 14) != 14) fail("write");
  ssize_t n = read(from, line, sizeof line);
  printf("%.*s", (int)n, line);
}

int main(int argc, char **argv) {
  int in[2], back[2];
  if (argc < 2 || pipe(in) || pipe(back)) return 2;
  dup2(in[0], 0);
  if (in[1] != 3) dup2(in[1], 3);
  for (int i = 0; i < 3; i++) round_of(argv[1], back[1], back[0]);
  printf("the host lives on\n");
  return 0;
}
]]

TestHost = {}

function TestHost:test_lives_on_when_a_worker_ends_after_its_state()
  local command = os.getenv "SPEC_LUA" or ""
  local file = io.open "/proc/self/fd"
  if not file then t.skip "no /proc" end
  file:close()
  local name = os.tmpname()
  do
    local source <close> = assert(io.open(name .. ".c", "w"))
    source:write(HOST)
  end
  local command_line = "${CC:-cc} -o %s.host %s.c %s %s 2>%s"
  local built = os.execute(command_line:format(name, name, t.cflags, t.libs, name))
  if not built then
    local log <close> = assert(io.open(name))
    t.lu.fail("the host could not be built: " .. log:read "a")
  end
  local run = command:gsub("%S+$", "") .. name .. ".host"
  local pipe <close> = assert(io.popen(("timeout -k 5 100 %s %s.ready 2>&1; echo \"[status $?]\""):format(run, name)))
  t.assertEquals(t.unhurried(pipe:read "a"), ("a line\n"):rep(3) .. "the host lives on\n[status 0]\n")
  for _, suffix in ipairs { "", ".c", ".host", ".ready" } do os.remove(name .. suffix) end
end

t.finish()
