-- What random schedules have found in the protocol of asyncio.distributed, each as a schedule of its own, over a Redis
-- in memory.
local t = require "helper"
local schedules = require "distributed.schedules"
local scripts = require "asyncio.distributed.scripts"

local asyncio = t.asyncio
local BASE, LEASE = "asyncio:{q}:", schedules.LEASE

TestProtocol = {}

local function run(world, name, ...) return world.db:run("EVAL", scripts[name], "1", BASE, ...) end

--- A test with an executor.
local function test(fn)
  local violated = t.run(function()
    return (schedules.with_world({}, function(world, log)
      local executor = schedules.executor_of("caller", 1000)
      local _ <close> = asyncio.defer(function() executor:shutdown { wait = false } end)
      fn(world, log, executor)
    end))
  end)
  t.assertEquals(violated, {})
end

--- Workers that die at once take what there is, so often.
local function lose(world, times)
  run(world, "turn", "ghost 1", "100", "0")
  for i = 2, times do
    asyncio.sleep(LEASE + 0.1)
    run(world, "claim", "ghost " .. i, "1", "100", "1", "0")
  end
  asyncio.sleep(LEASE + 0.1)
end

function TestProtocol:test_who_asks_again_whether_a_deed_was_done_hears_the_same()
  test(function(world, _, executor)
    local future = executor:submit(schedules.MODULE .. ".plain", 1)
    local job = run(world, "turn", "a", "1", "0")[2]
    local function once(me, delivery, call)
      return run(world, "once", me, job[1], job[2], delivery, job[4], "deed", call)[1]
    end
    t.assertEquals({ once("a", "1", "1.1"), once("a", "1", "1.1") }, { "new", "new" })
    asyncio.sleep(LEASE + 0.1)
    run(world, "claim", "b", "1", "1", "1", "0")
    t.assertEquals({ once("b", "2", "2.1"), once("b", "2", "2.1") }, { "again", "again" }) -- an answer may be lost
    t.assertEquals({ once("a", "1", "1.1"), once("b", "2", "2.2") }, { "lost", "again" })
    future:cancel()
  end)
end

function TestProtocol:test_jobs_that_run_alone_in_one_worker_do_so_one_after_the_other()
  test(function(world, log, executor)
    local futures = {}
    for i = 1, 3 do futures[i] = executor:submit(schedules.MODULE .. ".plain", i) end
    lose(world, 2)
    log.concurrency = 4
    local claims = 0
    function world.decide(script) -- what was handed out is not heard of, and more is asked for
      if script ~= scripts.claim then return end
      claims = claims + 1
      return claims <= 2 and "unanswered"
    end
    schedules.with_machines(world, log, 1, function()
      local _ <close> = asyncio.timeout(60)
      for i = 1, 3 do t.assertEquals((asyncio.await(futures[i])), i) end
    end)
  end)
end

function TestProtocol:test_a_job_that_is_given_up_while_it_begins_does_not_begin()
  test(function(world, log, executor)
    local future = executor:submit(schedules.MODULE .. ".plain", 1)
    lose(world, 2)
    log.concurrency = 4
    local claims = 0
    function world.decide(script)
      if claims == 1 and script == scripts.begin then return "answered late", 0.5 end
      if claims == 1 and script == scripts.renew then return "late", 1 end
      if script ~= scripts.claim then return end
      claims = claims + 1
      if claims == 1 then return "answered late", LEASE * 5 / 6 - 0.1 end -- the lease is not renewed in time
    end
    schedules.with_machines(world, log, 1, function()
      local _ <close> = asyncio.timeout(60)
      t.assertEquals((asyncio.await(future)), 1)
    end)
  end)
end

function TestProtocol:test_a_job_that_was_lost_twice_still_runs_alone_when_it_was_given_back()
  test(function(world, _, executor)
    local future = executor:submit(schedules.MODULE .. ".plain", 1)
    lose(world, 2)
    local p, entry, delivery, id, _, kind = table.unpack(run(world, "claim", "a", "1", "5", "1", "0")[1])
    t.assertEquals(kind, "alone")
    delivery = run(world, "begin", "a", p, entry, delivery, id)
    t.assertEquals(run(world, "turn", "a", "0", "1", p, entry, delivery, id, "back", "", "0")[1][1], 1)
    t.assertEquals(run(world, "turn", "b", "5", "0")[2].n, 0) -- it runs others
    local found = run(world, "claim", "c", "1", "5", "1", "0")[1]
    t.assertEquals({ found[4], found[6] }, { id, "alone" })
    future:cancel()
  end)
end

function TestProtocol:test_a_job_that_was_lost_twice_still_runs_alone_when_the_answer_to_begin_is_lost()
  test(function(world, _, executor)
    local future = executor:submit(schedules.MODULE .. ".plain", 1)
    lose(world, 2)
    local p, entry, delivery, id = table.unpack(run(world, "claim", "a", "1", "5", "1", "0")[1])
    local begun = run(world, "begin", "a", p, entry, delivery, id)
    t.assertEquals(begun, delivery + 1)
    local found = run(world, "claim", "a", "1", "5", "1", "1")[1]
    t.assertEquals({ found[3], found[4], found[6] }, { begun, id, "alone" })
    t.assertEquals(run(world, "renew", "a", p, entry, begun, id)[1], "o") -- while it waits to be alone
    t.assertEquals(run(world, "begin", "a", p, entry, begun, id), begun) -- nothing ran: it is the same attempt
    future:cancel()
  end)
end

function TestProtocol:test_a_bell_that_rings_while_a_worker_talks_is_heard()
  test(function(world, log, executor)
    local turns = 0
    function world.decide(script) -- with the third one the first job's end is told
      if script ~= scripts.turn then return end
      turns = turns + 1
      return turns == 3 and "answered late", 2
    end
    schedules.with_machines(world, log, 1, function()
      asyncio.sleep(1)
      asyncio.await(executor:submit(schedules.MODULE .. ".quick", 1))
      local second = executor:submit(schedules.MODULE .. ".quick", 2)
      local since = asyncio.time()
      t.assertEquals((asyncio.await(second)), 2)
      t.assertEquals(turns, 5)
      t.assertTrue(asyncio.time() - since < 4) -- nobody looks by himself before 5 s have gone
    end)
  end)
end

t.finish()
