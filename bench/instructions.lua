-- instructions.lua - counts the instructions of each operation, and says what has changed since they were
-- last written to instructions.txt. Beside those that floors.lua has stands what the least scheduler takes.
--
-- Callgrind counts all that a process does; the difference of two numbers of repetitions is the operation's
-- alone. The counts of several seeds are averaged, since Lua's hashes differ with each; with these, and an
-- environment that is always the same, a count comes out the same to some ten-thousandths.
local asyncio = require "asyncio"

local RESULTS = "bench/instructions.txt"
local OPERATIONS = { -- name, repetitions, what one of them is
  { "sleep(0)", 10000, "a task gives way" },
  { "spawn", 4000, "a task is made and awaited" },
  { "spawn_reuse", 4000, "the same where coroutines are used again" },
  { "spawn100", 4000, "a task of a hundred that are made, then awaited" },
  { "gather2", 2000, "gather of two functions" },
  { "gather10", 500, "of ten" },
  { "gather10_reuse", 500, "the same where coroutines are used again" },
  { "group2", 1000, "a TaskGroup of two functions" },
  { "group10", 300, "of ten" },
  { "wait10", 500, "wait for ten functions" },
  { "completed10", 500, "as_completed of ten functions" },
  { "shield", 1000, "a task is made, shielded and awaited" },
  { "timeout", 5000, "a timeout's block that does not wait" },
  { "timeout_wait", 5000, "one in which the task gives way" },
  { "wait_for", 5000, "wait_for a function" },
  { "move_on_after", 4000, "move_on_after with a function" },
  { "future", 10000, "a future is made, set and awaited" },
  { "pingpong", 5000, "two tasks wake each other by futures" },
  { "callback", 4000, "a future with a done-callback, which runs" },
  { "queue1", 10000, "an item goes through a queue of 1" },
  { "queue1000", 10000, "through a queue of 1,000" },
  { "lock", 10000, "a free lock is taken for a block" },
  { "lock_contended", 10000, "by ten tasks, each holds it over a turn" },
  { "semaphore", 10000, "a free semaphore is taken for a block" },
  { "event", 5000, "two tasks wake each other by events" },
  { "timer", 5000, "a new task sleeps, of a thousand" },
  { "context_get", 10000, "the value of a ContextVar that is set" },
  { "context_set", 10000, "it is set anew, among four" },
  { "call_soon", 10000, "a callback of a hundred" },
  { "echo64", 3000, "a server reads 64 bytes and sends them back" },
}
local PROGRAM, FLOORS = "bench/operations.lua", "bench/floors.lua"
local NOTED = 0.01 -- the least change that is worth a line

local lua = os.getenv "LUA" or "lua5.4"
package.cpath = package.cpath .. ";build/bench/?.so" -- for floor
local has_floor = dofile(FLOORS)
local seeds = math.tointeger(os.getenv "SEEDS" or 3)

--- What one run of a program counts.
local function count(program, name, repetitions, seed)
  local result = asyncio.run_process({ "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", lua,
    program, name, tostring(repetitions) }, {
    check = false, capture = true,
    env = { PATH = os.getenv "PATH", SEED = tostring(seed), LD_PRELOAD = "build/bench/seed.so",
      LUA_PATH = "lua/?.lua;lua/?/init.lua", LUA_CPATH = "build/?.so;build/bench/?.so" },
  })
  local counted = math.tointeger(result.stderr:match "Collected : (%d+)")
  if result.returncode ~= 0 or not counted then error(name .. ": " .. result.stderr, 0) end
  return counted
end

--- Instructions for one repetition: what twice as many take more.
local function measure(program, name, n)
  local sum = 0
  for seed = 1, seeds do sum = sum + count(program, name, 2 * n, seed) - count(program, name, n, seed) end
  return math.floor(sum / n / seeds + 0.5)
end

--- The last figures and floors, by name; none where there is no file.
local function read()
  local figures, floors = {}, {}
  local file <close> = io.open(RESULTS)
  for line in file and file:lines() or function() end do
    local name, n, floor = line:match "^(%S+)%s+(%d+)%s*([%d-]*)"
    if name then figures[name], floors[name] = math.tointeger(n), math.tointeger(floor) end
  end
  return figures, floors
end

local function write(figures, floors)
  local file <close> = assert(io.open(RESULTS, "w"))
  local cc <close> = assert(io.popen("uname -m; ${CC:-cc} -dumpfullversion -dumpversion"))
  file:write("# Instructions of each operation, by `make bench-instructions WRITE=1`; README.md says how. ",
    _VERSION, ", ", cc:read "l", ", cc ", cc:read "l", "\n# operation, ours, floor\n")
  for _, operation in ipairs(OPERATIONS) do
    local name = operation[1]
    file:write(("%-16s%8d%8s  %s\n"):format(name, figures[name], floors[name] or "-", operation[3]))
  end
end

--- Those that POINTS names, or all.
local function chosen()
  local list, points = {}, os.getenv "POINTS"
  for _, operation in ipairs(OPERATIONS) do
    if not points or ("," .. points .. ","):find("," .. operation[1] .. ",", 1, true) then
      list[#list + 1] = operation
    end
  end
  return list
end

local function report(list, figures, last, floors)
  local same = 0
  for _, operation in ipairs(list) do
    local name = operation[1]
    local now, before = figures[name], last[name]
    local change = before and now / before - 1
    if change and math.abs(change) <= NOTED then
      same = same + 1
    else
      local how = change and ("was %d, %+.1f %%"):format(before, 100 * change) or "new"
      local floor = floors[name] and (", %.2f times the floor"):format(now / floors[name]) or ""
      print(("%-16s%8d  %s%s"):format(name, now, how, floor))
    end
  end
  print(("%d of %d are as they were, within %g %%"):format(same, #list, 100 * NOTED))
end

local function main()
  local figures, floors, list = {}, {}, chosen()
  local last, last_floors = read()
  local jobs = math.tointeger(os.getenv "JOBS" or 2)
  asyncio.map(function(operation)
    local name, n = operation[1], operation[2]
    figures[name] = measure(PROGRAM, name, n)
    if has_floor[name] then floors[name] = measure(FLOORS, name, n) end
  end, list, { max_concurrent = jobs })
  report(list, figures, last, floors)
  if not os.getenv "WRITE" then return end
  for name, n in pairs(last) do -- those that weren't counted now
    if not figures[name] then figures[name], floors[name] = n, last_floors[name] end
  end
  write(figures, floors)
end

asyncio.run(main)
