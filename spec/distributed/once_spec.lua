-- once_spec.lua - `job:once`: what is done once, however many attempts a job takes.
local t = require "helper"
local chores = require "distributed.chores"
local cluster = require "distributed.cluster"

local asyncio = t.asyncio

TestOnce = {}

function TestOnce:test_keeps_results_for_later_attempts()
  cluster.test(function(c)
    local _ <close> = c:worker()
    local executor <close> = c:executor()
    local file <close> = cluster.file()
    t.assertEquals(asyncio.await(executor:submit { chores.once_and_fail, file.path, 2, retries = 2 }), 1)
    t.assertEquals(file.content(), "once\n")
  end)
end

function TestOnce:test_is_of_one_job_and_key()
  cluster.test(function(c)
    local _ <close> = c:worker()
    local executor <close> = c:executor()
    local file <close> = cluster.file()
    t.assertEquals({ asyncio.await(executor:submit(chores.once, file.path, "a")) }, { 1, nil, 1 })
    asyncio.await(executor:submit(chores.once, file.path, "a"))
    asyncio.await(executor:submit(chores.once, file.path, "b"))
    t.assertEquals(file.content(), "once\nonce\nonce\n")
  end)
end

function TestOnce:test_says_that_an_attempt_died_in_it()
  cluster.test(function(c)
    local first <close> = c:process()
    local executor <close> = c:executor { lease = t.slow and 5 or 1 }
    local file <close> = cluster.file()
    local future = executor:submit(chores.die_in_once, file.path)
    first:wait()
    local _ <close> = c:worker()
    t.assertEquals(asyncio.await(future), "done")
    t.assertEquals(file.content(), "once\nagain\n")
  end)
end

function TestOnce:test_expires_with_its_job()
  cluster.test(function(c)
    local _ <close> = c:worker()
    local executor <close> = c:executor { result_ttl = 0.05 }
    local client <close> = c.db:connect()
    local file <close> = cluster.file()
    local future = executor:submit(chores.once, file.path)
    asyncio.await(future)
    asyncio.sleep(0.1)
    t.assertEquals(client:call("EXISTS", "asyncio:{default}:once:" .. future.job_id), 0)
  end)
end

function TestOnce:test_refuses_wrong_arguments()
  cluster.test(function(c)
    local _ <close> = c:worker()
    local executor <close> = c:executor()
    local ok, err = asyncio.pcall(asyncio.await, executor:submit(chores.wrong_once))
    t.assertFalse(ok)
    t.assertStrContains(tostring(err), "bad argument #1 to 'once' (key (a string) expected, got nil)")
  end)
end

t.finish { sampled = true }
