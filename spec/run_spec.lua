-- run and Runner: a main task, and a clean end however it comes.
local t = require "helper"
local asyncio = t.asyncio

TestRun = {}
TestRunErrors = {}
TestEndOfRun = {}
TestRunner = {}

local function sleep_long() asyncio.sleep(1000) end

local function on_close(fn) return setmetatable({}, { __close = fn }) end

--- A runner whose reports go to a list.
local function runner_with_reports(opts)
  local runner = asyncio.Runner(opts or {})
  return runner, t.reports_of(runner:get_loop())
end

-- run

function TestRun:test_gives_what_main_returns()
  t.assertEquals(table.pack(asyncio.run(function(...)
    asyncio.sleep(0)
    return ...
  end, nil, 2, false, nil)), { nil, 2, false, nil, n = 4 })
  t.assertEquals(select("#", asyncio.run(function() end)), 0)
end

function TestRun:test_runs_a_coroutine_or_a_callable()
  t.assertEquals(asyncio.run(coroutine.create(function(x)
    asyncio.sleep(0)
    return x
  end), "x"), "x")
  t.assertEquals(asyncio.run(setmetatable({}, { __call = function(_, x) return x end }), "x"), "x")
end

function TestRun:test_runs_main_in_a_task_of_a_loop_of_its_own()
  local loops = {}
  for i = 1, 2 do
    asyncio.run(function()
      t.assertNotNil(asyncio.current_task())
      loops[i] = asyncio.get_running_loop()
      t.assertTrue(loops[i]:is_running())
    end)
    t.assertTrue(loops[i]:is_closed())
  end
  t.assertNotIs(loops[1], loops[2])
end

function TestRun:test_leaves_no_loop_behind()
  asyncio.run(function() end)
  t.assertFalse((pcall(asyncio.get_running_loop)))
  t.assertNil(asyncio.current_task())
end

function TestRun:test_inside_run_raises_and_the_outer_one_goes_on()
  local ran = false
  local result = asyncio.run(function()
    local err = t.error_of(asyncio.run, function() ran = true end)
    t.assertStrContains(tostring(err), "already running")
    t.error_of(asyncio.Runner {}.run, asyncio.Runner {}, function() ran = true end)
    local seen
    asyncio.get_running_loop():call_soon(function() seen = not pcall(asyncio.run, function() ran = true end) end)
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertTrue(seen)
    t.assertFalse(coroutine.wrap(function() return (pcall(asyncio.run, function() ran = true end)) end)())
    asyncio.sleep(0)
    return "outer"
  end)
  t.assertEquals(result, "outer")
  t.assertFalse(ran)
end

function TestRun:test_works_in_a_coroutine_outside_of_a_loop()
  t.assertEquals(coroutine.wrap(function()
    return asyncio.run(function()
      asyncio.sleep(0.001)
      return "x"
    end)
  end)(), "x")
end

function TestRun:test_a_thousand_times()
  for i = 1, t.count(1000) do
    t.assertEquals(asyncio.run(function()
      asyncio.sleep(0)
      return i
    end), i)
  end
end

function TestRun:test_of_something_else_is_an_argument_error()
  t.assertStrContains(tostring(t.error_of(asyncio.run, 42)), "bad argument #1")
  t.assertStrContains(tostring(t.error_of(asyncio.run)), "bad argument #1")
  t.assertEquals(asyncio.run(function() return "still works" end), "still works")
end

-- errors

function TestRunErrors:test_that_are_objects_say_where_also_when_the_loop_was_run_for_one()
  local loop <close> = asyncio.new_event_loop()
  local function fail_inside() error(asyncio.Error "late", 0) end
  local err = t.error_of(loop.run_until_complete, loop, function()
    asyncio.sleep(0)
    asyncio.await(asyncio.create_task(fail_inside))
  end)
  t.assertStrMatches(tostring(err), "late\nstack traceback:\nin task .*run_spec.lua:%d+: in .*in task .*")
end

