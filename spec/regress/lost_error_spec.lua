-- lost_error_spec.lua - errors that were meant to be dropped are no lost errors.
local t = require "helper"
local core = require "asyncio.core"

local asyncio = t.asyncio

TestRace = {}

--- Calls fn(attempts) while "some.test" has two addresses, and an attempt to connect waits for a future in the list.
-- One that is cancelled has heard from the kernel already: refused.
local function with_attempts(fn)
  local attempts, connect, running = {}, core.connect, core.get_running_loop
  local function address(host) return { family = "inet", host = host, port = 1 } end
  local _ <close> = setmetatable({}, { __close = function()
    core.connect, core.get_running_loop = connect, running
  end })
  function core.connect()
    local future = running():create_future()
    attempts[#attempts + 1] = future
    local ok, reader, writer = pcall(asyncio.await, future)
    if ok then return reader, writer end
    if asyncio.isinstance(reader, asyncio.CancelledError) then
      error(asyncio.ConnectionRefusedError { message = "refused", code = "ECONNREFUSED" }, 0)
    end
    error(reader, 0)
  end
  function core.get_running_loop()
    local loop = {}
    function loop.getaddrinfo() return { address "10.0.0.1", address "10.0.0.2" } end
    return setmetatable(loop, { __index = function(_, name)
      return function(_, ...) return running()[name](running(), ...) end
    end })
  end
  return fn(attempts)
end

local function writer_of(log, name) return { abort = function() log[#log + 1] = name end } end

local function open() return asyncio.open_connection("some.test", 1, { happy_eyeballs_delay = 0.01 }) end

function TestRace:test_the_error_of_an_attempt_that_fails_as_another_wins_is_dropped()
  t.run(function()
    with_attempts(function(attempts)
      local task = asyncio.create_task(open)
      asyncio.sleep(0.05)
      attempts[2]:set_result("reader", "writer")
      t.assertEquals({ asyncio.await(task) }, { "reader", "writer" })
      t.assertTrue(attempts[1]:cancelled())
    end)
    t.collect()
    asyncio.sleep(1)
  end)
end

function TestRace:test_the_errors_of_attempts_that_fail_as_the_caller_is_cancelled_are_dropped()
  t.run(function()
    with_attempts(function()
      local task = asyncio.create_task(open)
      asyncio.sleep(0.05)
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    end)
    t.collect()
    asyncio.sleep(1)
  end)
end

function TestRace:test_a_second_connection_is_dropped()
  t.run(function()
    with_attempts(function(attempts)
      local log, task = {}, asyncio.create_task(open)
      asyncio.sleep(0.05)
      attempts[1]:set_result("one", writer_of(log, "one"))
      attempts[2]:set_result("two", writer_of(log, "two"))
      t.assertEquals((asyncio.await(task)), "one")
      t.assertEquals(log, { "two" })
    end)
  end)
end

function TestRace:test_an_error_that_is_no_answer_of_an_address_is_raised()
  t.run(function()
    with_attempts(function(attempts)
      local task = asyncio.create_task(open)
      asyncio.sleep(0.05)
      attempts[1]:set_exception "a bug"
      t.assertEquals(t.error_of(asyncio.await, task), "a bug")
    end)
  end)
end

TestMap = {}

function TestMap:test_errors_after_the_first_that_is_raised_are_dropped()
  t.real(function()
    local methods, futures = core.executor_class.methods, {}
    local submit = methods.submit
    local _ <close> = setmetatable({}, { __close = function() methods.submit = submit end })
    function methods.submit(...)
      futures[#futures + 1] = submit(...)
      return futures[#futures]
    end
    local executor <close> = asyncio.ThreadPoolExecutor(2)
    local gate = asyncio.Channel()
    local function fail(first)
      if first then first:get() end
      error(first and "one" or "two", 0)
    end
    local map = asyncio.create_task(executor.map, executor, fail, { gate, false })
    t.wait_until(function() return futures[2] and futures[2]:done() end)
    gate:put "go"
    t.assertStrContains(t.error_of(asyncio.await, map), "one")
  end)
end

t.finish()
