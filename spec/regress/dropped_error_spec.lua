-- dropped_error_spec.lua - errors that are meant to be dropped, since another was raised, are not reported as lost.
local t = require "helper"
local asyncio = t.asyncio

TestDropped = {}

local function failing(name, delay)
  return function()
    pcall(asyncio.sleep, delay or 0)
    error(name, 0)
  end
end

--- Calls it; then all garbage is found, and helper.run would see a report.
local function check(call)
  t.run(function()
    t.error_of(call)
    asyncio.sleep(20)
    t.collect()
    asyncio.sleep(0)
  end)
end

function TestDropped:test_the_second_of_a_gather()
  check(function() asyncio.gather(failing "first", failing "second", failing("third", 5)) end)
end

function TestDropped:test_the_second_of_a_gather_of_what_had_failed()
  check(function()
    local a, b = asyncio.create_task(failing "first"), asyncio.create_task(failing "second")
    asyncio.sleep(1)
    asyncio.gather(a, b)
  end)
end

function TestDropped:test_of_a_gather_that_was_cancelled()
  check(function()
    local all = asyncio.create_task(asyncio.gather, failing("late", 10), function() asyncio.sleep(10) end)
    asyncio.sleep(1)
    all:cancel()
    asyncio.await(all)
  end)
end

function TestDropped:test_the_second_of_a_group()
  check(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(failing "first")
    group:create_task(failing("second", 10))
    asyncio.sleep(10)
  end)
end

function TestDropped:test_of_a_task_that_wait_for_gave_up()
  check(function() asyncio.wait_for(asyncio.create_task(failing("late", 10)), 1) end)
end

function TestDropped:test_the_second_of_a_map()
  t.real(function()
    local executor <close> = asyncio.ThreadPoolExecutor(2)
    t.assertStrContains(t.error_of(executor.map, executor, function(x) error("bad " .. x, 0) end, { 1, 2, 3 }), "bad")
    asyncio.sleep(0.01)
    t.collect()
    asyncio.sleep(0)
  end)
end

t.finish()
