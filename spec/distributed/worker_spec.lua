-- worker_spec.lua - the commands `asyncio worker` and `asyncio jobs`, and workers that end.
local t = require "helper"
local chores = require "distributed.chores"
local cluster = require "distributed.cluster"
local program = require "program"

local asyncio = t.asyncio

TestCommand = {}
TestStop = {}
TestThreads = {}
TestJobs = {}

local BIN = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/../../bin/asyncio"

--- What the command says to these arguments, and its status.
local function say(format, ...)
  return program.shell("%s %s %s 2>&1", program.lua, BIN, format:format(...))
end

local function refuses(words, text)
  local said, status = say("%s", words)
  t.assertStrContains(said, text)
  t.assertEquals(status, 1)
end

function TestCommand:test_refuses_what_it_cannot_do()
  refuses("worker", "--url is missing; usage: asyncio worker")
  refuses("worker --url redis://127.0.0.1", "a module is missing")
  refuses("worker --url redis://127.0.0.1 --concurency 3 x", "unrecognized option '--concurency'")
  refuses("worker --url redis://127.0.0.1 --concurrency 0 x", "'--concurrency' needs a number from 1 to 1000")
  refuses("worker --url http://127.0.0.1 os", "--url: redis://, rediss:// or unix:// expected")
  refuses("jobs --url redis://127.0.0.1 shw", "'shw' is no command")
  refuses("jobs --url redis://127.0.0.1 show", "'show' needs the ID of a job")
end

function TestCommand:test_says_that_a_module_does_not_load()
  refuses("worker --url redis://127.0.0.1 no.such.module", "module 'no.such.module' not found")
end

function TestCommand:test_says_how_a_module_is_named()
  refuses("worker --url redis://127.0.0.1 ./distributed/chores.lua",
    "its name is 'distributed.chores', without '.lua'")
end

function TestCommand:test_what_went_wrong_elsewhere_has_no_traceback_of_ours()
  for _, words in ipairs { "worker --url unix:///nowhere --connect-timeout 0.1 os", "worker --url redis://h no.such",
    "jobs --url unix:///nowhere --connect-timeout 0.1" } do
    t.assertNil((say("%s", words):find("traceback", 1, true)))
  end
end

function TestCommand:test_helps_whoever_asks_for_it()
  for _, words in ipairs { "worker --help", "jobs -h", "tree --help" } do
    local said, status = say("%s", words)
    t.assertStrContains(said, "usage: asyncio [options]")
    t.assertEquals(status, 0)
  end
end

function TestCommand:test_says_that_redis_is_not_there()
  refuses("worker --url unix:///nowhere/redis --connect-timeout 0.2 os", "/nowhere/redis")
  refuses("jobs --url unix:///nowhere/redis --connect-timeout 0.2", "/nowhere/redis")
end

function TestCommand:test_runs_jobs_until_it_is_told_to_end()
  cluster.test(function(c)
    local worker <close> = c:process "--concurrency 2"
    local executor <close> = c:executor()
    t.assertEquals(executor:map(chores.echo, { 1, 2, 3 })[3], 3)
    t.assertEquals(executor:stats().workers, 1)
    worker:signal "SIGTERM"
    t.assertEquals(worker:wait(), 0)
    t.assertEquals(executor:stats().workers, 0)
  end)
end

-- The end of a worker

function TestStop:test_lets_jobs_end_within_their_grace()
  cluster.test(function(c)
    local worker <close> = c:process "--grace 20"
    local executor <close> = c:executor()
    local file <close> = cluster.file()
    local future = executor:submit(chores.note_and_sleep, file.path, "a", 0.3)
    cluster.wait_for_content(file, "a\n")
    worker:signal "SIGINT"
    t.assertEquals(asyncio.await(future), "a")
    t.assertEquals(worker:wait(), 0)
  end)
end

function TestStop:test_gives_back_at_once_what_does_not_end()
  cluster.test(function(c)
    local executor <close> = c:executor { max_attempts = 1 }
    local future
    do
      local first <close> = c:worker { grace = 0.05 }
      future = executor:submit(chores.slow, 1, 100)
      cluster.wait_for_stats(executor, "running", 1)
      first:stop()
    end
    t.assertEquals(executor:stats().queued, 1)
    local _ <close> = c:worker()
    t.assertEquals(asyncio.await(future), 2)
    t.assertEquals(executor:stats().dead, 0)
  end)
end

function TestStop:test_leaves_nothing_in_redis()
  cluster.test(function(c)
    local executor <close> = c:executor { result_ttl = 0.01 }
    local client <close> = c.db:connect()
    do
      local _ <close> = c:worker()
      executor:map(chores.echo, { 1, 2, 3 })
    end
    executor:shutdown()
    asyncio.sleep(0.05)
    local keys = client:call("KEYS", "*")
    table.sort(keys)
    for i, key in ipairs(keys) do keys[i] = key:gsub("^asyncio:{default}:", ""):gsub("answers:.*", "answers") end
    t.assertEquals(table.concat(keys, " "), "answers bell high low normal stats")
    t.assertEquals(client:call("XINFO", "GROUPS", "asyncio:{default}:normal")[1].consumers, 0)
  end)