function TestRunErrors:test_leave_as_the_same_value()
  for _, value in ipairs { {}, false, 42, asyncio.Error "x", print } do
    t.assertIs(t.error_of(asyncio.run, function() error(value) end), value)
    t.assertIs(t.error_of(asyncio.run, function()
      asyncio.sleep(0)
      error(value)
    end), value)
  end
  local results = table.pack(pcall(asyncio.run, function() error(nil) end))
  if t.NO_ERROR then results[2] = results[2]:match "^[^\n]*" end -- the traceback of a text
  t.assertEquals(results, { false, t.NO_ERROR, n = 2 })
end

local function here_it_fails() error "boom" end

local function fails_deep_down()
  asyncio.sleep(0)
  here_it_fails()
  return 1
end

function TestRunErrors:test_that_are_strings_get_the_traceback_of_the_task()
  local err = t.error_of(asyncio.run, fails_deep_down)
  t.assertEquals(type(err), "string")
  t.assertStrMatches(err, "[^\n]*run_spec%.lua:%d+: boom\n.*")
  t.assertStrContains(err, "stack traceback")
  t.assertStrContains(err, "here_it_fails")
end

function TestRunErrors:test_that_are_strings_stay_as_they_are_with_a_Runner_and_an_await()
  local runner <close> = asyncio.Runner {}
  t.assertEquals(t.error_of(runner.run, runner, error, "boom", 0), "boom")
  t.assertEquals(t.error_of(runner.run, runner, function()
    t.assertEquals(t.error_of(asyncio.await, asyncio.create_task(error, "inner", 0)), "inner")
    error("outer", 0)
  end), "outer")
end

function TestRunErrors:test_are_shown_by_a_standalone_lua_with_their_traceback()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    local function here_it_fails() error "boom" end
    asyncio.run(function()
      asyncio.sleep(0)
      here_it_fails()
      return 1
    end)
  ]]
  t.assertEquals({ out, code }, { "", 1 })
  t.assertStrContains(err, "boom")
  t.assertStrContains(err, "here_it_fails")
end

function TestRunErrors:test_a_cancellation_of_main_by_itself_leaves_as_CancelledError()
  local err = t.assert_raises(asyncio.CancelledError, asyncio.run, function()
    asyncio.current_task():cancel "myself"
    asyncio.sleep(0)
  end)
  t.assertEquals(err.message, "myself")
end

function TestRunErrors:test_a_KeyboardInterrupt_in_any_task_leaves_run_as_it_is()
  local err = asyncio.KeyboardInterrupt "as if"
  local cleaned = false
  t.assertIs(t.error_of(asyncio.run, function()
    local _ <close> = on_close(function() cleaned = true end)
    asyncio.create_task(function()
      asyncio.sleep(0)
      error(err)
    end)
    sleep_long()
  end), err)
  t.assertTrue(cleaned)
end

function TestRunErrors:test_a_KeyboardInterrupt_in_a_callback_leaves_run_as_it_is()
  local err = asyncio.KeyboardInterrupt "as if"
  t.assertIs(t.error_of(asyncio.run, function()
    asyncio.get_running_loop():call_soon(function() error(err) end)
    sleep_long()
  end), err)
end

function TestRunErrors:test_close_the_loop_all_the_same()
  local loop
  t.error_of(asyncio.run, function()
    loop = asyncio.get_running_loop()
    error "boom"
  end)
  t.assertTrue(loop:is_closed())
  t.assertEquals(asyncio.run(function() return "x" end), "x")
end

function TestRunErrors:test_that_nobody_looked_at_are_reported_when_the_run_ends()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      lost = asyncio.create_task { function() error "nobody looked" end, name = "careless" }
      asyncio.sleep(0)
      asyncio.sleep(0)
    end)
    print "ended"
  ]]
  t.assertEquals({ out, code }, { "ended\n", 0 })
  t.assertStrContains(err, "never looked at")
  t.assertStrContains(err, "nobody looked")
  t.assertStrContains(err, "careless")
  t.assertStrContains(err, "stack traceback")
end

-- the end

