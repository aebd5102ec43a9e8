-- executor_spec.lua - DistributedExecutor, with workers in this process: what is submitted, and what comes of it.
local t = require "helper"
local chores = require "distributed.chores"
local cluster = require "distributed.cluster"

local asyncio = t.asyncio
local distributed = asyncio.distributed

TestSubmit = {}
TestErrors = {}
TestOptions = {}
TestKeys = {}
TestCancel = {}
TestAttach = {}
TestBound = {}
TestEnd = {}
TestArguments = {}

--- Runs fn(executor, cluster, worker) with both.
local function with_worker(fn, opts, of_worker)
  cluster.test(function(c)
    local worker <close> = c:worker(of_worker)
    local executor <close> = c:executor(opts)
    fn(executor, c, worker)
  end)
end

local function failure(future)
  local ok, err = asyncio.pcall(asyncio.await, future)
  t.assertFalse(ok)
  return err
end

function TestSubmit:test_calls_a_function_of_a_module_with_its_arguments_and_returns_its_results()
  with_worker(function(executor)
    local future = executor:submit("distributed.chores.echo", 1, 2.0, "a\0b\xff", nil, { x = { 1, 2 }, y = true }, nil)
    t.assertTrue(asyncio.isfuture(future))
    local results = table.pack(asyncio.await(future))
    t.assertEquals(results.n, 6)
    t.assertEquals({ results[1], results[2], results[3] }, { 1, 2.0, "a\0b\xff" })
    t.assertEquals(results[5], { x = { 1, 2 }, y = true })
    t.assertEquals(math.type(results[1]) .. math.type(results[2]), "integerfloat")
  end)
end

function TestSubmit:test_takes_a_function_that_stands_in_a_module()
  with_worker(function(executor)
    t.assertEquals(asyncio.await(executor:submit(chores.add, 3, 4)), 7)
    t.assertEquals(asyncio.await(executor:submit { chores.add, 3, 5 }), 8)
  end)
end

function TestSubmit:test_is_what_run_in_executor_does_with_it()
  with_worker(function(executor)
    local loop = asyncio.get_running_loop()
    t.assertEquals(asyncio.await(loop:run_in_executor(executor, chores.add, 3, 4)), 7)
  end)
end

function TestSubmit:test_runs_as_many_at_once_as_a_worker_has_room_for()
  with_worker(function(executor, _, worker)
    local most = 0
    local watching = asyncio.create_task(function()
      while true do
        most = math.max(most, worker.worker.busy)
        asyncio.sleep(0)
      end
    end)
    executor:map(chores.sleep, { 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01 })
    watching:stop()
    t.assertEquals(most, 3)
  end, nil, { concurrency = 3 })
end

function TestSubmit:test_maps_a_list()
  with_worker(function(executor)
    local list = {}
    for i = 1, 250 do list[i] = i end
    local results = executor:map("distributed.chores.echo", list)
    t.assertEquals(results.n, 250)
    for i = 1, 250 do t.assertEquals(results[i], i) end
    t.assertEquals(executor:map(chores.echo, {}), { n = 0 })
  end)
end

function TestSubmit:test_maps_a_long_list_while_others_have_their_turns()
  cluster.test(function(c)
    local _ <close> = c:worker()
    local executor <close> = c:executor()
    local list, turns = {}, 0
    for i = 1, 1600 do list[i] = i end
    local mapping = asyncio.create_task(executor.map, executor, chores.echo, list)
    while not executor[1].pending[1] do
      turns = turns + 1
      asyncio.sleep(0)
    end
    t.assertTrue(turns > 3, turns)
    t.assertEquals(asyncio.await(mapping), { n = 1600, table.unpack(list) })
  end)
end

function TestSubmit:test_of_a_list_is_refused_when_the_executor_is_shut_down_meanwhile()
  cluster.test(function(c)
    local executor = c:executor()
    local mapping = asyncio.create_task(executor.map, executor, chores.echo, { n = 1600 })
    asyncio.sleep(0)
    executor:shutdown()
    asyncio.wait { mapping }
    t.assert_isinstance(mapping:exception(), asyncio.ClosedError)
  end)
end

