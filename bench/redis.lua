-- redis.lua - asyncio.redis beside redis-benchmark (C, one thread) and Python's client, against one server on
-- a unix socket: thousands of commands a second. Each round runs all, one after the other.
-- ROUNDS=5; makes the table of RESULTS.md.
local asyncio = require "asyncio"

local ROUNDS, SECONDS = tonumber(os.getenv "ROUNDS" or 5), 0.5

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
package.path = ("%s/?.lua;%s"):format(here, package.path)
local redisserver = require "redisserver"

local folder, socket = redisserver.place()

local PYTHON = [[
import asyncio, sys, time, redis, redis.asyncio
path, what, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
def timed(call, n):
    end, done, begin = time.perf_counter() + seconds, 0, time.perf_counter()
    while time.perf_counter() < end:
        call()
        done += n
    return done / (time.perf_counter() - begin)
if what == "tasks":
    async def main():
        kind = redis.asyncio.UnixDomainSocketConnection
        pool = redis.asyncio.BlockingConnectionPool(max_connections=50, connection_class=kind, path=path)
        client, done, begin = redis.asyncio.Redis(connection_pool=pool), 0, time.perf_counter()
        async def task():
            nonlocal done
            while time.perf_counter() < begin + seconds:
                await client.get("key")
                done += 1
        await asyncio.gather(*[task() for _ in range(50)])
        return done / (time.perf_counter() - begin)
    print(asyncio.run(main()))
else:
    client = redis.Redis(unix_socket_path=path)
    def pipeline(n):
        pipe = client.pipeline(transaction=False)
        for _ in range(n): pipe.get("key")
        pipe.execute()
    calls = {"get": (lambda: client.get("key"), 1), "set": (lambda: client.set("key", "value"), 1),
             "16": (lambda: pipeline(16), 16), "100": (lambda: pipeline(100), 100)}
    print(timed(*calls[what]))
]]

local function output(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

local function benchmark(test, clients, depth)
  return function()
    local command = "redis-benchmark -s %s -t %s -c %d -P %d -n %d --csv 2>/dev/null"
    local text = output(command:format(socket, test, clients, depth, depth > 1 and 300000 or 30000))
    return tonumber(text:match('"' .. test:upper() .. '","([%d.]+)"'))
  end
end

local function python(what)
  return function()
    local command = "/usr/bin/python3 %s/client.py %s %s %g 2>/dev/null" -- Debian's has its packages
    return tonumber(output(command:format(folder, socket, what, SECONDS)))
  end
end

local client

local function repeated(n, call)
  return function()
    local from, done = asyncio.time(), 0
    while asyncio.time() - from < SECONDS do
      call()
      done = done + n
    end
    return done / (asyncio.time() - from)
  end
end

local function pipeline(n)
  return repeated(n, function()
    client:pipeline(function(p)
      for _ = 1, n do p:get "key" end
    end)
  end)
end

local function tasks()
  local from, done = asyncio.time(), 0
  do
    local group <close> = asyncio.TaskGroup()
    for _ = 1, 50 do
      group:create_task(function()
        while asyncio.time() - from < SECONDS do
          client:get "key"
          done = done + 1
        end
      end)
    end
  end
  return done / (asyncio.time() - from)
end

local ROWS = {
  { "GET, one after the other", repeated(1, function() client:get "key" end), benchmark("get", 1, 1),
    python "get" },
  { "SET, one after the other", repeated(1, function() client:set("key", "value") end),
    benchmark("set", 1, 1), python "set" },
  { "GET by 50 tasks (redis-benchmark: 50 connections)", tasks, benchmark("get", 50, 1), python "tasks" },
  { "GET, pipelines of 16, one connection", pipeline(16), benchmark("get", 1, 16), python "16" },
  { "GET, pipelines of 100, one connection", pipeline(100), benchmark("get", 1, 100), python "100" },
}

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function thousands(list) return #list > 0 and ("%.0f"):format(median(list) / 1000) or "–" end

--- Ours, in a run of its own: the others' programs hold up the loop.
local function measure_ours(fn)
  return asyncio.run(function()
    client = asyncio.redis.connect { path = socket }
    local _ <close> = client
    client:set("key", "value")
    return fn()
  end)
end

local function measure()
  print(("Unix socket, %d rounds, thousands of commands a second (median).\n"):format(ROUNDS))
  print "| |ours|redis-benchmark|Python's redis|ours / redis-benchmark|"
  print "|---|---:|---:|---:|---:|"
  for _, row in ipairs(ROWS) do
    local all, parts = { {}, {}, {} }, {}
    for _ = 1, ROUNDS do
      local figures = { measure_ours(row[2]), row[3](), row[4]() }
      for k = 1, 3 do table.insert(all[k], figures[k]) end
      parts[#parts + 1] = figures[1] / figures[2]
    end
    table.sort(parts)
    print(("| %s | %s | %s | %s | %.2f (%.2f–%.2f) |"):format(row[1], thousands(all[1]), thousands(all[2]),
      thousands(all[3]), median(parts), parts[1], parts[#parts]))
  end
end

do
  local file <close> = assert(io.open(folder .. "/client.py", "w"))
  file:write(PYTHON)
end
redisserver.with(folder, socket, measure)
