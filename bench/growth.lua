-- growth.lua [NAME N] - how costs grow with the number of what there is: processor time for each, from 10 to
-- 100,000, and the exponent. With a name and a number: that one, in seconds; each runs in its own process.
local asyncio = require "asyncio"

local SIZES = { 10, 100, 1000, 10000, 100000 }
local ROUNDS = math.tointeger(os.getenv "ROUNDS" or 3)
local LUA = os.getenv "LUA" or "lua5.4"
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

local function nothing() end
local function one() return 1 end

--- Processor time that a function takes.
local function clock(fn)
  local began = os.clock()
  fn()
  return os.clock() - began
end

local function times(n, value)
  local list = {}
  for i = 1, n do list[i] = value end
  return list
end

local function tasks_of(n, ...)
  local tasks = {}
  for i = 1, n do tasks[i] = create_task(...) end
  return tasks
end

local function await_all(tasks)
  for i = 1, #tasks do await(tasks[i]) end
end

--- What n tasks that have begun take from there on.
local function clock_rest(n, body, start)
  local tasks = tasks_of(n, body)
  sleep(0)
  return clock(function()
    if start then start() end
    await_all(tasks)
  end)
end

local points = {}

function points.spawn(n) return clock(function() await_all(tasks_of(n, one)) end) end

function points.sleepers(n)
  return clock(function() await_all(tasks_of(n, function() sleep(math.random() * 0.01) end)) end)
end

function points.gather(n) return clock(function() asyncio.gather(times(n, one)) end) end
function points.wait(n) return clock(function() asyncio.wait(times(n, one)) end) end

