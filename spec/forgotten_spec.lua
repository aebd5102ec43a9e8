-- Scopes, groups and locks without a <close>: reported when their task ends, and let go.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

-- Runs fn as a task to its end, however that is, and returns the reports that this makes.
local function reports_of(fn)
  local reports
  t.run(function()
    reports = t.reports_of(asyncio.get_running_loop())
    pcall(await, create_task { fn, name = "forgetful" })
  end)
  return reports
end

local function assert_one_report(reports, message, place)
  t.assertEquals(#reports, 1)
  t.assertStrContains(reports[1].message, message)
  t.assertStrMatches(reports[1].source_traceback, ".*spec/forgotten_spec.lua:" .. place)
  t.assertEquals(reports[1].task:get_name(), "forgetful")
  t.assertStrContains(tostring(reports[1].task), "forgotten_spec.lua:") -- where its function is
end

local function line() return debug.getinfo(2, "l").currentline end

TestForgotten = {}

function TestForgotten:test_a_timeout_is_reported_with_where_it_was_made()
  local place
  local reports = reports_of(function() place = line() asyncio.timeout(1000) end)
  assert_one_report(reports, "never closed", "%d+")
  t.assertStrContains(reports[1].message, "asyncio.Timeout")
  t.assertStrContains(reports[1].source_traceback, ":" .. place)
end

function TestForgotten:test_its_timer_is_taken_back()
  t.run(function()
    local reports = t.reports_of(asyncio.get_running_loop())
    await(create_task(function() asyncio.timeout_at(1000) end))
    sleep(2000)
    t.assertEquals(#reports, 1)
  end)
end

function TestForgotten:test_one_that_expires_cancels_and_is_reported_too()
  local task
  local reports = reports_of(function()
    task = asyncio.current_task()
    asyncio.timeout(1)
    sleep(2)
  end)
  assert_one_report(reports, "asyncio.Timeout", "%d+")
  t.assertTrue(task:cancelled())
end

function TestForgotten:test_a_group_is_reported_and_its_tasks_are_cancelled()
  local child
  local reports = reports_of(function()
    local group = asyncio.TaskGroup()
    child = group:create_task(sleep, 1000)
    sleep(0)
  end)
  assert_one_report(reports, "asyncio.TaskGroup", "%d+")
  t.assertTrue(child:cancelled())
end

function TestForgotten:test_a_lock_is_reported_and_goes_to_the_next()
  t.run(function()
    local reports = t.reports_of(asyncio.get_running_loop())
    local lock, place = asyncio.Lock(), nil
    local forgetful = create_task { function() place = line() lock:acquire() end, name = "forgetful" }
    local waiter = create_task(function()
      local _ <close> = lock:acquire()
      return "had it"
    end)
    t.assertEquals(await(waiter), "had it")
    t.assertTrue(forgetful:done())
    assert_one_report(reports, "a lock was never released", place)
    t.assertFalse(lock:locked())
  end)
end

function TestForgotten:test_a_lock_that_was_handed_over_is_reported_with_where_it_was_waited_for()
  local place
  local lock = asyncio.Lock()
  local reports = reports_of(function()
    local holder = create_task(function()
      local _ <close> = lock:acquire()
      sleep(1)
    end)
    sleep(0)
    place = line() lock:acquire()
    await(holder)
  end)
  assert_one_report(reports, "a lock was never released", place)
  t.assertFalse(lock:locked())
end

function TestForgotten:test_the_lock_of_a_condition_too_with_where_it_waited_last()
  local place
  local condition = asyncio.Condition()
  local reports = reports_of(function()
    create_task(function()
      local _ <close> = condition:acquire()
      condition:notify()
    end)
    condition:acquire()
    place = line() condition:wait()
  end)
  assert_one_report(reports, "a lock was never released", place)
end

function TestForgotten:test_a_task_that_fails_reports_its_error_and_the_scope()
  t.run(function()
    local reports = t.reports_of(asyncio.get_running_loop())
    local task = create_task(function()
      asyncio.timeout(1)
      error("mine", 0)
    end)
    t.assertEquals(t.error_of(await, task), "mine")
    t.assertEquals(#reports, 1)
    t.assertStrContains(reports[1].message, "asyncio.Timeout")
  end)
end

function TestForgotten:test_several_are_all_reported()
  local lock = asyncio.Lock()
  local reports = reports_of(function()
    lock:acquire()
    asyncio.timeout(1)
    asyncio.timeout(2)
    asyncio.TaskGroup()
  end)
  t.assertEquals(#reports, 4)
end

function TestForgotten:test_what_was_closed_is_not()
  local lock, condition = asyncio.Lock(), asyncio.Condition()
  local reports = reports_of(function()
    do
      local _ <close> = asyncio.timeout(10)
      local _ <close> = asyncio.timeout_at(10)
      local _ <close> = asyncio.TaskGroup()
      local _ <close> = lock:acquire()
      local _ <close> = condition:acquire()
      asyncio.move_on_after(1, sleep, 2)
      pcall(asyncio.wait_for, function() sleep(2) end, 1)
    end
    lock:acquire()
    lock:release()
    local _ <close> = asyncio.timeout(1)
    sleep(10)
  end)
  t.assertEquals(reports, {})
end

function TestForgotten:test_a_scope_that_another_task_closes_is_not()
  local reports = reports_of(function()
    local scope = asyncio.timeout(10)
    await(create_task(function() local _ <close> = scope end))
  end)
  t.assertEquals(reports, {})
end

function TestForgotten:test_semaphores_may_be_released_by_others()
  local semaphore = asyncio.Semaphore(1)
  t.assertEquals(reports_of(function() semaphore:acquire() end), {})
end

function TestForgotten:test_a_scope_whose_closing_fails_is_no_harm()
  t.run(function()
    local methods = debug.getregistry()["asyncio.TaskGroup"].methods
    local forgotten = methods._forgotten
    methods._forgotten = function() error "no way" end
    local reports = t.reports_of(asyncio.get_running_loop())
    await(create_task(asyncio.TaskGroup))
    methods._forgotten = forgotten
    t.assertEquals(#reports, 2)
    t.assertStrContains(reports[2].message, "a scope could not be closed")
  end)
end

function TestForgotten:test_the_end_of_the_loop_reports_nothing_of_abandoned_tasks()
  local loop <close> = asyncio.new_event_loop()
  local lock, reports = asyncio.Lock(), t.reports_of(loop)
  loop:create_task(function()
    lock:acquire()
    asyncio.timeout(1000)
    sleep(1000)
  end)
  loop:run_until_complete(sleep, 0)
  loop:close()
  t.assertEquals(reports, {})
  asyncio.run(function() local _ <close> = lock:acquire() end) -- nobody's, now
end

TestTailCall = {}

--- Where a report says that the scope was made that fn leaves open.
local function said_place(fn, ...)
  local place
  local args = table.pack(...)
  t.run(function(reports)
    t.asyncio.create_task(fn, table.unpack(args, 1, args.n))
    t.asyncio.sleep(0)
    place = t.take_report(reports, "a scope was never closed").source_traceback
  end)
  return place
end

function TestTailCall:test_one_that_was_made_in_a_tail_call_is_said_to_be_made_there_or_nowhere()
  local place = said_place(function() return t.asyncio.timeout(5) end)
  t.assertTrue(place == nil or place:find("made at spec/forgotten_spec.lua:", 1, true) ~= nil)
end

function TestTailCall:test_one_that_was_made_from_c_is_said_to_be_made_nowhere()
  t.assertNil(said_place(t.asyncio.timeout, 5))
end

t.finish()
