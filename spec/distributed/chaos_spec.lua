-- chaos_spec.lua - nothing is lost and nothing done by two: workers that die, stall and come back, a Redis that is
-- restarted, networks that swallow.
local t = require "helper"
local chores = require "distributed.chores"
local cluster = require "distributed.cluster"
local proxy = require "redis.proxy"

local asyncio = t.asyncio
local distributed = asyncio.distributed

local LEASE = t.slow and 5 or 1 -- seconds: longer than this machine may keep a thread waiting

TestDeath = {}
TestStall = {}
TestRestart = {}
TestNetwork = {}

local function failure(future)
  local ok, err = asyncio.pcall(asyncio.await, future)
  t.assertFalse(ok)
  return err
end

--- Has so many workers begin, one after the other, whose job is the death of each.
local function let_die(c, n)
  for _ = 1, n do
    local worker <close> = c:process()
    worker:wait()
  end
end

function TestDeath:test_of_a_worker_makes_another_run_its_jobs()
  cluster.test(function(c)
    c:with_signal_in_job("SIGKILL", LEASE, 0.5, function(future, executor, file)
      local _ <close> = c:worker()
      t.assertEquals(asyncio.await(future), "a")
      t.assertEquals(select(2, file.content():gsub("slept", "")), 1)
      t.assertEquals(executor:stats().running, 0)
    end)
  end)
end

function TestDeath:test_is_survived_by_what_waited_and_what_had_ended()
  cluster.test(function(c)
    local executor <close> = c:executor { lease = LEASE }
    local first <close> = c:process "--concurrency 4"
    local futures = {}
    for i = 1, 200 do futures[i] = executor:submit(chores.echo, i) end
    t.wait_until(function() return futures[20]:done() end)
    first:signal "SIGKILL"
    local _ <close> = c:worker()
    for i = 1, 200 do t.assertEquals(asyncio.await(futures[i]), i) end
    t.assertEquals(executor:stats().done, 200)
  end)
end