--- A supervisor that ends by cancelling everything: what run does at its end is not among all tasks.
function TestEndOfRun:test_cannot_be_cancelled_by_who_cancels_all_tasks()
  local seen, tidied = {}, false
  local function supervisor()
    local ok, err = pcall(asyncio.sleep, 3600)
    for _, task in ipairs(asyncio.all_tasks()) do
      seen[#seen + 1] = task:get_name()
      if task ~= asyncio.current_task() then task:cancel() end
    end
    if not ok then error(err, 0) end
  end
  local result = asyncio.run(function()
    asyncio.create_task { supervisor, name = "supervisor" }
    asyncio.create_task { function()
      local _ <close> = setmetatable({}, { __close = function()
        pcall(asyncio.sleep, 0.01) -- the supervisor's cancellation
        asyncio.sleep(0.01)
        tidied = true
      end })
      asyncio.sleep(3600)
    end, name = "worker" }
    asyncio.sleep(0)
    return "main's result"
  end)
  table.sort(seen)
  t.assertEquals({ result, tidied, seen }, { "main's result", true, { "supervisor", "worker" } })
end

function TestEndOfRun:test_waits_for_jobs_and_output_without_a_task()
  local names = {}
  asyncio.run(function()
    local loop = asyncio.get_running_loop()
    loop:run_in_executor(nil, asyncio.blocking_sleep, 0.02)
    loop:call_later(0.01, function()
      for _, task in ipairs(asyncio.all_tasks(loop)) do names[#names + 1] = tostring(task) end
      names[#names + 1] = "looked"
    end)
  end)
  t.assertEquals(names, { "looked" })
end

function TestEndOfRun:test_cancels_the_tasks_that_are_left_and_waits_for_them()
  local log = {}
  local result = asyncio.run(function()
    for i = 1, 3 do
      asyncio.create_task(function()
        local _ <close> = on_close(function(_, err)
          t.assert_isinstance(err, asyncio.CancelledError)
          asyncio.sleep(i * 0.002)
          log[#log + 1] = i
        end)
        sleep_long()
      end)
    end
    asyncio.sleep(0)
    return "main"
  end)
  t.assertEquals(result, "main")
  t.assertEquals(log, { 1, 2, 3 })
end

function TestEndOfRun:test_cancels_the_tasks_that_are_left_also_after_an_error()
  local cleaned = false
  local boom = {}
  t.assertIs(t.error_of(asyncio.run, function()
    asyncio.create_task(function()
      local _ <close> = on_close(function() cleaned = true end)
      sleep_long()
    end)
    asyncio.sleep(0)
    error(boom)
  end), boom)
  t.assertTrue(cleaned)
end

function TestEndOfRun:test_never_begins_a_task_that_had_not_begun()
  local ran = false
  asyncio.run(function() asyncio.create_task(function() ran = true end) end)
  t.assertFalse(ran)
end

function TestEndOfRun:test_waits_also_for_tasks_that_the_clean_up_starts()
  local log = {}
  asyncio.run(function()
    asyncio.create_task(function()
      local _ <close> = on_close(function()
        asyncio.create_task(function()
          local _ <close> = on_close(function()
            asyncio.sleep(0.002)
            log[#log + 1] = "late"
          end)
          sleep_long()
        end)
        asyncio.sleep(0)
        log[#log + 1] = "first"
      end)
      sleep_long()
    end)
    asyncio.sleep(0)
  end)
  t.assertEquals(log, { "first", "late" })
end

function TestEndOfRun:test_reports_a_task_that_fails_while_it_is_cancelled()
  local runner, reports = runner_with_reports()
  runner:run(function()
    asyncio.create_task(function()
      pcall(sleep_long)
      error("in the clean-up", 0)
    end)
    asyncio.sleep(0)
  end)
  runner:close()
  t.assertEquals(t.take_report(reports, "").exception, "in the clean-up")
  t.assertEquals(#reports, 0)
end

function TestEndOfRun:test_cancels_a_task_that_swallows_it_again()
  local runner, reports = runner_with_reports { cancel_timeout = 0.01 }
  local swallowed = 0
  runner:run(function()
    asyncio.create_task(function()
      repeat
        if not pcall(sleep_long) then swallowed = swallowed + 1 end
      until swallowed == 2
    end)
    asyncio.sleep(0)
  end)
  runner:close()
  t.assertEquals(swallowed, 2)
  t.assertEquals(#reports, 0)
end

function TestEndOfRun:test_abandons_a_task_that_swallows_every_cancellation_with_a_report()
  local runner, reports = runner_with_reports { cancel_timeout = 0.01 }
  local swallowed, stubborn, loop = 0, nil, runner:get_loop()
  runner:run(function()
    stubborn = asyncio.create_task(function()
      while true do
        if not pcall(sleep_long) then swallowed = swallowed + 1 end
      end
    end)
    asyncio.sleep(0)
  end)
  runner:close()
  t.assertTrue(swallowed > 1)
  local context = t.take_report(reports, "abandoned")
  t.assertIs(context.task, stubborn)
  t.assertStrContains(context.source_traceback, "run_spec.lua")
  t.assertEquals(#reports, 0)
  t.assertTrue(loop:is_closed())
  t.assertFalse(stubborn:done())
  t.assertFalse(stubborn:cancel())
  t.assertStrContains(tostring(stubborn), "abandoned")
  t.assertEquals(asyncio.run(function() return "next" end), "next")
end

function TestEndOfRun:test_abandons_a_stubborn_task_after_a_few_seconds_by_default()
  local start = os.time()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.create_task(function() while true do pcall(asyncio.sleep, 1000) end end)
      asyncio.sleep(0)
    end)
    print "ended"
  ]]
  t.assertEquals({ out, code }, { "ended\n", 0 })
  t.assertStrContains(err, "abandoned")
  t.assertTrue(os.time() - start < 30)
end

function TestEndOfRun:test_ends_callbacks_and_timers()
  local ran = false
  asyncio.run(function()
    asyncio.get_running_loop():call_later(0.3, function() ran = true end) -- no run takes so long to end
  end)
  asyncio.run(asyncio.sleep, 0.4)
  t.assertFalse(ran)
end

function TestEndOfRun:test_makes_its_objects_raise_ClosedError_where_they_need_the_loop()
  local loop, task, future, handle
  asyncio.run(function()
    loop = asyncio.get_running_loop()
    future = loop:create_future()
    handle = loop:call_later(1000, print)
    task = asyncio.create_task(sleep_long)
    asyncio.sleep(0)
  end)
  t.assertTrue(task:cancelled())
  t.assert_raises(asyncio.ClosedError, loop.call_soon, loop, print)
  t.assert_raises(asyncio.ClosedError, loop.create_future, loop)
  t.assert_raises(asyncio.ClosedError, loop.run_until_complete, loop, print)
  t.assert_raises(asyncio.ClosedError, future.set_result, future, 1)
  t.assert_raises(asyncio.ClosedError, asyncio.run, function() asyncio.await(future) end)
  t.assertFalse(future:done())
  handle:cancel()
  loop:close()
end

-- Runner

function TestRunner:test_runs_several_times_on_one_loop()
  local runner <close> = asyncio.Runner {}
  local loop = runner:get_loop()
  for i = 1, 3 do
    t.assertEquals({ runner:run(function(...)
      t.assertIs(asyncio.get_running_loop(), loop)
      asyncio.sleep(0)
      return ...
    end, i, nil, 3) }, { i, nil, 3 })
  end
  t.assertIs(runner:get_loop(), loop)
end

function TestRunner:test_keeps_tasks_between_runs()
  local runner <close> = asyncio.Runner {}
  local task = runner:run(function()
    return asyncio.create_task(function()
      asyncio.sleep(0)
      return "later"
    end)
  end)
  t.assertFalse(task:done())
  t.assertEquals(runner:run(asyncio.await, task), "later")
end

function TestRunner:test_goes_on_after_an_error()
  local runner <close> = asyncio.Runner {}
  local boom = {}
  t.assertIs(t.error_of(runner.run, runner, error, boom), boom)
  t.assertEquals(runner:run(function() return "x" end), "x")
end

function TestRunner:test_close_cancels_what_is_left_and_closes_the_loop()
  local runner = asyncio.Runner()
  local loop, cleaned = runner:get_loop(), false
  runner:run(function()
    asyncio.create_task(function()
      local _ <close> = on_close(function()
        asyncio.sleep(0.001)
        cleaned = true
      end)
      sleep_long()
    end)
    asyncio.sleep(0)
  end)
  t.assertFalse(cleaned)
  runner:close()
  t.assertTrue(cleaned)
  t.assertTrue(loop:is_closed())
end

function TestRunner:test_close_begins_with_tasks_of_a_loop_that_never_ran()
  local runner = asyncio.Runner()
  local ran = false
  local task = runner:get_loop():create_task(function() ran = true end)
  runner:close()
  t.assertFalse(ran)
  t.assertTrue(task:cancelled())
end

function TestRunner:test_closes_with_its_block()
  local loop
  do
    local runner <close> = asyncio.Runner {}
    loop = runner:get_loop()
    t.assertFalse(loop:is_closed())
  end
  t.assertTrue(loop:is_closed())
  t.error_of(function()
    local runner <close> = asyncio.Runner {}
    loop = runner:get_loop()
    error "boom"
  end)
  t.assertTrue(loop:is_closed())
end

function TestRunner:test_closed_raises_ClosedError_and_closes_again_without_a_word()
  local runner = asyncio.Runner {}
  runner:close()
  runner:close()
  t.assert_raises(asyncio.ClosedError, runner.run, runner, function() end)
  t.assert_raises(asyncio.ClosedError, runner.get_loop, runner)
end

function TestRunner:test_cannot_be_closed_while_a_loop_runs()
  local runner <close> = asyncio.Runner {}
  runner:run(function() t.assertFalse((pcall(runner.close, runner))) end)
  t.assertEquals(runner:run(function() return "x" end), "x")
end

function TestRunner:test_makes_its_loop_with_loop_factory()
  local made = {}
  local runner = asyncio.Runner {
    loop_factory = function()
      made[#made + 1] = asyncio.new_event_loop()
      return made[#made]
    end,
  }
  t.assertEquals(#made, 0)
  for _ = 1, 2 do runner:run(function() t.assertIs(asyncio.get_running_loop(), made[1]) end) end
  t.assertEquals(#made, 1)
  runner:close()
  t.assertTrue(made[1]:is_closed())
end

function TestRunner:test_passes_an_error_of_loop_factory_on()
  local boom = {}
  local runner <close> = asyncio.Runner { loop_factory = function() error(boom) end }
  t.assertIs(t.error_of(runner.run, runner, function() end), boom)
end

function TestRunner:test_switches_debug_mode()
  for _, debug in ipairs { true, false } do
    local runner <close> = asyncio.Runner { debug = debug }
    t.assertEquals(runner:run(function() return asyncio.get_running_loop():get_debug() end), debug)
  end
  local out = t.lua([[
    local asyncio = require "asyncio"
    print(asyncio.run(function() return asyncio.get_running_loop():get_debug() end))
  ]])
  t.assertEquals(out, tostring(os.getenv "ASYNCIO_DEBUG" == "1") .. "\n")
end

function TestRunner:test_with_something_else_than_options_is_an_argument_error()
  t.assertStrContains(t.error_of(asyncio.Runner, 42), "bad argument #1 to 'Runner'")
  local runner <close> = asyncio.Runner {}
  t.assertStrContains(tostring(t.error_of(runner.run, runner, 42)), "bad argument #1")
end

function TestRunner:test_whose_loop_was_closed_by_hand_raises_ClosedError()
  local runner = asyncio.Runner {}
  runner:get_loop():close()
  t.assert_raises(asyncio.ClosedError, runner.run, runner, function() end)
  runner:close()
end

t.finish()
