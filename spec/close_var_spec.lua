-- A `<close>` may await, on every path that leaves its block.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

-- A guard whose __close awaits, then notes its name and the error that it saw.
local function guard(log, name)
  return setmetatable({}, {
    __close = function(_, err)
      sleep(0.001)
      log[#log + 1] = err == nil and name or name .. ": " .. tostring(err)
    end,
  })
end

-- Runs fn(log) as a task of its own; its results packed, with the log.
local function run(fn)
  local log, results = {}, nil
  t.run(function() results = table.pack(pcall(await, create_task(fn, log))) end)
  return log, results
end

TestCloseVar = {}

function TestCloseVar:test_at_the_end_of_a_block()
  local log = run(function(log)
    do
      local _ <close> = guard(log, "closed")
      log[#log + 1] = "body"
    end
    log[#log + 1] = "after"
  end)
  t.assertEquals(log, { "body", "closed", "after" })
end

function TestCloseVar:test_at_a_return_keeps_all_the_values()
  local log, results = run(function(log)
    local _ <close> = guard(log, "closed")
    return 1, nil, 3, nil
  end)
  t.assertEquals(log, { "closed" })
  t.assertEquals(results, { n = 5, true, 1, nil, 3, nil })
end

function TestCloseVar:test_at_a_return_of_many_values()
  local list = {}
  for i = 1, 240 do list[i] = i end
  local _, results = run(function(log)
    local _ <close> = guard(log, "closed")
    return table.unpack(list)
  end)
  t.assertEquals({ table.unpack(results, 2) }, list)
end

function TestCloseVar:test_at_a_return_of_a_call_that_awaits()
  local log, results = run(function(log)
    local _ <close> = guard(log, "closed")
    return sleep(0.001, "a", "b")
  end)
  t.assertEquals(log, { "closed" })
  t.assertEquals(results, { n = 3, true, "a", "b" })
end

function TestCloseVar:test_at_a_break()
  local log = run(function(log)
    for i = 1, 3 do
      local _ <close> = guard(log, "closed " .. i)
      if i == 2 then break end
    end
    while true do
      local _ <close> = guard(log, "closed too")
      break
    end
  end)
  t.assertEquals(log, { "closed 1", "closed 2", "closed too" })
end

function TestCloseVar:test_at_each_turn_of_a_loop()
  local log = run(function(log)
    local i = 0
    repeat
      local _ <close> = guard(log, "closed " .. i)
      i = i + 1
    until i == 3
  end)
  t.assertEquals(log, { "closed 0", "closed 1", "closed 2" })
end

function TestCloseVar:test_at_a_goto()
  local log = run(function(log)
    local n = 0
    ::again::
    do
      local _ <close> = guard(log, "closed " .. n)
      n = n + 1
      if n < 3 then goto again end
      goto out
    end
    ::out::
    log[#log + 1] = "out"
  end)
  t.assertEquals(log, { "closed 0", "closed 1", "closed 2", "out" })
end

function TestCloseVar:test_at_a_continue()
  local log = run(function(log)
    for i = 1, 3 do
      local _ <close> = guard(log, "closed " .. i)
      if i == 2 then goto continue end
      log[#log + 1] = "body " .. i
      ::continue::
    end
  end)
  t.assertEquals(log, { "body 1", "closed 1", "closed 2", "body 3", "closed 3" })
end

function TestCloseVar:test_at_an_error_that_leaves_the_task()
  local log, results = run(function(log)
    local _ <close> = guard(log, "outer")
    local _ <close> = guard(log, "inner")
    error("boom", 0)
  end)
  t.assertEquals(log, { "inner: boom", "outer: boom" })
  t.assertEquals(results, { n = 2, false, "boom" })
end

function TestCloseVar:test_at_an_error_before_the_first_await_of_the_task()
  local log, results = run(function(log)
    local function deep(n)
      if n == 0 then error({ "boom" }, 0) end
      local _ <close> = guard(log, tostring(n))
      deep(n - 1)
    end
    return pcall(deep, 3)
  end)
  t.assertEquals(#log, 3)
  t.assertStrMatches(log[1], "1: table.*")
  t.assertStrMatches(log[3], "3: table.*")
  t.assertEquals(results[3], { "boom" })
end

function TestCloseVar:test_at_an_error_caught_by_pcall_and_xpcall()
  local log, results = run(function(log)
    local function fail(name)
      local _ <close> = guard(log, name)
      sleep(0)
      error("boom", 0)
    end
    local _, first = pcall(fail, "pcall")
    local _, second = xpcall(fail, function(e) return "handled " .. e end, "xpcall")
    local _, third = asyncio.pcall(fail, "asyncio.pcall")
    local _, fourth = asyncio.xpcall(fail, function(e) return "handled " .. e end, "asyncio.xpcall")
    return first, second, third, fourth
  end)
  t.assertEquals(log, { "pcall: boom", "xpcall: handled boom", "asyncio.pcall: boom",
    "asyncio.xpcall: handled boom" })
  t.assertEquals(results, { n = 5, true, "boom", "handled boom", "boom", "handled boom" })
end

function TestCloseVar:test_at_a_cancellation()
  local log = {}
  t.run(function()
    local task = create_task(function()
      local _ <close> = guard(log, "outer")
      do
        local _ <close> = guard(log, "inner")
        sleep(60)
      end
    end)
    sleep(0)
    task:cancel("stop")
    t.assert_raises(asyncio.CancelledError, await, task)
  end)
  t.assertEquals(log, { "inner: CancelledError: stop", "outer: CancelledError: stop" })
end

function TestCloseVar:test_at_a_timeout()
  local log, results = run(function(log)
    local _ <close> = guard(log, "outer")
    local _ <close> = asyncio.timeout(0.001)
    local _ <close> = guard(log, "inner")
    sleep(60)
  end)
  t.assertEquals(#log, 2)
  t.assertStrMatches(log[1], "inner: CancelledError.*")
  t.assertStrMatches(log[2], "outer: TimeoutError.*")
  t.assert_isinstance(results[2], asyncio.TimeoutError)
end

function TestCloseVar:test_of_a_for_loop_at_its_end_at_a_break_and_at_an_error()
  local log, results = run(function(log)
    local function iterate(name, n)
      return function(_, i)
        sleep(0)
        if i < n then return i + 1 end
      end, nil, 0, guard(log, name)
    end
    for _ in iterate("end", 2) do end
    for _ in iterate("break", 2) do break end
    for _ in iterate("error", 2) do error("boom", 0) end
  end)
  t.assertEquals(log, { "end", "break", "error: boom" })
  t.assertEquals(results, { n = 2, false, "boom" })
end

function TestCloseVar:test_in_a_generator_and_an_awaited_coroutine()
  local log = run(function(log)
    for _ in asyncio.coroutine.wrap(function()
      local _ <close> = guard(log, "generator")
      asyncio.coroutine.yield(1)
    end) do end
    await(coroutine.create(function() local _ <close> = guard(log, "coroutine") end))
  end)
  t.assertEquals(log, { "generator", "coroutine" })
end

function TestCloseVar:test_its_own_error_takes_the_place_of_what_happens()
  local log, results = run(function(log)
    local function failing(name)
      return setmetatable({}, {
        __close = function()
          sleep(0.001)
          error(name, 0)
        end,
      })
    end
    local _, from_return = pcall(function()
      local _ <close> = failing "instead of a return"
      return 1
    end)
    local _, from_error = pcall(function()
      local _ <close> = failing "instead of an error"
      error("boom", 0)
    end)
    local _, from_close = pcall(function()
      local _ <close> = guard(log, "outer")
      local _ <close> = failing "the second"
      local _ <close> = failing "the first"
    end)
    return from_return, from_error, from_close
  end)
  t.assertEquals(results, { n = 4, true, "instead of a return", "instead of an error", "the second" })
  t.assertEquals(log, { "outer: the second" })
end

function TestCloseVar:test_may_itself_have_one_that_awaits()
  local log = run(function(log)
    local _ <close> = setmetatable({}, {
      __close = function()
        local _ <close> = guard(log, "nested")
        sleep(0.001)
        log[#log + 1] = "outer"
      end,
    })
  end)
  t.assertEquals(log, { "outer", "nested" })
end

function TestCloseVar:test_a_hundred_of_them()
  local log, results = run(function(log)
    local function nest(n)
      if n == 0 then error("bottom", 0) end
      local _ <close> = guard(log, tostring(n))
      nest(n - 1)
    end
    nest(100)
  end)
  t.assertEquals(#log, 100)
  t.assertEquals({ log[1], log[100] }, { "1: bottom", "100: bottom" })
  t.assertEquals(results, { n = 2, false, "bottom" })
end

function TestCloseVar:test_the_task_is_not_done_before_they_have_run()
  t.run(function()
    local log = {}
    local task = create_task(function()
      local _ <close> = guard(log, "closed")
      error("boom", 0)
    end)
    sleep(0)
    t.assertFalse(task:done())
    t.assertStrContains(tostring(task), "waits (sleep)")
    t.assertEquals(t.error_of(await, task), "boom")
    t.assertEquals(log, { "closed: boom" })
  end)
end

function TestCloseVar:test_may_await_tasks_and_futures()
  local log = run(function(log)
    local _ <close> = setmetatable({}, {
      __close = function(_, err)
        local future = asyncio.get_running_loop():create_future()
        local task = create_task(function()
          sleep(0.001)
          future:set_result "future"
          return "task"
        end)
        log[#log + 1] = { err, await(future), await(task) }
      end,
    })
    error("boom", 0)
  end)
  t.assertEquals(log, { { "boom", "future", "task" } })
end

function TestCloseVar:test_in_the_main_function_of_run()
  local log = {}
  local err = t.error_of(asyncio.run, function()
    local _ <close> = guard(log, "main")
    error({ "boom" }, 0)
  end)
  t.assertEquals(err, { "boom" })
  t.assertStrMatches(log[1], "main: table.*")
end

function TestCloseVar:test_of_tasks_that_are_left_at_the_end_of_run()
  local log = {}
  asyncio.run(function()
    create_task(function()
      local _ <close> = guard(log, "left")
      sleep(60)
    end)
    sleep(0)
  end)
  t.assertEquals(#log, 1)
  t.assertStrMatches(log[1], "left: CancelledError.*")
end

function TestCloseVar:test_a_block_left_by_error_nil_counts_as_left_normally()
  local log, results = run(function(log)
    local _ <close> = guard(log, "closed")
    error(nil)
  end)
  t.assertEquals(log, { t.NO_ERROR and "closed: " .. t.NO_ERROR or "closed" })
  t.assertEquals(results, { n = 2, false, t.NO_ERROR })
end

t.finish()