function TestDeath:test_again_and_again_fails_the_job()
  cluster.test(function(c)
    local executor <close> = c:executor { lease = LEASE, max_attempts = 2 }
    local future = executor:submit(chores.deadly, 9)
    let_die(c, 2)
    local _ <close> = c:worker()
    local err = failure(future)
    t.assert_isinstance(err, distributed.JobFailed)
    t.assertEquals({ err.attempts, #err.errors }, { 2, 2 })
    t.assertStrContains(tostring(err.errors[1]), "was not heard of for")
    t.assertEquals(executor:stats().dead, 1)
  end)
end

--- The innocents beside it have ended by then, and nothing is taken while it runs.
function TestDeath:test_twice_makes_the_job_run_alone()
  cluster.test(function(c)
    local executor <close> = c:executor { lease = LEASE, max_attempts = 4 }
    local deadly = executor:submit(chores.deadly, 3)
    let_die(c, 2)
    local innocent = executor:submit(chores.slow, 1, 1)
    let_die(c, 1)
    local _ <close> = c:worker()
    t.assertEquals(asyncio.await(deadly), 4)
    t.assertEquals(asyncio.await(innocent), 1)
  end)
end

-- Workers that stall

--- The first owner comes back when the second has the job, or is done with it: it is not heard.
function TestStall:test_past_the_lease_gives_the_job_to_another_who_alone_completes_it()
  cluster.test(function(c)
    c:with_signal_in_job("SIGSTOP", LEASE, 0.4, function(future, executor, _, first)
      local second <close> = c:worker()
      t.wait_until(function() return second.worker.busy == 1 end)
      first:signal "SIGCONT"
      t.assertEquals(asyncio.await(future), "a")
      while not (first.output:find "not heard" or first.output:find ": lost" or first.output:find ": late") do
        asyncio.sleep(0.01)
      end
      t.assertEquals(executor:stats().done, 1)
      t.assertEquals(executor:stats().running, 0)
    end)
  end)
end

function TestStall:test_of_its_loop_alone_loses_nothing()
  cluster.test(function(c)
    local executor <close> = c:executor { lease = LEASE }
    local first <close> = c:process()
    local _ <close> = c:worker()
    t.assertEquals(executor:stats().workers, 2)
    local results = executor:map(chores.compute, { 2 * LEASE })
    t.assertEquals(results[1], true)
    t.assertEquals(asyncio.await(executor:submit(chores.attempt)), 1)
    t.assertFalse(first.output:find "lost" ~= nil)
  end)
end

-- Redis

local AOF = "--appendonly yes --appendfsync always"

function TestRestart:test_with_what_was_on_disk_loses_nothing()
  cluster.test(function(c)
    local executor <close> = c:executor { lease = LEASE }
    local worker <close> = c:worker()
    local futures = {}
    for i = 1, 50 do futures[i] = executor:submit(chores.sleep, 0.02) end
    c.db:kill()
    c.db:run()
    for i = 1, 50 do t.assertEquals(asyncio.await(futures[i]), 0.02) end
    t.assertEquals(asyncio.await(executor:submit(chores.add, 1, 1)), 2)
    t.wait_until(function() return worker.worker.busy == 0 end)
    t.assertEquals(executor:stats().running, 0)
  end, AOF)
end

function TestRestart:test_without_loses_jobs_and_says_so()
  cluster.test(function(c)
    local executor <close> = c:executor()
    local lost = executor:submit(chores.nothing)
    c.db:kill()
    c.db:run()
    t.assert_isinstance(failure(lost), distributed.JobLost)
    local _ <close> = c:worker()
    t.assertEquals(asyncio.await(executor:submit(chores.add, 1, 1)), 2)
  end)
end

--- What runs ends, and is nobody's; the worker goes on.
function TestRestart:test_without_says_so_of_what_runs_and_what_is_delayed_too()
  cluster.test(function(c)
    local worker <close> = c:worker()
    local executor <close> = c:executor { lease = LEASE }
    local kept = executor:submit(chores.nothing)
    asyncio.await(kept)
    local runs, later = executor:submit(chores.sleep, 0.5), executor:submit { chores.nothing, delay = 60 }
    t.wait_until(function() return worker.worker.busy == 1 end)
    c.db:kill()
    c.db:run()
    t.assert_isinstance(failure(runs), distributed.JobLost)
    t.assert_isinstance(failure(later), distributed.JobLost)
    t.assert_isinstance(failure(executor:attach(kept.job_id)), distributed.ResultExpired)
    t.assertEquals(asyncio.await(executor:submit(chores.add, 1, 1)), 2)
    t.wait_until(function() return worker.worker.busy == 0 end)
    t.assertEquals(executor:stats().running, 0)
  end)
end

function TestRestart:test_under_a_worker_that_waits_is_no_end_of_it()
  cluster.test(function(c)
    local _ <close> = c:worker()
    local executor <close> = c:executor()
    t.assertEquals(asyncio.await(executor:submit(chores.add, 1, 1)), 2)
    c.db:kill()
    c.db:run()
    t.assertEquals(asyncio.await(executor:submit(chores.add, 1, 2)), 3)
  end)
end

-- The network

--- Everything is sent through proxies that cut and swallow: each job has one result, and each `once` happened once.
function TestNetwork:test_that_cuts_and_holds_costs_nothing_but_time()
  cluster.test(function(c)
    local kinds = { "cut", "hold" }
    proxy.with(c.db, { there = kinds, back = kinds, mean = 6000 }, function(path)
      local file <close> = cluster.file()
      local worker <close> = c:worker { url = "unix://" .. path, concurrency = 4 }
      local executor = c:executor { url = "unix://" .. path, lease = 2, max_attempts = 100, connect_timeout = 30 }
      local futures = {}
      for i = 1, t.count(60) do futures[i] = executor:submit(chores.once, file.path) end
      for _, future in ipairs(futures) do t.assertEquals((asyncio.await(future)) ~= nil, true) end
      t.assertEquals(select(2, file.content():gsub("once\n", "")), #futures)
      executor:shutdown()
      worker:stop()
    end)
  end)
end

t.leave_out(TestDeath, "valgrind") -- half of them wait for leases of workers that are slow there
t.leave_out(TestStall, "valgrind")
t.leave_out(TestNetwork, "valgrind")

t.finish { sampled = true }