function TestSubmit:test_needs_no_worker()
  cluster.test(function(c)
    local future
    local executor <close> = c:executor()
    future = executor:submit(chores.add, 1, 2)
    t.assertEquals(executor:stats().queued, 1)
    t.assertFalse(future:done())
    local _ <close> = c:worker()
    t.assertEquals(asyncio.await(future), 3)
  end)
end

function TestSubmit:test_gives_each_job_an_id_that_the_job_knows()
  with_worker(function(executor)
    local future, other = executor:submit(chores.id), executor:submit(chores.id)
    t.assertTrue(future.job_id ~= other.job_id)
    t.assertEquals(asyncio.await(future), future.job_id)
    t.assertEquals(asyncio.await(other), other.job_id)
    t.assertNil(distributed.job())
  end)
end

--- Methods of other futures are found in a table, without a call.
function TestSubmit:test_leaves_the_class_of_other_futures_as_it_is()
  with_worker(function(executor)
    local other = asyncio.get_running_loop():create_future()
    local class, methods = getmetatable(other), getmetatable(other).__index
    t.assertEquals(type(methods), "table")
    local future = executor:submit(chores.id)
    t.assertTrue(rawequal(getmetatable(other), class) and rawequal(class.__index, methods))
    t.assertNil(methods.job_id)
    t.assertNil(other.job_id)
    t.assertTrue(asyncio.isfuture(future))
    t.assertEquals(asyncio.type(future), "Future")
    t.assertEquals(asyncio.await(future), future.job_id)
  end)
end

function TestSubmit:test_serves_several_executors_and_queues()
  cluster.test(function(c)
    local _ <close> = c:worker { queues = { "one", "two" }, concurrency = 2 }
    local first <close> = c:executor { queue = "one" }
    local second <close> = c:executor { queue = "two" }
    local third <close> = c:executor { queue = "one" }
    local a, b, d = first:submit(chores.add, 1, 1), second:submit(chores.add, 1, 2), third:submit(chores.add, 1, 3)
    t.assertEquals({ asyncio.await(a), asyncio.await(b), asyncio.await(d) }, { 2, 3, 4 })
    t.assertEquals(first:stats().done, 2)
    t.assertEquals(second:stats().done, 1)
  end)
end

function TestSubmit:test_counts()
  with_worker(function(executor)
    asyncio.await(executor:submit(chores.nothing))
    failure(executor:submit(chores.fail, "x"))
    local delayed = executor:submit { chores.nothing, delay = 100 }
    local running = executor:submit(chores.sleep, 100)
    cluster.wait_for_stats(executor, "running", 1)
    t.assertEquals(executor:stats(), {
      queued = 0, delayed = 1, running = 1, dead = 1, done = 1, failed = 1, workers = 1, cancelled = 0,
    })
    delayed:cancel()
    running:cancel()
  end)
end

-- Errors

function TestErrors:test_are_raised_as_themselves()
  with_worker(function(executor)
    t.assertEquals(failure(executor:submit(chores.fail, "plain")), "plain")
    t.assertEquals(failure(executor:submit(chores.fail, { code = 3 })), { code = 3 })
    local err = failure(executor:submit(chores.sour, "whole"))
    t.assert_isinstance(err, chores.SourMilk)
    t.assertEquals({ err.kind, err.message }, { "whole", "the milk is sour" })
    t.assertStrContains(err.traceback, "chores.lua")
  end)
end

function TestErrors:test_of_a_class_that_is_not_known_here_are_of_the_one_above_it()
  local crossing = require "asyncio.distributed.crossing"
  local Strange = asyncio.TimeoutError:subclass "Strange"
  local err = crossing.read_error(crossing.error(Strange { message = "odd", fn = print }))
  t.assertEquals(getmetatable(err), asyncio.TimeoutError)
  t.assertStrContains(tostring(err), "odd")
  t.assertNil(err.fn)
end

function TestErrors:test_of_what_is_no_function_of_the_workers_modules_come_at_once()
  with_worker(function(executor)
    for name, text in pairs {
      ["os.exit"] = "the worker runs no function 'os.exit': its modules are distributed.chores",
      ["distributed.chores.none"] = "module 'distributed.chores' has no function 'none'",
      ["distributed.chores.SourMilk.subclass"] = "the worker runs no function",
    } do
      local err = failure(executor:submit { name, retries = 5 })
      t.assertStrContains(tostring(err), text)
    end
    t.assertEquals(executor:stats().failed, 3)
  end)
