-- clock_spec.lua - a Redis whose clock is set: forward, so that all leases lapse at once, and back.
local t = require "helper"
local chores = require "distributed.chores"
local cluster = require "distributed.cluster"
local trouble = require "distributed.trouble"

local asyncio = t.asyncio

local HOUR = 3600 -- seconds
local LEASE = t.slow and 5 or 1

TestClock = {}

local CLOCK = "LD_PRELOAD=%s:libc.so.6 FAKETIME_TIMESTAMP_FILE=%s FAKETIME_NO_CACHE=1 FAKETIME_XRESET=1 "
  .. "FAKETIME_DONT_FAKE_MONOTONIC=1"

--- Calls fn(cluster, set): `set(seconds)` has Redis' clock differ so much from now on. Its malloc must be libc's, as
-- its own asks for the time before there is one.
local function with_clock(fn)
  local library = trouble.faketime()
  if not library then t.skip "libfaketime is not installed, or a tool has its place" end
  local name = os.tmpname()
  local _ <close> = asyncio.defer(os.remove, name)
  local function set(seconds)
    local file <close> = assert(io.open(name, "w"))
    file:write(("%+d\n"):format(seconds))
  end
  set(0)
  cluster.test(function(c) fn(c, set) end, nil, CLOCK:format(library, name))
end

local function now(c)
  local client <close> = c.db:connect { protocol = 2 }
  return tonumber(client:call "TIME"[1])
end

function TestClock:test_that_is_set_forward_makes_a_job_another_workers_at_worst()
  with_clock(function(c, set)
    local executor <close> = c:executor { lease = LEASE, max_attempts = 10 }
    local _ <close> = c:worker()
    local _ <close> = c:worker()
    local before = now(c)
    local future = executor:submit(chores.sleep, 0.5)
    local later = executor:submit { chores.echo, 1, delay = 600 }
    t.wait_until(function() return executor:stats().running == 1 end)
    set(HOUR)
    t.assertTrue(now(c) >= before + HOUR)
    t.assertEquals({ asyncio.await(future), (asyncio.await(later)) }, { 0.5, 1 })
    local stats = executor:stats()
    t.assertEquals({ stats.done, stats.running, stats.dead }, { 2, 0, 0 })
  end)
end

--- By that clock it was taken in an hour's time.
function TestClock:test_that_is_set_back_leaves_no_dead_workers_job_alone()
  with_clock(function(c, set)
    c:with_signal_in_job("SIGKILL", LEASE, 0.2, function(future, executor)
      set(-HOUR)
      local _ <close> = c:worker()
      t.assertEquals(asyncio.await(future), "a")
      t.assertEquals(asyncio.await(executor:submit(chores.add, 1, 2)), 3)
    end)
  end)
end

t.leave_out(TestClock, "valgrind")

t.finish()
