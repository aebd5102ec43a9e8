-- offload.lua [IN_FLIGHT CALLS] - what a call in another thread costs, by a pool of two, beside libuv's own
-- in C (pool.c), for a function that does nothing. With arguments: ours alone, µs of time, and of processor
-- time, for a call.
local asyncio = require "asyncio"

local ROUNDS = math.tointeger(os.getenv "ROUNDS" or 9)
local POINTS = { { "offload1", 1, 5000 }, { "offload64", 64, 50000 } }
local FLOOR = (os.getenv "BUILD" or "build") .. "/bench/pool"
local LUA = os.getenv "LUA" or "lua5.4"

local function same(x) return x end

local function call(pool, in_flight, n)
  local loop = asyncio.get_running_loop()
  local group <close> = asyncio.TaskGroup()
  for _ = 1, in_flight do
    group:create_task(function()
      for i = 1, n // in_flight do asyncio.await(loop:run_in_executor(pool, same, i)) end
    end)
  end
end

local function ours(in_flight, n)
  local loop = asyncio.get_running_loop()
  local pool <close> = asyncio.ThreadPoolExecutor { max_workers = 2 }
  call(pool, in_flight, 1000)
  local began, used = loop:time(), os.clock()
  call(pool, in_flight, n)
  print(("%.3f %.3f"):format((loop:time() - began) * 1e6 / n, (os.clock() - used) * 1e6 / n))
end

--- What a program prints: time, and processor time.
local function measure(...)
  local out = asyncio.run_process({ ... }, { capture = true, timeout = 120 }).stdout
  local time, cpu = out:match "^(%S+) (%S+)"
  return { tonumber(time), tonumber(cpu) }
end

--- A list's median, with the least and the greatest.
local function spread(list)
  table.sort(list)
  return ("%.2f (%.2f–%.2f)"):format(list[#list // 2 + 1], list[1], list[#list])
end

--- The row of a point: the programs run in turn, who comes first changes.
local function row(name, in_flight, n)
  local columns = { {}, {}, {}, {}, {}, {} }
  local ends = { tostring(in_flight), tostring(n) }
  for round = 1, ROUNDS do
    local mine, floor
    if round % 2 == 1 then floor = measure(FLOOR, table.unpack(ends)) end
    mine = measure(LUA, "bench/offload.lua", table.unpack(ends))
    if not floor then floor = measure(FLOOR, table.unpack(ends)) end
    local values = { mine[1], floor[1], mine[1] / floor[1], mine[2], floor[2], mine[2] / floor[2] }
    for i, value in ipairs(values) do columns[i][round] = value end
  end
  for i, list in ipairs(columns) do columns[i] = spread(list) end
  print(("| %s | %s |"):format(name, table.concat(columns, " | ")))
end

local function main()
  if arg[1] then return ours(math.tointeger(arg[1]), math.tointeger(arg[2])) end
  print(("A function that does nothing, by a pool of two threads, 1 or 64 calls under way; µs a call, time "
    .. "and processor time of all threads; %d rounds, median (least–greatest).\n"):format(ROUNDS))
  print "| |ours|libuv in C|ours beside it|ours, processor|libuv in C|ours beside it|"
  print "|---|---:|---:|---:|---:|---:|---:|"
  for _, point in ipairs(POINTS) do row(table.unpack(point)) end
end

asyncio.run(main)
