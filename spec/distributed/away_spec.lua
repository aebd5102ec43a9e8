-- away_spec.lua - a Redis that is away, or has lost something, on the virtual clock: how workers leave it, how
-- executors find out.
local t = require "helper"
local schedules = require "distributed.schedules"
local worker = require "asyncio.distributed.worker"

local asyncio = t.asyncio
local BASE, MODULE = "asyncio:{q}:", "away_jobs"

TestLeaving = {}

--- A test with an executor; `start()` begins a worker: it, its task, what it has logged.
local function test(fn)
  package.loaded[MODULE] = { sleep = function(seconds) return asyncio.sleep(seconds, seconds) end }
  local violated = t.run(function()
    return (schedules.with_world({}, function(world)
      local executor = schedules.executor_of("caller", 1000)
      local _ <close> = asyncio.defer(function()
        executor:shutdown { wait = false }
        package.loaded[MODULE] = nil
      end)
      fn(world, executor, function()
        local log, ready = {}, asyncio.Event()
        local made = worker.new {
          url = "redis://worker", queues = { "q" }, modules = { MODULE }, grace = 2, connect_timeout = 10,
          log = function(line) log[#log + 1] = line end, on_ready = function() ready:set() end,
        }
        local task = asyncio.create_task { made.run, made, name = "worker" }
        ready:wait()
        return made, task, log
      end)
    end))
  end)
  t.assertEquals(violated, {})
end

function TestLeaving:test_a_redis_that_is_away_is_no_failure_of_a_worker()
  test(function(world, _, start)
    local made, task, log = start()
    world:restart(0)
    world.down = true
    made:stop()
    asyncio.await(task)
    t.assertStrContains(log[#log], "redis at worker:6379 is away: it leaves without a farewell")
    t.assertEquals(world.db:run("ZCARD", BASE .. "workers"), 1)
  end)
end

function TestLeaving:test_says_of_how_many_jobs_the_end_was_not_heard()
  test(function(world, executor, start)
    local made, task, log = start()
    local future = executor:submit(MODULE .. ".sleep", 1)
    asyncio.sleep(0.5)
    world:restart(0)
    world.down = true
    asyncio.sleep(1)
    made:stop()
    asyncio.await(task)
    t.assertStrContains(log[#log - 1], "redis at worker:6379 does not hear how 1 job ended")
    world.down = false
    made, task = start()
    t.assertEquals(asyncio.await(future), 1)
    made:stop()
    asyncio.await(task)
  end)
end

t.finish()
