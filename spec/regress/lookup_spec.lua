-- lookup_spec.lua - name lookups that hang: each had a thread of its own, however many there were.
local t = require "helper"

--- A host whose getaddrinfo hangs for names that begin with "hang", until it is told to let go.
local HOST = [[
#define _GNU_SOURCE
#include <lauxlib.h>
#include <lualib.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_int running, most, calls, quick, free_to_go;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res) {
  (void)service;
  (void)res;
  if (hints && hints->ai_flags & AI_NUMERICHOST) return EAI_NONAME;
  int now = atomic_fetch_add(&running, 1) + 1, before = most;
  while (now > before && !atomic_compare_exchange_weak(&most, &before, now)) continue;
  atomic_fetch_add(strncmp(node, "hang", 4) ? &quick : &calls, 1);
  while (!strncmp(node, "hang", 4) && !free_to_go) usleep(1000);
  atomic_fetch_sub(&running, 1);
  return EAI_FAIL;
}

static int let_go(lua_State *L) {
  (void)L;
  free_to_go = 1;
  return 0;
}

static int count(lua_State *L) {
  lua_pushinteger(L, running);
  lua_pushinteger(L, most);
  lua_pushinteger(L, calls);
  lua_pushinteger(L, quick);
  return 4;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  (void)argc;
  luaL_openlibs(L);
  lua_register(L, "let_go", let_go);
  lua_register(L, "count", count);
  int failed = luaL_dofile(L, argv[1]);
  if (failed) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return failed;
}
]]

local PREAMBLE = [[
  local asyncio = require "asyncio"
  local function lookup(name)
    local loop = asyncio.get_running_loop()
    local ok, err = pcall(loop.getaddrinfo, loop, name, 80)
    return not ok and asyncio.isinstance(err, asyncio.GaiError)
  end
  local function start(n, name)
    local tasks = {}
    for i = 1, n do tasks[i] = asyncio.create_task(lookup, name) end
    return tasks
  end
  local function await_all(tasks)
    for _, task in ipairs(tasks) do assert(asyncio.await(task)) end
  end
  local function wait_until(which, n)
    while select(which, count()) ~= n do asyncio.sleep(0.001) end
  end
  local RUNNING, MOST, CALLS, QUICK = 1, 2, 3, 4
  asyncio.run(function()
    %s
  end)
  print "over"
]]

TestLookup = {}

local function check(source)
  local host, code = os.tmpname(), nil
  local file <close> = assert(io.open(host .. ".c", "w"))
  file:write(HOST)
  file:close()
  local built = os.execute(("%s -rdynamic -o '%s' '%s.c' %s %s >/dev/null 2>&1"):format(
    os.getenv "CC" or "cc", host, host, t.cflags, t.libs))
  os.remove(host .. ".c")
  if not built then
    os.remove(host)
    t.skip "no compiler for a host in C"
  end
  local script, output = os.tmpname(), os.tmpname()
  local program <close> = assert(io.open(script, "w"))
  program:write(PREAMBLE:format(source))
  program:close()
  local under = (os.getenv "SPEC_LUA" or "lua5.4"):gsub("%S+$", host)
  code = select(3, os.execute(("timeout 60 %s '%s' >'%s' 2>&1 </dev/null"):format(under, script, output)))
  local result <close> = assert(io.open(output))
  t.assertEquals({ t.unhurried(result:read "a"), code }, { "over\n", 0 })
  for _, name in ipairs { host, script, output } do os.remove(name) end
end

function TestLookup:test_sixteen_are_under_way_at_once_the_others_wait()
  check [[
    local tasks = start(40, "hang")
    wait_until(RUNNING, 16)
    asyncio.sleep(0.01)
    assert(select(CALLS, count()) == 16)
    let_go()
    await_all(tasks)
    assert(select(CALLS, count()) == 40 and select(MOST, count()) == 16)
  ]]
end

function TestLookup:test_one_that_was_cancelled_gives_its_place_to_the_next()
  check [[
    local tasks = start(16, "hang")
    wait_until(RUNNING, 16)
    local next = asyncio.create_task(lookup, "quick")
    asyncio.sleep(0.01)
    assert(not next:done() and select(QUICK, count()) == 0)
    tasks[1]:cancel()
    assert(asyncio.await(next))
    let_go()
    table.remove(tasks, 1)
    await_all(tasks)
  ]]
end

function TestLookup:test_one_that_waits_and_is_cancelled_never_begins()
  check [[
    local tasks = start(16, "hang")
    local waiting = start(3, "quick")
    wait_until(RUNNING, 16)
    waiting[2]:cancel()
    asyncio.wait { waiting[2] }
    assert(asyncio.await(waiting[2]) == false)
    let_go()
    await_all(tasks)
    await_all { waiting[1], waiting[3] }
    assert(select(QUICK, count()) == 2)
  ]]
end

function TestLookup:test_threads_that_are_left_behind_are_bounded_too()
  check [[
    for _ = 1, 10 do
      local tasks = start(16, "hang")
      asyncio.sleep(0.005)
      for _, task in ipairs(tasks) do task:cancel() end
      asyncio.wait(tasks)
    end
    wait_until(RUNNING, 64)
    local next = asyncio.create_task(lookup, "quick")
    asyncio.sleep(0.01)
    assert(not next:done() and select(MOST, count()) == 64)
    let_go()
    assert(asyncio.await(next))
    assert(select(CALLS, count()) == 64)
  ]]
end

function TestLookup:test_the_end_of_the_program_waits_for_none()
  check [[
    start(100, "hang")
    wait_until(RUNNING, 16)
  ]]
end

t.finish { sampled = true }