end

function TestErrors:test_of_results_that_cannot_cross_say_where_they_stand()
  with_worker(function(executor)
    t.assertStrContains(tostring(failure(executor:submit(chores.closure))), "cannot pack a C function at result 1")
    t.assertStrContains(tostring(failure(executor:submit(chores.large, 600 * 1024))), "its results take 614")
  end)
end

function TestErrors:test_are_tried_again_so_often()
  with_worker(function(executor)
    t.assertEquals(asyncio.await(executor:submit { chores.flaky, 2, retries = 2 }), 3)
    t.assertEquals(failure(executor:submit { chores.flaky, 9, retries = 2 }), "attempt 3 fails")
    t.assertEquals(failure(executor:submit { chores.flaky, 9 }), "attempt 1 fails")
    t.assertEquals(executor:stats().dead, 2)
  end)
end

function TestErrors:test_are_timeouts_of_one_attempt_each()
  with_worker(function(executor)
    local err = failure(executor:submit { chores.sleep, 100, timeout = 0.02 })
    t.assert_isinstance(err, asyncio.TimeoutError)
    t.assertStrContains(tostring(err), "attempt 1 of distributed.chores.sleep took longer than its timeout, 0.02 s")
    t.assertEquals(asyncio.await(executor:submit { chores.slow, 1, 100, timeout = 0.05, retries = 1 }), 2)
  end)
end

function TestErrors:test_of_arguments_name_the_place_and_send_nothing()
  with_worker(function(executor)
    local err = t.error_of(executor.submit, executor, chores.echo, 1, { list = { 1, 2, { fn = print } } })
    t.assertStrContains(tostring(err), "cannot pack a C function at argument 2.list[3].fn")
    t.assertStrContains(tostring(t.error_of(executor.submit, executor, chores.echo, ("x"):rep(600 * 1024))),
      "more than the 524288")
    t.assertStrContains(tostring(t.error_of(executor.submit, executor, function() end)), "stands in a module")
    t.assertEquals(executor:stats().queued + executor:stats().done, 0)
  end)
end

-- Options of a job

function TestOptions:test_delay_is_waited_for()
  with_worker(function(executor)
    local loop = asyncio.get_running_loop()
    local from = loop:time()
    local future = executor:submit { chores.nothing, delay = 0.2 }
    t.assertEquals(executor:stats().delayed, 1)
    asyncio.await(future)
    t.assertTrue(loop:time() - from >= 0.19)
  end)
end

function TestOptions:test_priority_goes_first()
  cluster.test(function(c)
    local file <close> = cluster.file()
    local executor <close> = c:executor()
    for _, p in ipairs { "low", "normal", "high", "low", "high" } do
      executor:submit { chores.note, file.path, p, priority = p }
    end
    local _ <close> = c:worker { concurrency = 1 }
    executor:shutdown()
    t.assertEquals(file.content(), "high\nhigh\nnormal\nlow\nlow\n")
  end)
end

function TestOptions:test_keys_join_what_waits_runs_or_is_kept()
  with_worker(function(executor, c)
    local file <close> = cluster.file()
    local first = executor:submit { chores.note_and_sleep, file.path, "x", 0.05, key = "k" }
    local second = executor:submit { chores.note_and_sleep, file.path, "y", 0.05, key = "k" }
    local other <close> = c:executor()
    local third = other:submit { chores.note_and_sleep, file.path, "z", 0.05, key = "k" }
    t.assertEquals({ second.job_id, third.job_id }, { first.job_id, first.job_id })
    t.assertEquals({ asyncio.await(first), asyncio.await(second), asyncio.await(third) }, { "x", "x", "x" })
    t.assertEquals(asyncio.await(executor:submit { chores.nothing, key = "k" }), "x")
    t.assertEquals(file.content(), "x\nx slept\n")
  end)
end