function points.wait_first(n) -- the usual loop: the first, then the first of the rest; of 100 at a time
  return clock(function()
    local pending = {}
    for i = 1, n do
      pending[#pending + 1] = create_task(sleep, 0)
      if #pending == 100 or i == n then
        while #pending > 0 do
          local _, rest = asyncio.wait(pending, { return_when = asyncio.FIRST_COMPLETED })
          pending = rest
        end
      end
    end
  end)
end

function points.as_completed(n)
  return clock(function()
    for _ in asyncio.as_completed(times(n, one)) do nothing() end
  end)
end

function points.group(n)
  return clock(function()
    local group <close> = asyncio.TaskGroup()
    for _ = 1, n do group:create_task(one) end
  end)
end

function points.group_fails(n)
  return clock(function()
    asyncio.pcall(function()
      local group <close> = asyncio.TaskGroup()
      for _ = 1, n do group:create_task(sleep, 1000) end
      sleep(0)
      error "over"
    end)
  end)
end

function points.cancel(n)
  local tasks = tasks_of(n, sleep, 1000)
  sleep(0)
  return clock(function()
    for i = 1, n do tasks[i]:cancel() end
    asyncio.wait(tasks)
  end)
end

function points.wait_one_future(n) -- all with a limit of time, which is over before the future is done
  local future = asyncio.get_running_loop():create_future()
  return clock_rest(n, function() asyncio.wait({ future }, { timeout = 0.001 }) end)
end

function points.shield_one_future(n)
  local future = asyncio.get_running_loop():create_future()
  return clock_rest(n, function() asyncio.pcall(asyncio.wait_for, asyncio.shield(future), 0.001) end,
    function() sleep(0.002) end)
end

function points.await_one_future(n)
  local future = asyncio.get_running_loop():create_future()
  return clock_rest(n, function() await(future) end, function() future:set_result(1) end)
end

function points.await_chain(n)
  return clock(function()
    local last = create_task(sleep, 0)
    for _ = 1, n do last = create_task(await, last) end
    await(last)
  end)
end

function points.done_callbacks(n)
  local future = asyncio.get_running_loop():create_future()
  return clock(function()
    for _ = 1, n do future:add_done_callback(nothing) end
    future:set_result(1)
    sleep(0)
  end)
end

function points.remove_callbacks(n)
  local future, callbacks = asyncio.get_running_loop():create_future(), {}
  for i = 1, n do
    callbacks[i] = function() return i end
    future:add_done_callback(callbacks[i])
  end
  return clock(function()
    for i = 1, n do future:remove_done_callback(callbacks[i]) end
  end)
end

function points.call_soon(n)
  local loop = asyncio.get_running_loop()
  return clock(function()
    for _ = 1, n do loop:call_soon(nothing) end
    sleep(0)
  end)
end

function points.call_later(n) -- and cancel
  local loop, handles = asyncio.get_running_loop(), {}
  return clock(function()
    for i = 1, n do handles[i] = loop:call_later(1 + math.random(), nothing) end
    for i = 1, n do handles[i]:cancel() end
  end)
end

function points.open_timeouts(n)
  local function nest(k)
    if k == 0 then return end
    local _ <close> = asyncio.timeout(1000)
    nest(k - 1)
  end
  return clock(function() -- 100 within each other in a task
    await_all(tasks_of(math.max(n // 100, 1), nest, math.min(n, 100)))
  end)
end

function points.event(n)
  local event = asyncio.Event()
  return clock_rest(n, function() event:wait() end, function() event:set() end)
end

function points.lock(n)
  local lock = asyncio.Lock()
  return clock_rest(n, function()
    local _ <close> = lock:acquire()
    sleep(0)
  end)
end

function points.semaphore(n)
  local semaphore = asyncio.Semaphore(10)
  return clock_rest(n, function()
    local _ <close> = semaphore:acquire()
    sleep(0)
  end)
end

function points.condition(n)
  local condition = asyncio.Condition()
  return clock_rest(n, function()
    local _ <close> = condition:acquire()
    condition:wait()
  end, function()
    sleep(0)
    local _ <close> = condition:acquire()
    condition:notify_all()
  end)
end

function points.queue(n)
  local queue = asyncio.Queue()
  return clock(function()
    for i = 1, n do queue:put(i) end
    for _ = 1, n do queue:get() end
  end)
end

function points.queue_getters(n)
  local queue = asyncio.Queue()
  return clock_rest(n, function() queue:get() end, function()
    for i = 1, n do queue:put(i) end
  end)
end

function points.priority_queue(n)
  local queue = asyncio.PriorityQueue()
  return clock(function()
    for _ = 1, n do queue:put(math.random()) end
    for _ = 1, n do queue:get() end
  end)
end

function points.lost_errors(n)
  return clock(function()
    for _ = 1, n do create_task(error, "lost") end
    sleep(0)
    collectgarbage()
    sleep(0)
  end)
end

function points.all_tasks(n)
  local tasks = tasks_of(n, sleep, 1000)
  sleep(0)
  return clock(function() assert(#asyncio.all_tasks() == #tasks + 1) end)
end

function points.call_graph(n)
  tasks_of(n, sleep, 1000)
  sleep(0)
  return clock(function() asyncio.format_call_graph "all" end)
end

--- A run that ends with so many tasks in it; it is one of its own.
local function run_end(n)
  return clock(function()
    asyncio.run(function()
      tasks_of(n, sleep, 1000)
      sleep(0)
    end)
  end)
end

function points.context(n) -- so many ContextVars, each set once
  return clock(function()
    for i = 1, n do asyncio.ContextVar("v" .. i):set(i) end
  end)
end

local function deep(k, fn)
  if k == 0 then return fn() end
  return (deep(k - 1, fn))
end

function points.deep_sleep(n)
  return deep(n, function()
    return clock(function() for _ = 1, 100 do sleep(0) end end) / 100
  end)
end

function points.deep_coroutine(n) -- the same of an asyncio.coroutine that is resumed
  local resume = asyncio.coroutine.wrap(function()
    deep(n, function() while true do asyncio.coroutine.yield() end end)
  end)
  resume()
  return clock(function() for _ = 1, 100 do resume() end end) / 100
end

function points.deep_name(n)
  local task = create_task(deep, n, function() sleep(1000) end)
  sleep(0)
  return clock(function() for _ = 1, 100 do tostring(task) end end) / 100
end

--- A connection to a server with that handler: reader, writer, and what ends both.
local function connected(handler, options)
  local server = asyncio.start_server(handler, "127.0.0.1", 0)
  local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port, options)
  return reader, writer, function()
    writer:abort()
    server:abort_clients()
    server:close()
  end
end

function points.writes(n) -- in one turn
  local _, writer, stop = connected(function(reader) reader:read(-1) end)
  local used = clock(function()
    for _ = 1, n do writer:write "hello, world\n" end
    sleep(0)
  end)
  stop()
  return used
end

function points.lines(n) -- that lie there
  local reader, _, stop = connected(function(_, writer) writer:send(("hello, world\n"):rep(n)) end,
    { limit = 1 << 22 })
  sleep(0.2)
  local used = clock(function() for _ = 1, n do reader:readline() end end)
  stop()
  return used
end

function points.connections(n) -- an echo on each, both ends here
  local server = asyncio.start_server(function(reader, writer)
    for piece in reader:blocks() do writer:send(piece) end
  end, "127.0.0.1", 0, { backlog = 4096 })
  local readers, writers = {}, {}
  for i = 1, n do readers[i], writers[i] = asyncio.open_connection("127.0.0.1", server:sockets()[1].port) end
  local used = clock(function()
    for i = 1, n do writers[i]:write "hello" end
    for i = 1, n do readers[i]:readexactly(5) end
  end)
  for i = 1, n do writers[i]:abort() end
  server:abort_clients()
  server:close()
  return used
end

local ORDER = { -- name, what it is
  { "spawn", "tasks are made, then awaited" },
  { "sleepers", "tasks sleep, all at once" },
  { "gather", "functions are gathered" },
  { "wait", "functions are waited for" },
  { "wait_first", "tasks are waited for, the first of 100 each time" },
  { "as_completed", "functions, as they end" },
  { "group", "tasks of a group" },
  { "group_fails", "tasks of a group that is cancelled" },
  { "cancel", "tasks are cancelled" },
  { "await_one_future", "tasks await one future" },
  { "wait_one_future", "tasks wait for one future, in vain" },
  { "shield_one_future", "tasks shield one future, in vain" },
  { "await_chain", "tasks await each other, in a chain" },
  { "done_callbacks", "callbacks of one future" },
  { "remove_callbacks", "callbacks of one future are removed again" },
  { "call_soon", "callbacks of one turn" },
  { "call_later", "timers are set, then cancelled" },
  { "open_timeouts", "timeout blocks, open at once" },
  { "event", "tasks wait for an event" },
  { "lock", "tasks want a lock" },
  { "semaphore", "tasks want a semaphore of 10" },
  { "condition", "tasks wait for a condition" },
  { "queue", "items go into a queue, then out" },
  { "queue_getters", "tasks wait for a queue's items" },
  { "priority_queue", "items go into a priority queue, then out" },
  { "lost_errors", "tasks fail, and nobody looks" },
  { "all_tasks", "tasks are listed" },
  { "call_graph", "tasks of a call graph, as text" },
  { "run_end", "a run ends with so many tasks" },
  { "context", "ContextVars are set, one after the other" },
  { "writes", "small writes of one turn" },
  { "lines", "lines of a buffer" },
  { "connections", "connections, both ends here, an echo on each" },
}
local DEEP = { -- of one operation, n calls deep
  { "deep_sleep", "a task gives way" },
  { "deep_coroutine", "an asyncio.coroutine is resumed" },
  { "deep_name", "`tostring` of a task" },
}
local MOST = { -- what would take minutes, or more descriptors than a process may have
  context = 10000, remove_callbacks = 10000, connections = 1000,
}

--- Seconds that a point takes at n, the least of the rounds; nil where it isn't measured, or fails.
local function measure(name, n)
  local least
  if n > (MOST[name] or math.huge) then return nil end
  for _ = 1, ROUNDS do
    local result = asyncio.run_process({ LUA, arg[0], name, tostring(n) }, { capture = true, check = false })
    local seconds = tonumber(result.stdout)
    if not seconds then return nil end
    least = math.min(least or seconds, seconds)
    if seconds > 3 then break end
  end
  return least
end

--- The exponent of n in what the times grow as, from 1,000 on: below that constants count more.
local function exponent(seconds)
  local first, last
  for i, n in ipairs(SIZES) do
    if n >= 1000 and seconds[i] then
      first, last = first or i, i
    end
  end
  if not first or first == last then return "–" end
  local slope = math.log(seconds[last] / seconds[first]) / math.log(SIZES[last] / SIZES[first])
  return ("%.2f"):format(math.abs(slope) < 0.005 and 0 or slope)
end

--- The names of those whose exponent is from one number up to another.
local function between(exponents, low, high)
  local names = {}
  for _, point in ipairs(ORDER) do
    local found = tonumber(exponents[point[1]])
    if found and found >= low and found < high then names[#names + 1] = point[1] end
  end
  return #names > 0 and table.concat(names, ", ") or "none"
end

local function row(name, what, for_each)
  local seconds, cells = {}, {}
  for i, n in ipairs(SIZES) do
    seconds[i] = measure(name, n)
    cells[i] = seconds[i] and ("%.2f"):format(seconds[i] * 1e6 / (for_each and n or 1)) or "–"
  end
  local found = exponent(seconds)
  print(("| %s | %s | %s | %s |"):format(name, what, table.concat(cells, " | "), found))
  io.flush()
  return found
end

--- The rows; exponents by name.
local function rows(list, for_each)
  local names, exponents = os.getenv "POINTS", {}
  print "| | n |10|100|1,000|10,000|100,000|exponent|\n|---|---|---:|---:|---:|---:|---:|---:|"
  for _, point in ipairs(list) do
    if not names or ("," .. names .. ","):find("," .. point[1] .. ",", 1, true) then
      exponents[point[1]] = row(point[1], point[2], for_each)
    end
  end
  return exponents
end

local function main()
  print(("µs of processor time for each of n, the least of so many runs: %d; and the exponent of n in "
    .. "what all take, from 1,000 to the largest n. 1 is linear; n log n would be 1.1, and what no longer "
    .. "fits the processor's caches shows as much as that; 2 is quadratic.\n"):format(ROUNDS))
  local exponents = rows(ORDER, true)
  local function those(low, high) return between(exponents, low, high) end
  print(("\nLinear (below 1.06): %s. As n log n, or by caches (to 1.2): %s. More, but not quadratic: %s. "
    .. "Quadratic: %s."):format(those(0, 1.06), those(1.06, 1.2), those(1.2, 1.8), those(1.8, 9)))
  print "\nµs of one operation n calls deep; exponent 0: the depth costs nothing.\n"
  rows(DEEP, false)
end

--- How often a point is repeated in its process, since the clock is coarse; not where something stays behind.
local ONCE = { all_tasks = true, call_graph = true, context = true, lost_errors = true }
local CONNECTS = { connections = true, lines = true, writes = true }
local function repetitions(name, n)
  if ONCE[name] or name:find "^deep" then return 1 end
  return math.min(math.max(10000 // n, 1), CONNECTS[name] and 20 or 1000)
end

local function one_point(name, n)
  local sum, times_run = 0, repetitions(name, n)
  collectgarbage()
  for _ = 1, times_run do sum = sum + points[name](n) end
  return sum / times_run
end

if not arg[1] then
  asyncio.run(main)
elseif arg[1] == "run_end" then
  print(run_end(math.tointeger(arg[2])))
else
  asyncio.run(function()
    asyncio.get_running_loop():set_exception_handler(nothing)
    print(("%.9f"):format(one_point(arg[1], math.tointeger(arg[2]))))
    io.flush()
    os.exit(0, false) -- what is left ends with the process
  end)
end
