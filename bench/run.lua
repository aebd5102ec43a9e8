-- run.lua - what tasks, queues, locks, futures and timers cost, as multiples of Lua's own coroutines.
local asyncio = require "asyncio"

local ROUNDS, N = 5, 200000
local create_task, await, sleep = asyncio.create_task, asyncio.await, asyncio.sleep

--- Seconds of processor time for each of n.
local function each(n, fn)
  local start = os.clock()
  fn(n)
  return (os.clock() - start) / n
end

local plain = {}

function plain.switch(n)
  local co = coroutine.wrap(function() while true do coroutine.yield() end end)
  for _ = 1, n do co() end
end

function plain.task(n)
  for _ = 1, n do coroutine.wrap(function() return 1 end)() end
end

local ours = {}

function ours.switch(n)
  for _ = 1, n do sleep(0) end
end

function ours.switch_among_1000(n)
  local tasks = {}
  for i = 1, 1000 do
    tasks[i] = create_task(function() for _ = 1, n // 1000 do sleep(0) end end)
  end
  for i = 1, 1000 do await(tasks[i]) end
end

function ours.task(n)
  for _ = 1, n // 1000 do
    local tasks = {}
    for i = 1, 1000 do tasks[i] = create_task(function() return 1 end) end
    for i = 1, 1000 do await(tasks[i]) end
  end
end

local function queue_of(size)
  return function(n)
    local queue = asyncio.Queue(size)
    create_task(function() for i = 1, n do queue:put(i) end end)
    for i = 1, n do assert(queue:get() == i) end
  end
end
ours.queue_of_1, ours.queue_of_1000 = queue_of(1), queue_of(1000)

function ours.lock(n)
  local lock, tasks = asyncio.Lock(), {}
  for i = 1, 100 do
    tasks[i] = create_task(function()
      for _ = 1, n // 100 do
        lock:acquire()
        sleep(0)
        lock:release()
      end
    end)
  end
  for i = 1, 100 do await(tasks[i]) end
end

function ours.future(n)
  local loop = asyncio.get_running_loop()
  for _ = 1, n do
    local future = loop:create_future()
    loop:call_soon(future.set_result, future, 1)
    await(future)
  end
end

function ours.timer(n)
  local tasks = {}
  for i = 1, n do tasks[i] = create_task(sleep, 0.000001 * (i % 1000)) end
  for i = 1, n do await(tasks[i]) end
end

--- So many times acquired and given back, by that many tasks that hold it over a turn; by one that doesn't.
local function shared(acquire, n, tasks)
  if not tasks then
    for _ = 1, n do
      local _ <close> = acquire()
    end
    return
  end
  local list = {}
  for i = 1, tasks do
    list[i] = create_task(function()
      for _ = 1, n // tasks do
        local _ <close> = acquire()
        sleep(0)
      end
    end)
  end
  for i = 1, tasks do await(list[i]) end
end

local function semaphore()
  local it = asyncio.Semaphore(10)
  return function() return it:acquire() end
end

local function pool()
  local it = asyncio.Pool { create = function() return {} end, max = 10 }
  return function() return it:acquire() end
end

function plain.semaphore(n) shared(semaphore(), n) end
function ours.pool(n) shared(pool(), n) end
function plain.shared_semaphore(n) shared(semaphore(), n, 100) end
function ours.shared_pool(n) shared(pool(), n, 100) end

local QUESTIONS = {
  { "switch", "switch", "one task gives way" },
  { "switch_among_1000", "switch", "1,000 tasks give way in turn" },
  { "task", "task", "a task is made, run and awaited" },
  { "task", "task", "the same where coroutines are used again", { reuse_coroutines = true } },
  { "queue_of_1", "switch", "an item goes through a queue of 1" },
  { "queue_of_1000", "switch", "an item goes through a queue of 1,000" },
  { "lock", "switch", "a lock is taken, held over a turn and released, by 100 tasks" },
  { "future", "switch", "a future is made, set from a callback and awaited" },
  { "timer", "task", "a task sleeps" },
  { "pool", "semaphore", "a lease is acquired and given back; beside a semaphore of ours" },
  { "shared_pool", "shared_semaphore", "the same by 100 tasks for 10 places, held over a turn; likewise" },
}

--- The line of one question, asked on a loop of its own.
local function answer(name, unit, text, opts)
  local runner <close> = asyncio.Runner(opts)
  return runner:run(function()
    asyncio.get_running_loop().slow_callback_duration = 60
    local ratios = {}
    for round = 1, ROUNDS do ratios[round] = each(N, ours[name]) / each(N, plain[unit]) end
    table.sort(ratios)
    return ("| %s | %.2f | %.2f–%.2f |"):format(text, ratios[ROUNDS // 2 + 1], ratios[1], ratios[ROUNDS])
  end)
end

print "| | ratio | least–greatest |\n|---|---:|---:|"
for _, question in ipairs(QUESTIONS) do print(answer(table.unpack(question))) end