end

-- On threads

function TestThreads:test_run_jobs_at_the_same_time()
  cluster.test(function(c)
    local _ <close> = c:worker { threads = true, concurrency = 2 }
    local executor <close> = c:executor()
    t.assertEquals(executor:map(chores.compute, { 0.05, 0.05, 0.05 }), { true, true, true, n = 3 })
    t.assertEquals(asyncio.await(executor:submit(chores.attempt)), 1)
    local ok, err = asyncio.pcall(asyncio.await, executor:submit(chores.fail, "on a thread"))
    t.assertFalse(ok)
    t.assertEquals(err, "on a thread")
  end)
end

function TestThreads:test_notice_that_they_are_cancelled()
  cluster.test(function(c)
    local worker <close> = c:worker { threads = true, concurrency = 1 }
    local executor <close> = c:executor()
    local file <close> = cluster.file()
    local future = executor:submit(chores.block, file.path)
    cluster.wait_for_content(file, "begun")
    t.assertEquals(worker.worker.busy, 1)
    future:cancel()
    cluster.wait_for_content(file, "cancelled")
    t.wait_until(function() return worker.worker.busy == 0 end)
    t.assertEquals(asyncio.await(executor:submit(chores.add, 1, 1)), 2)
  end)
end

function TestThreads:test_do_things_once()
  cluster.test(function(c)
    local _ <close> = c:worker { threads = true }
    local executor <close> = c:executor()
    local file <close> = cluster.file()
    t.assertEquals(asyncio.await(executor:submit { chores.once_and_fail, file.path, 2, retries = 2 }), 1)
    t.assertEquals(file.content(), "once\n")
  end)
end

-- asyncio jobs

--- `asyncio jobs` with these words.
local function jobs_of(c)
  return function(words)
    local result = asyncio.run_process({ program.lua, BIN, "jobs", "--url", c.url, table.unpack(words) },
      { capture = true, check = false })
    return result.stdout .. result.stderr, result.returncode
  end
end

function TestJobs:test_shows_who_runs_a_job()
  cluster.test(function(c)
    local _ <close> = c:worker()
    local executor <close> = c:executor()
    local file <close> = cluster.file()
    local future = executor:submit(chores.note_and_sleep, file.path, "began", 3600)
    cluster.wait_for_content(file, "began")
    local shown = jobs_of(c) { "show", future.job_id }
    t.assertStrContains(shown, "state +running on [^\n]+, renewed [%d.]+ s ago\n", true)
    future:cancel()
    asyncio.wait { future }
  end)
end

function TestJobs:test_says_that_there_is_nothing()
  cluster.test(function(c)
    local jobs = jobs_of(c)
    t.assertStrContains(jobs {}, "nothing waits or runs in queue 'default'")
    t.assertStrContains(jobs { "dead" }, "the dead list of queue 'default' is empty")
    t.assertStrContains(jobs { "cancel", "none" }, "there is no job none")
  end)
end

function TestJobs:test_shows_lists_retries_and_throws_away()
  cluster.test(function(c)
    local worker = c:worker()
    local executor <close> = c:executor()
    local done = executor:submit(chores.add, 1, 2)
    asyncio.await(done)
    local failed = executor:submit { chores.flaky, 1, priority = "high" }
    t.assertFalse((asyncio.pcall(asyncio.await, failed)))
    worker:stop()
    local waiting = executor:submit(chores.nothing)
    executor:submit { chores.nothing, delay = 100 }
    local jobs = jobs_of(c)
    local list = jobs {}
    t.assertStrContains(list, waiting.job_id)
    t.assertStrContains(list, "delayed +normal distributed.chores.nothing in %d+", true)
    t.assertStrContains(jobs { "show", done.job_id }, "results    3")
    t.assertStrContains(jobs { "show", failed.job_id }, "error      attempt 1 fails")
    t.assertStrContains(jobs { "show", failed.job_id }, "arguments  1")
    t.assertEquals(select(2, jobs { "show", "none" }), 1)
    t.assertStrContains(jobs { "dead" }, failed.job_id)
    t.assertStrContains(jobs { "dead" }, "distributed.chores.flaky [^\n]*attempt 1 fails\n", true)
    t.assertEquals(select(2, jobs { "retry", done.job_id }), 1)
    t.assertEquals(select(2, jobs { "retry", failed.job_id }), 0)
    t.assertEquals(executor:stats().dead, 0)
    local again = executor:attach(failed.job_id)
    local _ <close> = c:worker()
    t.assertEquals(asyncio.await(again), 2)
    t.assertStrContains(jobs { "purge" }, "1 job thrown away")
    t.assertEquals(executor:stats().delayed, 0)
  end)
end

t.finish { sampled = true }