function TestOptions:test_keys_are_free_again_when_the_result_has_expired()
  with_worker(function(executor)
    local first = executor:submit { chores.attempt, key = "k" }
    asyncio.await(first)
    asyncio.sleep(0.2)
    local second = executor:submit { chores.attempt, key = "k" }
    t.assertTrue(first.job_id ~= second.job_id)
    t.assertEquals(asyncio.await(second), 1)
  end, { result_ttl = 0.1 })
end

-- Cancelling

function TestCancel:test_takes_back_what_waits()
  cluster.test(function(c)
    local executor <close> = c:executor()
    local future, delayed = executor:submit(chores.nothing), executor:submit { chores.nothing, delay = 100 }
    t.assertTrue(future:cancel())
    t.assertTrue(delayed:cancel())
    cluster.wait_for_stats(executor, "cancelled", 2)
    t.assertEquals(executor:stats().queued + executor:stats().delayed, 0)
    t.assert_raises(asyncio.CancelledError, asyncio.await, executor:attach(future.job_id))
  end)
end

function TestCancel:test_reaches_what_runs()
  with_worker(function(executor, _, worker)
    local file <close> = cluster.file()
    local future = executor:submit(chores.note_and_sleep, file.path, "a", 100)
    cluster.wait_for_content(file, "a\n")
    future:cancel()
    t.wait_until(function() return worker.worker.busy == 0 end)
    cluster.wait_for_stats(executor, "cancelled", 1)
    t.assertEquals(file.content(), "a\n")
  end)
end

function TestCancel:test_leaves_what_another_waits_for()
  with_worker(function(executor, c)
    local file <close> = cluster.file()
    local other <close> = c:executor()
    local first = executor:submit { chores.note_and_sleep, file.path, "a", 0.2, key = "k" }
    local second = other:submit { chores.nothing, key = "k" }
    first:cancel()
    t.assertEquals(asyncio.await(second), "a")
  end)
end

function TestCancel:test_of_the_caller_of_submit_takes_the_job_back()
  cluster.test(function(c)
    local executor <close> = c:executor()
    executor:stats()
    local task = asyncio.create_task(executor.submit, executor, chores.nothing)
    asyncio.sleep(0)
    task:stop()
    local task2 = asyncio.create_task(executor.submit, executor, chores.nothing)
    for _ = 1, 3 do asyncio.sleep(0) end
    task2:stop()
    executor:shutdown()
    local again <close> = c:executor()
    t.assertEquals(again:stats().queued, 0)
  end)
end

-- Attaching

function TestAttach:test_gives_what_another_has_submitted()
  with_worker(function(executor, c)
    local future = executor:submit(chores.note_and_sleep, "/dev/null", "x", 0.05)
    local other <close> = c:executor()
    local attached = other:attach(future.job_id)
    t.assertEquals(attached.job_id, future.job_id)
    t.assertEquals({ asyncio.await(attached), asyncio.await(future) }, { "x", "x" })
    t.assertEquals(asyncio.await(other:attach(future.job_id)), "x")
  end)
end

function TestAttach:test_says_that_a_result_has_expired()
  with_worker(function(executor)
    local future = executor:submit(chores.nothing)
    asyncio.await(future)
    asyncio.sleep(0.2)
    local err = failure(executor:attach(future.job_id))
    t.assert_isinstance(err, distributed.ResultExpired)
    t.assertStrContains(tostring(err), "there is no job " .. future.job_id)
  end, { result_ttl = 0.1 })
end

function TestAttach:test_says_that_redis_has_lost_the_job()
  cluster.test(function(c)
    local executor <close> = c:executor()
    local future = executor:submit(chores.nothing)
    local client <close> = c.db:connect()
    client:flushall()
    local err = failure(future)
    t.assert_isinstance(err, distributed.JobLost)
    t.assertStrContains(tostring(err), "nobody knows whether it was done")
  end)
end

function TestAttach:test_says_so_too_when_only_its_stream_has_gone()
  cluster.test(function(c)
    local executor <close> = c:executor()
    local future = executor:submit(chores.nothing)
    local client <close> = c.db:connect()
    client:del "asyncio:{default}:normal"
    t.assert_isinstance(failure(future), distributed.JobLost)
  end)
end

-- A queue that is bounded

