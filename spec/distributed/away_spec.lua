-- away_spec.lua - a Redis that is away, or has lost something, on the virtual clock: how workers leave it, how
-- executors find out.
local t = require "helper"
local quiet = require "distributed.quiet"

local asyncio = t.asyncio
local BASE, SLEEP, test = quiet.BASE, quiet.SLEEP, quiet.test

TestLeaving = {}
TestLoss = {}
TestEnd = {}

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
    local future = executor:submit(SLEEP, 1)
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

-- What Redis has lost

--- Seconds until all of these futures have failed with JobLost.
local function until_lost(futures)
  local loop = asyncio.get_running_loop()
  local began = loop:time()
  asyncio.wait(futures, { timeout = 60 })
  for _, future in ipairs(futures) do
    t.assert_isinstance(future:done() and future:exception(), asyncio.distributed.JobLost)
  end
  return loop:time() - began
end

local function submit_many(executor, n, opts)
  local calls, list = {}, {}
  for i = 1, n do
    calls[i] = function()
      local call = { SLEEP, i }
      for key, value in pairs(opts) do call[key] = value end
      list[i] = executor:submit(call)
    end
  end
  asyncio.gather(calls)
  asyncio.sleep(10) -- they have been asked after by then
  return list
end

--- What else there is goes on.
local function loses(key, opts)
  test(function(world, executor)
    local list, other = submit_many(executor, t.count(2000), opts), submit_many(executor, 1, { priority = "low" })
    world.db:run("DEL", BASE .. key)
    t.assertTrue(until_lost(list) < 10)
    asyncio.sleep(20)
    t.assertFalse(other[1]:done())
    other[1]:cancel()
  end)
end

function TestLoss:test_of_a_stream_alone_is_found_within_10_s() loses("normal", {}) end

function TestLoss:test_of_what_was_delayed_is_found_within_10_s() loses("delayed", { delay = 3600 }) end

function TestLoss:test_of_a_job_alone_is_found_within_10_s()
  test(function(world, executor)
    local list = submit_many(executor, 20, {})
    world.db:run("DEL", BASE .. "job:" .. list[20].job_id)
    t.assertTrue(until_lost { list[20] } < 10)
    t.assertFalse(list[1]:done())
    for _, future in ipairs(list) do future:cancel() end
  end)
end

function TestLoss:test_of_all_is_found_within_10_s()
  test(function(world, executor)
    local list = submit_many(executor, 20, {})
    world.db:run "FLUSHALL"
    t.assertTrue(until_lost(list) < 10)
  end)
end

function TestLoss:test_of_answers_alone_loses_no_end()
  test(function(world, executor, start)
    local future = executor:submit(SLEEP, 1)
    local made, task = start()
    t.wait_until(function() return next(made.running) ~= nil end)
    for key in pairs(world.db.keys) do
      if key:find "answers:" then world.db:run("DEL", key) end
    end
    t.assertEquals(asyncio.await(future), 1)
    made:stop()
    asyncio.await(task)
  end)
end

-- The end of an executor

--- How these tasks have failed, each with an error of that class.
local function all_fail(tasks, class)
  for _, task in ipairs(tasks) do t.assert_isinstance(t.error_of(asyncio.await, task), class) end
end

function TestEnd:test_ends_submits_that_wait_for_redis()
  test(function(world, executor)
    world.down = true
    local submits = {}
    for i = 1, 150 do submits[i] = asyncio.create_task(executor.submit, executor, SLEEP, i) end
    asyncio.sleep(0.1)
    local closing = asyncio.create_task(executor.shutdown, executor)
    asyncio.sleep(0.1)
    closing:stop()
    all_fail(submits, asyncio.ClosedError)
  end)
end

--- Nobody would hear of its jobs any more.
function TestEnd:test_is_there_when_its_answers_cannot_be_read()
  test(function(world, executor)
    local reports = t.reports_of(asyncio.get_running_loop())
    function world.db.on_script_error() end -- who asks after jobs meets with it, too
    local future = executor:submit(SLEEP, 1)
    for key in pairs(world.db.keys) do
      if key:find "answers:" then world.db.keys[key] = { kind = "string", value = "no stream" } end
    end
    t.assertStrContains(tostring(t.error_of(asyncio.await, future)), "WRONGTYPE")
    t.take_report(reports, "an executor's task has failed")
    t.assert_raises(asyncio.ClosedError, executor.submit, executor, SLEEP, 1)
    t.until_blocked() -- its connections are closed by a task
  end)
end

t.finish()
