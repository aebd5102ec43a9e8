-- Lost errors: those that nobody ever looked at are reported, soon; the others are not.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

local LOST = "never looked at"

-- Waits a few seconds for a report; takes it out of the list.
local function await_report(reports)
  for _ = 1, t.slow and 3000 or 500 do
    if #reports > 0 then break end
    sleep(0.01)
  end
  return t.take_report(reports, LOST)
end

-- Starts a task that fails, and holds it nowhere.
local function lose(err, name)
  create_task {
    function()
      sleep(0)
      error(err, 0)
    end,
    name = name,
  }
end

TestLostError = {} -- on the real clock: a loop looks for lost errors in real time

function TestLostError:test_of_a_task_is_reported_with_its_error_and_name_and_traceback()
  t.real(function(reports)
    local function failing_function()
      sleep(0)
      error "boom"
    end
    create_task { failing_function, name = "the unlucky one" }
    local report = await_report(reports)
    t.assertStrMatches(report.exception, "[^\n]*report_spec.lua:%d+: boom")
    t.assertStrContains(tostring(report.task), "the unlucky one")
    t.assertEquals(report.task:get_name(), "the unlucky one")
    t.assertStrContains(report.traceback, "stack traceback:")
    t.assertStrContains(report.traceback,
      "report_spec.lua:" .. debug.getinfo(failing_function, "S").linedefined + 2)
  end)
end

function TestLostError:test_of_a_future_is_reported()
  t.real(function(reports)
    local function fail() asyncio.get_running_loop():create_future():set_exception "boom" end
    fail()
    local report = await_report(reports)
    t.assertEquals(report.exception, "boom")
    t.assertStrContains(tostring(report.future), "boom")
  end)
end

function TestLostError:test_that_is_nil_or_false_is_reported_too()
  t.real(function(reports)
    lose(nil, "nil")
    lose(false, "false")
    t.wait_until(function()
      t.collect()
      return #reports == 2
    end)
    local seen = {}
    for _ = 1, 2 do
      local report = t.take_report(reports, LOST)
      seen[report.task:get_name()] = tostring(report.exception)
    end
    t.assertEquals(seen, { ["nil"] = tostring(t.NO_ERROR), ["false"] = "false" })
  end)
end

-- The same under each kind of collector (the standalone lua begins with the generational one), which
-- is told to be lazy: what is found soon is found by the loop.
local function in_each_mode(name, fn)
  for _, mode in ipairs { "incremental", "generational" } do
    TestLostError["test_" .. mode .. "_" .. name] = function()
      local before = collectgarbage(mode)
      local pause = t.gc_parameter("pause", 1000)
      local ok, err = pcall(t.real, function(reports)
        t.collect()
        fn(reports)
      end)
      t.gc_parameter("pause", pause)
      local after = collectgarbage(before)
      if not ok then error(err, 0) end
      t.assertEquals(after, mode)
    end
  end
end

in_each_mode("is_reported_soon", function(reports)
  local loop = asyncio.get_running_loop()
  local before = loop:time()
  lose "soon"
  t.assertEquals(await_report(reports).exception, "soon")
  t.assertTrue(t.slow or loop:time() - before < 5)
end)