function TestBound:test_makes_submit_wait_for_room()
  cluster.test(function(c)
    local executor <close> = c:executor { max_queue = 2 }
    executor:submit(chores.nothing)
    executor:submit(chores.nothing)
    local third = asyncio.create_task(executor.submit, executor, chores.add, 1, 2)
    asyncio.sleep(0.1)
    t.assertFalse(third:done())
    t.assertEquals(executor:stats().queued, 2)
    local _ <close> = c:worker()
    t.assertEquals(asyncio.await(asyncio.await(third)), 3)
  end)
end

function TestBound:test_is_told_of_room_that_a_cancellation_makes()
  cluster.test(function(c)
    local executor <close> = c:executor { max_queue = 1 }
    local first = executor:submit(chores.nothing)
    local second = asyncio.create_task(executor.submit, executor, chores.nothing)
    asyncio.sleep(0.05)
    t.assertFalse(second:done())
    first:cancel()
    asyncio.await(second):cancel()
    cluster.wait_for_stats(executor, "cancelled", 2)
  end)
end

-- The end

function TestEnd:test_of_the_block_waits_for_its_own_jobs_only()
  with_worker(function(_, c)
    local future
    do
      local executor <close> = c:executor()
      local stranger = c:executor { queue = "nobody's" }
      stranger:submit(chores.nothing)
      stranger:shutdown { wait = false }
      future = executor:submit(chores.sleep, 0.05)
      stranger[1]:stop()
    end
    t.assertTrue(future:done())
    t.assertEquals(future:result(), 0.05)
  end)
end

function TestEnd:test_refuses_what_comes_later()
  with_worker(function(_, c)
    local executor = c:executor()
    executor:shutdown()
    executor:shutdown()
    t.assert_raises(asyncio.ClosedError, executor.submit, executor, chores.nothing)
    t.assertStrContains(tostring(executor), "shut down")
  end)
end

function TestEnd:test_cancels_what_has_not_begun_if_asked_to()
  with_worker(function(_, c)
    local executor = c:executor()
    local running = executor:submit(chores.sleep, 0.2)
    cluster.wait_for_stats(executor, "running", 1)
    local waiting = executor:submit(chores.nothing)
    executor:shutdown { cancel_futures = true }
    t.assertEquals(running:result(), 0.2)
    t.assertTrue(waiting:cancelled())
  end, nil, { concurrency = 1 })
end

function TestEnd:test_without_waiting_comes_with_the_last_job()
  with_worker(function(_, c)
    local executor = c:executor()
    local future = executor:submit(chores.sleep, 0.05)
    executor:shutdown { wait = false }
    t.assertEquals(asyncio.await(future), 0.05)
    t.wait_until(function() return executor[1].link.closed end)
  end)
end

-- Wrong arguments, and a Redis that is not there

function TestArguments:test_are_refused()
  cluster.test(function(c)
    local executor <close> = c:executor()
    t.assertStrContains(tostring(t.error_of(executor.submit, executor, "nodot")), '"module.function" expected')
    t.assertStrContains(tostring(t.error_of(executor.submit, executor, 3)), "function of a module, or its name")
    t.assertStrContains(tostring(t.error_of(executor.submit, executor, { "a.b", dely = 3 })), "dely")
    t.assertStrContains(tostring(t.error_of(distributed.DistributedExecutor, "redis://x")),
      "(table of options expected, got string: write DistributedExecutor{url=...})")
    t.assertStrContains(tostring(t.error_of(distributed.DistributedExecutor, { url = "http://x" })), "'url': redis://")
    t.assertStrContains(tostring(t.error_of(distributed.DistributedExecutor, { url = c.url, queue = "a b" })),
      "'queue'")
    t.assertStrContains(tostring(t.error_of(distributed.DistributedExecutor, { uri = c.url })), "url")
  end)
end

function TestArguments:test_of_a_redis_that_is_away_are_an_error_in_time()
  t.real(function()
    local executor <close> = distributed.DistributedExecutor { url = "unix:///nowhere/redis", connect_timeout = 0.2 }
    local err = t.assert_raises(asyncio.ConnectionError, executor.submit, executor, "a.b")
    t.assertStrContains(tostring(err), "/nowhere/redis")
  end)
end

t.finish { sampled = true }
