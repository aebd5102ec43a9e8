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
