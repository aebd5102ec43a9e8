-- embedding_spec.lua - the examples of doc/embedding.md: a host in C, luv's loop beside ours, ours beside luv's.
local t = require "helper"
local program = require "program"

local SOURCE = program.examples .. "embedding/host.c"

TestHostInC = {}
TestLuv = {}

-- a host under a tool (valgrind) runs as the specs do: the command without its Lua
local TOOL = (os.getenv "SPEC_LUA" or ""):gsub("%S+$", "")

--- Builds it as the example says, with the Lua that the specs run under; its path, and what removes it.
local function built()
  local line = program.content(SOURCE):match "\n%*%*   (cc [^\n]*) && %./host\n"
  t.assertNotNil(line, "no line that says how to build it")
  local name = os.tmpname()
  line = line:gsub("^cc ", "${CC:-cc} -Wall -Wextra -Werror "):gsub("%-o host ", "-o " .. name .. ".host ")
    :gsub("examples/embedding/host%.c", SOURCE):gsub("%$%(pkg%-config [^)]*%)", function()
      return t.cflags .. " " .. t.libs
    end)
  local output, status = program.shell("%s 2>&1", line)
  t.assertEquals({ output, status }, { "", 0 })
  return name .. ".host", setmetatable({}, { __close = function()
    os.remove(name)
    os.remove(name .. ".host")
  end })
end

function TestHostInC:test_is_short()
  t.assertTrue(select(2, program.content(SOURCE):gsub("\n", "")) < 80)
end

function TestHostInC:test_runs_tasks_beside_its_own_jobs_to_their_end()
  local host, _ <close> = built()
  local output, status = program.shell("timeout %d %s%s 2 2>&1", program.PATIENCE, TOOL, host)
  t.assertEquals(status, 0, output)
  t.assertStrMatches(output, ".*script: LINE 1\n.*script: LINE 2\n.*host: nothing can come any more\n")
  t.assertStrContains(output, "host: tick 1\n")
  local ticks = select(2, output:gsub("tick", ""))
  t.assertTrue(ticks >= 2 and (t.slow or ticks <= 20), output)
end

function TestHostInC:test_its_ctrl_c_is_its_own()
  local host, _ <close> = built()
  local started <close> = program.start("%s%s 100000", TOOL, host)
  started:expect "script: LINE 1\n"
  local output, status = started:interrupt()
  t.assertEquals(status, 0, output)
  t.assertStrContains(output, "host: stops\n")
end

-- several states, each driven by a thread of its own

local THREADS = [[
#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const SCRIPT =
    "local asyncio = require 'asyncio'\n"
    "local loop = asyncio.new_event_loop()\n"
    "return loop, loop:create_task(function(n)\n"
    "  local server <close> = asyncio.start_server(function(reader, writer)\n"
    "    for line in reader:lines() do writer:send(line, '\\n') end\n"
    "  end, '127.0.0.1', 0)\n"
    "  local reader, writer <close> = asyncio.open_connection('127.0.0.1', server:sockets()[1].port)\n"
    "  for i = 1, 100 do\n"
    "    writer:send(n, ' ', i, '\\n')\n"
    "    assert(reader:readline() == n .. ' ' .. i .. '\\n')\n"
    "  end\n"
    "  return asyncio.to_thread(function(x) return x * x end, n)\n"
    "end, ...)\n";

static void call(lua_State *L, int idx, const char *name) {
  lua_getfield(L, idx, name);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  printf("%s: %s\n", name, luaL_tolstring(L, -1, NULL));
  exit(1);
}

static void *drive(void *arg) {
  lua_Integer *n = arg;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_loadstring(L, SCRIPT);
  lua_pushinteger(L, *n);
  if (lua_pcall(L, 1, 2, 0)) exit(2);
  call(L, 1, "backend_fd");
  struct pollfd p = {(int)lua_tointeger(L, -1), POLLIN, 0};
  for (int alive = 1; alive; lua_settop(L, 2)) {
    call(L, 1, "backend_timeout");
    poll(&p, 1, lua_isnil(L, -1) ? -1 : (int)ceil(lua_tonumber(L, -1) * 1000));
    call(L, 1, "run_once");
    alive = lua_toboolean(L, -1);
  }
  call(L, 2, "result");
  *n = lua_tointeger(L, -1);
  lua_close(L);
  return NULL;
}

int main(void) {
  pthread_t threads[4];
  lua_Integer n[4];
  for (int i = 0; i < 4; i++) n[i] = i + 1, pthread_create(&threads[i], NULL, drive, &n[i]);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL), printf("%d\n", (int)n[i]);
  return 0;
}
]]

function TestHostInC:test_threads_drive_a_state_each()
  local source = program.file_with(THREADS)
  os.rename(source, source .. ".c")
  local output, status = program.shell("${CC:-cc} -o %s.host %s.c %s %s -lm -lpthread 2>&1", source, source, t.cflags,
    t.libs)
  t.assertEquals({ output, status }, { "", 0 })
  output, status = program.shell("timeout %d %s%s.host 2>&1", program.PATIENCE, TOOL, source)
  t.assertEquals({ output, status }, { "1\n4\n9\n16\n", 0 })
  os.remove(source .. ".c")
  os.remove(source .. ".host")
end

-- luv

local function needs_luv()
  local found = pcall(require, "luv")
  if not found then t.skip "luv is not installed" end
end

local function run(name)
  return program.shell("timeout %d %s %sembedding/%s.lua 2>&1", program.PATIENCE, program.lua, program.examples, name)
end

function TestLuv:test_drives_our_loop()
  needs_luv()
  local output, status = run "luv_host"
  t.assertEquals(status, 0, output)
  t.assertStrMatches(output, ".*task: HELLO FROM A TASK\n.*")
  t.assertStrMatches(output, ".*luv: tick 3\n.*")
  t.assertStrMatches(output, ".*task: a thread's result\n")
end

function TestLuv:test_is_driven_by_a_task()
  needs_luv()
  local output, status = run "luv_guest"
  t.assertEquals(status, 0, output)
  t.assertEquals(output, "file\nfalse\tENOENT: no such file or directory: /no/such/file\n"
    .. ("luv's tick\n"):rep(3))
end

t.finish()
