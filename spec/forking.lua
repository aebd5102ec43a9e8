-- forking.lua - programs that fork, in processes of their own, with a module in C that can.
local t = require "helper"

local forking = {}

local MODULE = [[
#include <lauxlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static int l_fork(lua_State *L) { lua_pushinteger(L, fork()); return 1; }
static int l_wait(lua_State *L) {
  int status = 0;
  alarm(60);
  waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
  alarm(0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  return 1;
}
static int l_kill(lua_State *L) {
  kill((pid_t)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2));
  return 0;
}
static int l_raise(lua_State *L) { raise((int)luaL_checkinteger(L, 1)); return 0; }
static int l_exit(lua_State *L) { _exit((int)luaL_checkinteger(L, 1)); return 0; }
static int l_pause(lua_State *L) { (void)L; sleep(60); return 0; }
static int l_socketpair(lua_State *L) {
  int ends[2];
  if (pipe(ends)) return 0;
  lua_pushinteger(L, ends[0]);
  lua_pushinteger(L, ends[1]);
  return 2;
}
static int l_write(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 2, &n);
  lua_pushboolean(L, write((int)luaL_checkinteger(L, 1), s, n) == (ssize_t)n);
  return 1;
}
int luaopen_forky(lua_State *L);
int luaopen_forky(lua_State *L) {
  static const luaL_Reg functions[] = {{"fork", l_fork}, {"wait", l_wait}, {"kill", l_kill}, {"pause", l_pause},
                                       {"raise", l_raise}, {"_exit", l_exit},
                                       {"pipe", l_socketpair}, {"write", l_write}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
]]

local folder -- of the built module; false: it can't be had

local function build()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute(("mkdir '%s'"):format(name)))
  do
    local file <close> = assert(io.open(name .. "/forky.c", "w"))
    file:write(MODULE)
  end
  local built = os.execute(("%s -shared -fPIC %s -o '%s/forky.so' '%s/forky.c' >/dev/null 2>&1"):format(
    os.getenv "CC" or "cc", t.cflags, name, name))
  folder = built and name
end

local PRELUDE = [[
  package.cpath = "%s/?.so;" .. package.cpath
  io.stdout:setvbuf "no"
  local forky, asyncio = require "forky", require "asyncio"
  local function echo(reader, writer)
    for line in reader:lines() do writer:send(line, "\n") end
  end
  local function serve() return asyncio.start_server(echo, "127.0.0.1", 0) end
  local function connect(server) return asyncio.open_connection("127.0.0.1", server:sockets()[1].port) end
  local function ask(reader, writer)
    return asyncio.wait_for(function()
      writer:send "hello\n"
      return reader:readline():sub(1, -2)
    end, 10)
  end
  --- AddressSanitizer's allocator doesn't outlive a fork in which another thread is in it.
  local function at_rest()
    if os.getenv "ASAN_OPTIONS" then asyncio.sleep(0.3) end
  end

  --- Runs fn in a child; its status.
  local function child(fn, ...)
    local pid = forky.fork()
    if pid ~= 0 then return forky.wait(pid) end
    local ok, err = pcall(fn, ...)
    if not ok then print("the child failed", err) end
    if threads and os.getenv "ASAN_OPTIONS" then -- what those had allocated is a leak here, to who looks for leaks
      forky._exit(ok and 0 or 1)
    end
    os.exit(ok and 0 or 1, true)
  end
]]

--- Runs a program; it prints these lines and ends well.
function forking.assert_prints(expected, source)
  if folder == nil then build() end
  if not folder then t.skip "no compiler for a module in C" end
  local out, err, code = t.lua(PRELUDE:format(folder) .. source)
  t.assertEquals({ out, err, code }, { expected, "", 0 })
end

--- Removes the module, at the end of a spec file.
function forking.remove()
  if folder then os.execute(("rm -r '%s'"):format(folder)) end
end

return forking
