-- DistributedExecutor: whoever is cancelled, all others get what they asked for, no job is left behind that nobody
-- wants, and the executor ends.
local asyncio = require "asyncio"
local beside = require "calls.beside"
local quiet = require "distributed.quiet"

local BASE, SLEEP, check = quiet.BASE, quiet.SLEEP, beside.check
local FAULTS = { "lost", "unanswered", "late", "answered late" }

--- An executor with a worker, the world, and what ends it all. opts: `faulty`, whether connections are lost; `most`,
-- how many jobs have room
local function open(opts)
  local ready, over, given = asyncio.Event(), asyncio.Event(), nil
  local all = asyncio.create_task(quiet.run, function(world, executor, start)
    local made, task = start()
    world.faults = { rate = 0.05, kinds = FAULTS, late = 2 }
    world.faulty = opts and opts.faulty
    executor[1].max_queue = opts and opts.most
    given = { executor, world }
    ready:set()
    over:wait()
    world.faulty = false
    made:stop()
    asyncio.await(task)
  end)
  ready:wait()
  return given[1], function()
    over:set()
    local violated = asyncio.await(all)
    if violated[1] then error(violated[1], 0) end
  end, given[2]
end

--- Others whose jobs run meanwhile; what waits for them.
local function others(executor, c)
  return beside.others(2, 2, function(i, k)
    c.pass()
    check(asyncio.await(executor:submit(SLEEP, i + k / 10)), i + k / 10)
  end)
end

--- Nothing is left of any job.
local function check_over(executor, world)
  executor:shutdown()
  asyncio.sleep(0.1) -- another may have begun it, and may have been cancelled
  if executor[1].open ~= 0 then error(executor[1].open .. " jobs are open", 0) end
  if next(executor[1].tasks) then error("a task of the executor is left", 0) end
  for _ = 1, 100 do
    if world.db:run("XLEN", BASE .. "normal") == 0 then return end
    asyncio.sleep(1)
  end
  error("a job is left that nobody wants", 0)
end

--- A case: `call(executor, c)` is cancelled, and others go on.
local function among_others(call, opts)
  return function(c)
    local executor, close, world = open(opts)
    local wait = others(executor, c)
    return function() call(executor, c) end, function()
      wait()
      check_over(executor, world)
      close()
    end
  end
end

--- attached: awaits each by its ID, too
local function submit(executor, c, attached)
  for i = 1, 4 do
    local future = executor:submit(SLEEP, i / 10)
    c.pass()
    if attached then check(asyncio.await(executor:attach(future.job_id)), i / 10) end
    check(asyncio.await(future), i / 10)
  end
end

local function map(executor)
  local list = {}
  for i = 1, 12 do list[i] = i / 10 end
  for i, value in ipairs(executor:map(SLEEP, list)) do check(value, list[i]) end
end

local function cancel(executor, c)
  for i = 1, 4 do
    local future = executor:submit(SLEEP, i)
    c.pass()
    if not future:cancel() then check(future:result(), i) end
  end
end

local function attach(executor, c) submit(executor, c, true) end

local function stats(executor, c)
  for _ = 1, 5 do
    check(executor:stats().workers, 1)
    c.pass()
  end
end

--- Submits go on until it is shut down; each has an end.
local function shutdown(c)
  local executor, close, world = open()
  local tasks = {}
  for i = 1, 4 do
    tasks[i] = asyncio.create_task(function()
      for k = 1, 5 do
        c.pass()
        local future = executor:submit(SLEEP, k / 10)
        check(asyncio.await(future), k / 10)
      end
    end)
  end
  local how = { wait = c.random(2) == 1, cancel_futures = c.random(2) == 1 }
  return function()
    c.pass()
    executor:shutdown(how)
  end, function()
    executor:shutdown()
    asyncio.wait(tasks)
    for _, task in ipairs(tasks) do
      local err = not task:cancelled() and task:exception()
      if err and not asyncio.isinstance(err, asyncio.ClosedError) then error(err, 0) end
    end
    check_over(executor, world)
    close()
  end
end

return {
  { "distributed submit", "virtual", among_others(submit) },
  { "distributed submit, connections are lost", "virtual", among_others(submit, { faulty = true }) },
  { "distributed submit, no room", "virtual", among_others(submit, { most = 1 }) },
  { "distributed map", "virtual", among_others(map) },
  { "distributed map, connections are lost", "virtual", among_others(map, { faulty = true }) },
  { "distributed map, little room", "virtual", among_others(map, { most = 3 }) },
  { "distributed cancel", "virtual", among_others(cancel) },
  { "distributed attach", "virtual", among_others(attach) },
  { "distributed stats", "virtual", among_others(stats) },
  { "distributed shutdown", "virtual", shutdown },
}