in_each_mode("is_reported_soon_in_a_larger_heap", function(reports)
  local heap = {}
  for i = 1, t.count(200000) do heap[i] = { i } end
  lose "soon"
  t.assertEquals(await_report(reports).exception, "soon")
  t.assertEquals(#heap, t.count(200000))
end)

in_each_mode("is_reported_soon_again_and_again", function(reports)
  for i = 1, 5 do
    lose(i)
    t.assertEquals(await_report(reports).exception, i)
  end
end)

in_each_mode("of_a_task_that_has_a_callback_is_reported_soon", function(reports)
  local called = false
  local function fail()
    create_task(error, "with a callback", 0):add_done_callback(function() called = true end)
  end
  fail()
  await_report(reports)
  t.assertTrue(called)
end)

in_each_mode("of_a_task_that_is_dropped_some_turns_after_it_failed_is_reported_soon", function(reports)
  local box = { create_task(error, "held for a while", 0) }
  sleep(0.1)
  t.assertEquals(#reports, 0)
  t.assertEquals(#box, 1)
  box[1] = nil
  t.assertEquals(await_report(reports).exception, "held for a while")
end)

in_each_mode("that_somebody_holds_costs_no_time_for_ever", function(reports)
  local task = create_task(error, "held", 0)
  sleep(2.5) -- two cycles of the collector, a second apart
  local before = os.clock()
  sleep(0.5)
  local took = os.clock() - before
  t.assertEquals(t.error_of(await, task), "held")
  t.assertEquals(#reports, 0)
  t.assertTrue(t.slow or took < 0.02, took) -- an idle loop is idle
end)

function TestLostError:test_leaves_a_stopped_collector_alone()
  t.real(function(reports)
    collectgarbage "stop"
    lose "later"
    sleep(0.05)
    t.assertFalse(collectgarbage "isrunning")
    t.assertEquals(#reports, 0)
    collectgarbage "restart"
    t.collect()
    await_report(reports)
  end)
end

function TestLostError:test_the_collectors_work_is_spread_over_the_turns()
  t.real(function(reports)
    local loop = asyncio.get_running_loop()
    local heap = {}
    for i = 1, t.count(300000) do heap[i] = { i } end
    lose "spread"
    local over, longest = false, 0
    local last = os.clock() -- what others do meanwhile on this machine doesn't count
    local function watch()
      local now = os.clock()
      longest, last = math.max(longest, now - last), now
      if not over then loop:call_soon(watch) end
    end
    watch()
    await_report(reports)
    over = true
    sleep(0)
    t.assertEquals(#heap, t.count(300000))
    t.assertTrue(t.slow or longest < 0.2, longest) -- a whole cycle at once would take longer
  end)
end

function TestLostError:test_is_reported_once()
  t.real(function(reports)
    lose "once"
    await_report(reports)
    t.collect()
    sleep(0.05)
    t.collect()
    sleep(0.05)
    t.assertEquals(#reports, 0)
  end)
end

function TestLostError:test_each_of_a_hundred_is_reported()
  t.real(function(reports)
    for i = 1, 100 do lose(i) end
    t.wait_until(function()
      t.collect()
      return #reports == 100
    end)
    local seen = {}
    for _ = 1, 100 do seen[t.take_report(reports, LOST).exception] = true end
    for i = 1, 100 do t.assertTrue(seen[i]) end
  end)
end

function TestLostError:test_a_handler_may_await_nothing_but_start_tasks()
  t.real(function()
    local loop, seen = asyncio.get_running_loop(), nil
    loop:set_exception_handler(function(_, context)
      create_task(function()
        sleep(0)
        seen = context.exception
      end)
    end)
    lose "told to a task"
    t.wait_until(function()
      t.collect()
      return seen
    end)
    t.assertEquals(seen, "told to a task")
  end)
end

function TestLostError:test_a_handler_may_look_at_it_without_a_second_report()
  t.real(function(reports)
    lose "looked at late"
    local report = await_report(reports)
    t.assertEquals(t.error_of(await, report.task), "looked at late")
  end)
end

-- At the latest when the loop closes.
TestLostAtClose = {}

-- The reports of a loop that is made, runs fn and is closed while what fn returns is held.
local function reports_at_close(fn)
  local loop <close> = asyncio.new_event_loop()
  local reports = t.reports_of(loop)
  local held = table.pack(loop:run_until_complete(fn))
  t.assertEquals(#reports, 0)
  loop:close()
  return reports, held
end

function TestLostAtClose:test_one_that_is_still_held_is_reported()
  local reports, held = reports_at_close(function()
    local task = create_task(error, "held", 0)
    sleep(0.001)
    return task
  end)
  t.assertEquals(#reports, 1)
  t.assertEquals(reports[1].exception, "held")
  t.assertIs(reports[1].task, held[1])
end

function TestLostAtClose:test_many_are_reported_in_the_order_of_their_failing()
  local reports = reports_at_close(function()
    local futures, loop = {}, asyncio.get_running_loop()
    for i = 1, 20 do futures[i] = loop:create_future() end
    for i = 1, 20 do futures[i * 7 % 20 + 1]:set_exception(i) end
    return futures
  end)
  local errors = {}
  for i, context in ipairs(reports) do errors[i] = context.exception end
  t.assertEquals(errors, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 })
end

function TestLostAtClose:test_one_that_was_looked_at_is_not()
  local reports = reports_at_close(function()
    local task = create_task(error, "seen", 0)
    sleep(0.001)
    task:exception()
    return task
  end)
  t.assertEquals(#reports, 0)
end

function TestLostAtClose:test_one_that_became_garbage_in_the_last_turn_is_reported()
  local reports = reports_at_close(function()
    local function fail() asyncio.get_running_loop():create_future():set_exception "garbage" end
    fail()
    fail()
    t.collect()
  end)
  t.assertEquals(#reports, 2)
  t.assertEquals(reports[1].exception, "garbage")
end

function TestLostAtClose:test_one_that_becomes_garbage_between_run_and_close_is_reported()
  local loop <close> = asyncio.new_event_loop()
  local reports = t.reports_of(loop)
  loop:run_until_complete(function()
    lose "in between"
    sleep(0)
    sleep(0)
  end)
  t.collect()
  loop:close()
  t.assertEquals(#reports, 1)
end

function TestLostAtClose:test_is_reported_by_run_on_stderr_and_run_still_returns()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    print(asyncio.run(function()
      local task = asyncio.create_task { function() error "the lost one" end, name = "looser" }
      asyncio.sleep(0.001)
      return "result", task
    end))
  ]]
  t.assertEquals(code, 0)
  t.assertStrContains(out, "result")
  t.assertStrContains(err, "the lost one")
  t.assertStrContains(err, "looser")
  t.assertStrContains(err, "stack traceback:")
  t.assertStrContains(err, LOST)
end

function TestLostAtClose:test_a_task_cancelled_at_the_end_that_fails_is_reported()
  local _, err = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.create_task(function()
        pcall(asyncio.sleep, 60)
        error "instead of ending"
      end)
      asyncio.sleep(0)
    end)
  ]]
  t.assertStrContains(err, "instead of ending")
end

function TestLostAtClose:test_when_the_state_closes_with_the_loop_open_it_is_reported_or_silent_but_harmless()
  local out, _, code, how = t.lua [[
    local asyncio = require "asyncio"
    local loop = asyncio.new_event_loop()
    local task
    loop:run_until_complete(function()
      task = asyncio.create_task(error, "boom", 0)
      asyncio.create_task(error, "bang", 0)
      asyncio.sleep(0)
    end)
    print "end"
    os.exit(0, true)
  ]]
  t.assertEquals(out, "end\n")
  t.assertEquals({ how, code }, { "exit", 0 })
end

-- What counts as a look.
TestLookedAt = {}

local function assert_no_report(fn)
  t.run(function(reports)
    local task = create_task(error, "looked at", 0)
    fn(task)
    task = nil -- luacheck: ignore
    for _ = 1, 5 do
      t.collect()
      sleep(0.005)
    end
    t.assertEquals(#reports, 0)
  end) -- closing the loop must not report it either: t.run fails then
end

local function assert_report(fn)
  t.run(function(reports)
    local function start() fn(create_task(error, "not looked at", 0)) end
    start()
    t.wait_until(function()
      t.collect()
      return #reports > 0
    end)
    t.assertEquals(t.take_report(reports, LOST).exception, "not looked at")
  end)
end

function TestLookedAt:test_awaiting()
  assert_no_report(function(task) pcall(await, task) end)
end

function TestLookedAt:test_awaiting_after_the_end()
  assert_no_report(function(task)
    sleep(0.001)
    pcall(await, task)
  end)
end

function TestLookedAt:test_awaiting_by_another_task()
  assert_no_report(function(task) await(create_task(pcall, await, task)) end)
end

function TestLookedAt:test_result()
  assert_no_report(function(task)
    sleep(0.001)
    pcall(task.result, task)
  end)
end

function TestLookedAt:test_exception()
  assert_no_report(function(task)
    sleep(0.001)
    task:exception()
  end)
end

function TestLookedAt:test_gather()
  assert_no_report(function(task) pcall(asyncio.gather, task) end)
end

function TestLookedAt:test_gather_although_another_error_came_first()
  assert_no_report(function(task)
    local first = create_task(function() error("first", 0) end)
    local second = create_task(function()
      sleep(0.002)
      error("second", 0)
    end)
    pcall(asyncio.gather, task, first, second)
    sleep(0.005)
  end)
end

function TestLookedAt:test_gather_that_returns_exceptions()
  assert_no_report(function(task) asyncio.gather { task, return_exceptions = true } end)
end

function TestLookedAt:test_wait_for_and_shield()
  assert_no_report(function(task) pcall(asyncio.wait_for, task, 10) end)
  assert_no_report(function(task) pcall(await, asyncio.shield(task)) end)
end

function TestLookedAt:test_run_until_complete()
  local loop <close> = asyncio.new_event_loop()
  local reports = t.reports_of(loop)
  pcall(loop.run_until_complete, loop, loop:create_task(error, "boom", 0))
  t.collect()
  loop:close()
  t.assertEquals(reports, {})
end

function TestLookedAt:test_not_wait()
  assert_report(function(task) asyncio.wait { task } end)
  assert_report(function(task) asyncio.wait({ task }, { return_when = asyncio.FIRST_EXCEPTION }) end)
end

function TestLookedAt:test_not_a_callback()
  assert_report(function(task) task:add_done_callback(function() end) end)
end

function TestLookedAt:test_not_done_cancelled_tostring_or_traceback()
  assert_report(function(task)
    sleep(0.001)
    return task:done(), task:cancelled(), tostring(task), task:traceback()
  end)
end

function TestLookedAt:test_not_an_awaiter_that_was_cancelled_before()
  assert_report(function(task)
    local waiter = create_task(function() await(asyncio.shield(task)) end)
    waiter:cancel()
    pcall(await, waiter)
  end)
end

function TestLookedAt:test_a_cancelled_task_is_no_error()
  t.run(function(reports)
    local function start()
      local task = create_task(sleep, 60)
      sleep(0)
      task:cancel()
      asyncio.get_running_loop():create_future():cancel()
    end
    start()
    sleep(0)
    t.collect()
    sleep(0.005)
    t.assertEquals(#reports, 0)
  end)
end

t.finish { sampled = true }
