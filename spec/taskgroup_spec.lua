-- TaskGroup and ExceptionGroup.
local t = require "helper"
local asyncio = t.asyncio

TestTaskGroup = {}
TestFailingTaskGroup = {}
TestCancelledTaskGroup = {}
TestNestedTaskGroups = {}
TestExceptionGroup = {}

local function sleep_long() asyncio.sleep(1000) end

local function on_close(fn) return setmetatable({}, { __close = fn }) end

local function in_group(fn, ...)
  local group <close> = asyncio.TaskGroup()
  return fn(group, ...)
end

--- Tells of its cancellation, after a while.
local function sleeper(log, name, cleanup)
  return function()
    local _ <close> = on_close(function()
      if cleanup then asyncio.sleep(cleanup) end
      log[#log + 1] = name
    end)
    sleep_long()
  end
end

local function failing(err, delay)
  return function()
    if delay then asyncio.sleep(delay) end
    error(err, 0)
  end
end

--- The ExceptionGroup that leaves a group's block.
local function group_error(fn, ...) return t.assert_raises(asyncio.ExceptionGroup, in_group, fn, ...) end

local function assert_undisturbed()
  asyncio.sleep(0)
  asyncio.sleep(0.001)
  t.assertEquals(asyncio.current_task():cancelling(), 0)
end

local function started(fn, ...)
  local task = asyncio.create_task(fn, ...)
  asyncio.sleep(0)
  return task
end

-- without failures

function TestTaskGroup:test_waits_for_all_its_tasks()
  t.run(function()
    local log = {}
    in_group(function(group)
      for i = 1, 3 do
        group:create_task(function()
          asyncio.sleep(0.01 - i * 0.002)
          log[#log + 1] = i
        end)
      end
      log[#log + 1] = "body"
    end)
    t.assertEquals(log, { "body", 3, 2, 1 })
    assert_undisturbed()
  end)
end

function TestTaskGroup:test_starts_tasks_as_create_task_does()
  t.run(function()
    in_group(function(group)
      local task = group:create_task(function(...) return ... end, 1, nil, 3)
      t.assertEquals(table.pack(asyncio.await(task)), { 1, nil, 3, n = 3 })
      task = group:create_task { function(x) return x end, "x", name = "named" }
      t.assertEquals(task:get_name(), "named")
      t.assertEquals(asyncio.await(task), "x")
      t.assertEquals(asyncio.await(group:create_task(coroutine.create(function() return "co" end))), "co")
    end)
  end)
end

function TestTaskGroup:test_waits_however_the_block_is_left()
  t.run(function()
    local ended = 0
    local function child()
      asyncio.sleep(0.002)
      ended = ended + 1
    end
    local function returns()
      local group <close> = asyncio.TaskGroup()
      group:create_task(child)
      return "result", 2
    end
    t.assertEquals({ returns() }, { "result", 2 })
    t.assertEquals(ended, 1)
    for i = 1, 3 do
      local group <close> = asyncio.TaskGroup()
      group:create_task(child)
      if i == 1 then goto continue end
      if i == 2 then break end
      ::continue::
    end
    t.assertEquals(ended, 3)
  end)
end

function TestTaskGroup:test_without_tasks_ends_at_once()
  t.run(function()
    t.assertEquals(in_group(function() return "x" end), "x")
  end)
end

function TestTaskGroup:test_a_block_left_by_error_nil_counts_as_left_normally()
  if t.NO_ERROR then t.skip "error(nil) is a text in this Lua" end
  t.run(function()
    local ended = false
    local results = table.pack(pcall(in_group, function(group)
      group:create_task(function()
        asyncio.sleep(0.001)
        ended = true
      end)
      error(nil)
    end))
    t.assertEquals(results, { false, t.NO_ERROR, n = 2 })
    t.assertTrue(ended)
  end)
end

function TestTaskGroup:test_a_child_may_start_another_while_the_group_closes()
  t.run(function()
    local log = {}
    in_group(function(group)
      group:create_task(function()
        asyncio.sleep(0.002) -- the body has been left
        group:create_task(function()
          asyncio.sleep(0.002)
          group:create_task(function() log[#log + 1] = "grandchild" end)
          log[#log + 1] = "child"
        end)
        log[#log + 1] = "first"
      end)
      log[#log + 1] = "body"
    end)
    t.assertEquals(log, { "body", "first", "child", "grandchild" })
  end)
end

function TestTaskGroup:test_a_child_may_start_another_in_its_last_step()
  t.run(function()
    local n = 0
    in_group(function(group)
      local function child(depth)
        n = n + 1
        if depth > 0 then group:create_task(child, depth - 1) end
      end
      group:create_task(child, 50)
    end)
    t.assertEquals(n, 51)
  end)
end

function TestTaskGroup:test_takes_no_task_after_its_end()
  t.run(function()
    local old, ran = nil, false
    in_group(function(group) old = group end)
    t.assert_raises(asyncio.Error, old.create_task, old, function() ran = true end)
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertFalse(ran)
  end)
end

function TestTaskGroup:test_of_a_thousand_tasks()
  t.run(function()
    local n = 0
    in_group(function(group)
      for _ = 1, 1000 do
        group:create_task(function()
          asyncio.sleep(0)
          n = n + 1
        end)
      end
    end)
    t.assertEquals(n, 1000)
  end)
end

function TestTaskGroup:test_holds_nothing_of_the_tasks_that_have_ended()
  t.run(function()
    local ended = setmetatable({}, { __mode = "k" })
    in_group(function(group)
      for _ = 1, 10 do ended[group:create_task(function() end)] = true end
      asyncio.sleep(0.002)
      t.collect()
      t.assertNil(next(ended))
    end)
  end)
end

function TestTaskGroup:test_outside_of_a_task_raises()
  t.assertFalse((pcall(asyncio.TaskGroup)))
end

function TestTaskGroup:test_with_something_else_than_a_function_is_an_argument_error()
  t.run(function()
    in_group(function(group)
      t.assertStrContains(t.error_of(group.create_task, group, 42), "bad argument")
      t.assertStrContains(t.error_of(group.create_task, group), "bad argument")
    end)
  end)
end

-- with failures

function TestFailingTaskGroup:test_cancels_the_other_tasks_and_raises_one_ExceptionGroup()
  t.run(function()
    local log, boom = {}, {}
    local group_err = group_error(function(group)
      group:create_task(sleeper(log, "a", 0.002))
      group:create_task(failing(boom))
      group:create_task(sleeper(log, "b"))
    end)
    t.assertEquals(#group_err.errors, 1)
    t.assertIs(group_err.errors[1], boom)
    table.sort(log)
    t.assertEquals(log, { "a", "b" })
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_cancels_its_body()
  t.run(function()
    local seen
    local err = group_error(function(group)
      local _ <close> = on_close(function(_, e) seen = e end)
      group:create_task(failing "boom")
      sleep_long()
    end)
    t.assert_isinstance(seen, asyncio.CancelledError)
    t.assertEquals(err.errors, { "boom" })
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_raises_also_when_the_body_swallowed_its_cancellation()
  t.run(function()
    local went_on = false
    local err = group_error(function(group)
      group:create_task(failing "boom")
      pcall(sleep_long)
      asyncio.sleep(0) -- it was asked once
      went_on = true
    end)
    t.assertTrue(went_on)
    t.assertEquals(err.errors, { "boom" })
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_withdraws_the_cancellation_that_its_body_never_got()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    local err = group_error(function(group)
      group:create_task(function()
        future:set_result() -- wakes the body in the turn in which the group asks it to stop
        error("boom", 0)
      end)
      asyncio.await(future)
    end)
    t.assertEquals(err.errors, { "boom" })
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_collects_all_errors()
  t.run(function()
    local err = group_error(function(group)
      group:create_task(failing "a")
      group:create_task(failing "b")
      group:create_task(function()
        pcall(sleep_long)
        error("c", 0)
      end)
    end)
    t.assertEquals(err.errors, { "a", "b", "c" })
  end)
end

function TestFailingTaskGroup:test_waits_for_a_task_that_takes_its_time_to_end()
  t.run(function()
    local ended = false
    group_error(function(group)
      group:create_task(function()
        pcall(sleep_long)
        asyncio.sleep(0.01)
        ended = true
      end)
      group:create_task(failing "boom")
    end)
    t.assertTrue(ended)
  end)
end

function TestFailingTaskGroup:test_an_error_of_the_body_cancels_the_tasks_and_leaves_in_the_group()
  t.run(function()
    local log, boom = {}, {}
    local err = group_error(function(group)
      group:create_task(sleeper(log, "a", 0.002))
      asyncio.sleep(0)
      error(boom)
    end)
    t.assertEquals(#err.errors, 1)
    t.assertIs(err.errors[1], boom)
    t.assertEquals(log, { "a" })
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_errors_of_the_body_and_of_a_task_leave_together()
  t.run(function()
    local err = group_error(function(group)
      group:create_task(function()
        pcall(sleep_long)
        error("child", 0)
      end)
      asyncio.sleep(0)
      error("body", 0)
    end)
    table.sort(err.errors)
    t.assertEquals(err.errors, { "body", "child" })
  end)
end

function TestFailingTaskGroup:test_tasks_that_never_began_do_not_run()
  t.run(function()
    local ran = false
    group_error(function(group)
      group:create_task(function() ran = true end)
      error "body"
    end)
    t.assertFalse(ran)
  end)
end

function TestFailingTaskGroup:test_errors_are_any_values()
  t.run(function()
    local err = group_error(function(group) group:create_task(failing(false)) end)
    t.assertEquals(err.errors, { false })
    local ok = pcall(in_group, function(group) group:create_task(failing(nil)) end)
    t.assertFalse(ok, "an error that is nil is an error")
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_a_task_that_was_cancelled_alone_is_no_failure()
  t.run(function()
    local other_done = false
    in_group(function(group)
      local task = group:create_task(sleep_long)
      group:create_task(function()
        asyncio.sleep(0.005)
        other_done = true
      end)
      asyncio.sleep(0)
      task:cancel()
    end)
    t.assertTrue(other_done)
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_takes_no_more_tasks()
  t.run(function()
    local refused, ran
    local err = group_error(function(group)
      group:create_task(function()
        local _ <close> = on_close(function()
          refused = t.error_of(group.create_task, group, function() ran = true end)
        end)
        sleep_long()
      end)
      group:create_task(failing "boom")
    end)
    t.assert_isinstance(refused, asyncio.InvalidStateError)
    t.assertNil(ran)
    t.assertEquals(err.errors, { "boom" })
  end)
end

function TestFailingTaskGroup:test_a_failure_after_the_body_was_left_cancels_the_others()
  t.run(function()
    local log = {}
    local err = group_error(function(group)
      group:create_task(sleeper(log, "a"))
      group:create_task(failing("boom", 0.005))
    end)
    t.assertEquals(err.errors, { "boom" })
    t.assertEquals(log, { "a" })
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_has_looked_at_the_errors_of_its_tasks()
  t.run(function() -- helper.run finds reports of lost errors
    group_error(function(group)
      group:create_task(failing "a")
      group:create_task(failing "b")
    end)
    t.collect()
    asyncio.sleep(0.01)
  end)
end

function TestFailingTaskGroup:test_a_body_that_awaits_the_failing_task_sees_its_error()
  t.run(function()
    local boom, seen = {}, nil
    local err = group_error(function(group)
      seen = t.error_of(asyncio.await, group:create_task(failing(boom)))
    end)
    t.assertIs(seen, boom)
    t.assertIs(err.errors[1], boom)
    assert_undisturbed()
  end)
end

function TestFailingTaskGroup:test_that_is_caught_may_be_followed_by_another()
  t.run(function()
    for _ = 1, 20 do
      group_error(function(group)
        group:create_task(failing "boom")
        sleep_long()
      end)
    end
    assert_undisturbed()
  end)
end

-- cancellation

function TestCancelledTaskGroup:test_from_outside_while_its_body_waits_passes_that_on()
  t.run(function()
    local log = {}
    local task = started(in_group, function(group)
      group:create_task(sleeper(log, "a", 0.005))
      group:create_task(sleeper(log, "b"))
      sleep_long()
    end)
    asyncio.sleep(0)
    task:cancel "outside"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, task).message, "outside")
    t.assertTrue(task:cancelled())
    t.assertEquals(log, { "b", "a" })
  end)
end

function TestCancelledTaskGroup:test_from_outside_while_it_waits_for_its_tasks_passes_that_on()
  t.run(function()
    local log = {}
    local task = started(in_group, function(group)
      group:create_task(sleeper(log, "a", 0.005))
      group:create_task(sleeper(log, "b"))
    end)
    asyncio.sleep(0)
    task:cancel "outside"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, task).message, "outside")
    t.assertEquals(log, { "b", "a" })
  end)
end

function TestCancelledTaskGroup:test_from_outside_twice_waits_all_the_same_and_loses_neither()
  t.run(function()
    local log, first, second = {}, nil, nil
    local task = started(function()
      first = t.error_of(in_group, function(group)
        group:create_task(function()
          pcall(sleep_long)
          pcall(asyncio.sleep, 0.01) -- the second one may come to the tasks too
          asyncio.sleep(0.002)
          log[#log + 1] = "a"
        end)
        sleep_long()
      end)
      second = t.error_of(asyncio.sleep, 0)
      asyncio.sleep(0)
    end)
    asyncio.sleep(0)
    task:cancel "one"
    asyncio.sleep(0.002)
    task:cancel "two"
    asyncio.await(task)
    t.assertEquals(log, { "a" })
    t.assertEquals(t.assert_isinstance(first, asyncio.CancelledError).message, "one")
    t.assertEquals(t.assert_isinstance(second, asyncio.CancelledError).message, "two")
  end)
end

--- A group that is cancelled from outside while a child fails: what leaves it, and what follows.
local function cancel_and_fail(body, child)
  local first, second
  local task = started(function()
    first = t.error_of(in_group, function(group)
      group:create_task(child)
      body()
    end)
    t.assertEquals(asyncio.current_task():cancelling(), 1)
    second = t.error_of(asyncio.sleep, 0)
    asyncio.sleep(0)
    asyncio.sleep(0.001)
  end)
  asyncio.sleep(0)
  task:cancel "outside"
  asyncio.await(task)
  t.assertEquals(t.assert_isinstance(first, asyncio.ExceptionGroup).errors, { "child" })
  t.assertEquals(t.assert_isinstance(second, asyncio.CancelledError).message, "outside")
end

local function fails_when_cancelled()
  pcall(sleep_long)
  error("child", 0)
end

function TestCancelledTaskGroup:test_from_outside_whose_task_fails_raises_the_group_and_then_the_cancellation()
  t.run(function() cancel_and_fail(sleep_long, fails_when_cancelled) end)
end

function TestCancelledTaskGroup:test_from_outside_while_it_waits_whose_task_fails_raises_both_too()
  t.run(function() cancel_and_fail(function() end, fails_when_cancelled) end)
end

function TestCancelledTaskGroup:test_from_outside_twice_whose_task_fails_raises_both_after_the_group_in_order()
  t.run(function()
    local seen = {}
    local task = asyncio.create_task(function()
      seen[1] = asyncio.isinstance(t.error_of(function()
        local group <close> = asyncio.TaskGroup()
        group:create_task(function()
          pcall(asyncio.sleep, 1000)
          error("mine", 0)
        end)
        asyncio.sleep(1000)
      end), asyncio.ExceptionGroup)
      for i = 2, 3 do seen[i] = t.error_of(asyncio.sleep, 0).message end
      asyncio.sleep(0)
    end)
    t.testing.wait_all_tasks_blocked()
    task:cancel "one"
    task:cancel "two"
    asyncio.await(task)
    t.assertEquals(seen, { true, "one", "two" })
  end)
end

function TestCancelledTaskGroup:test_in_the_turn_in_which_a_task_fails_loses_neither()
  t.run(function()
    for _, cancel_first in ipairs { true, false } do
      local gate, first, second = asyncio.get_running_loop():create_future(), nil, nil
      local task = started(function()
        first = t.error_of(in_group, function(group)
          group:create_task(function()
            asyncio.await(asyncio.shield(gate))
            error("child", 0)
          end)
          sleep_long()
        end)
        second = t.error_of(asyncio.sleep, 0)
        asyncio.sleep(0)
      end)
      asyncio.sleep(0.002)
      if cancel_first then task:cancel "outside" end
      gate:set_result()
      if not cancel_first then task:cancel "outside" end
      asyncio.wait { task }
      if asyncio.isinstance(first, asyncio.ExceptionGroup) then
        t.assertEquals(first.errors, { "child" })
        t.assertEquals(t.assert_isinstance(second, asyncio.CancelledError).message, "outside")
      else -- the child was cancelled before it could fail
        t.assertEquals(t.assert_isinstance(first, asyncio.CancelledError).message, "outside")
      end
      t.assertEquals(asyncio.current_task():cancelling(), 0)
      pcall(asyncio.await, task)
    end
  end)
end

function TestCancelledTaskGroup:test_from_outside_after_a_task_failed_raises_the_group_and_then_the_cancellation()
  t.run(function()
    local first, second
    local task = started(function()
      first = t.error_of(in_group, function(group)
        group:create_task(function()
          local _ <close> = on_close(function() pcall(asyncio.sleep, 0.01) end)
          sleep_long()
        end)
        group:create_task(failing("child", 0.001))
        sleep_long()
      end)
      second = t.error_of(asyncio.sleep, 0)
      asyncio.sleep(0)
    end)
    asyncio.sleep(0.005) -- the group waits for the one that cleans up
    task:cancel "outside"
    asyncio.await(task)
    t.assertEquals(t.assert_isinstance(first, asyncio.ExceptionGroup).errors, { "child" })
    t.assertEquals(t.assert_isinstance(second, asyncio.CancelledError).message, "outside")
  end)
end

function TestCancelledTaskGroup:test_by_cancel_ends_the_tasks_and_not_the_body()
  t.run(function()
    local log = {}
    local result = in_group(function(group)
      group:create_task(sleeper(log, "a", 0.002))
      group:create_task(sleeper(log, "b"))
      asyncio.sleep(0)
      group:cancel()
      asyncio.sleep(0.001)
      log[#log + 1] = "body"
      return "result"
    end)
    t.assertEquals(result, "result")
    t.assertEquals(#log, 3)
    assert_undisturbed()
  end)
end

function TestCancelledTaskGroup:test_by_cancel_runs_no_task_after_it()
  t.run(function()
    local ran = false
    in_group(function(group)
      group:cancel()
      pcall(group.create_task, group, function() ran = true end)
      asyncio.sleep(0)
    end)
    t.assertFalse(ran)
  end)
end

function TestCancelledTaskGroup:test_by_cancel_still_raises_the_errors_of_its_tasks()
  t.run(function()
    local err = group_error(function(group)
      group:create_task(fails_when_cancelled)
      asyncio.sleep(0)
      group:cancel()
    end)
    t.assertEquals(err.errors, { "child" })
    assert_undisturbed()
  end)
end

function TestCancelledTaskGroup:test_by_cancel_from_one_of_its_tasks()
  t.run(function()
    local log = {}
    in_group(function(group)
      group:create_task(sleeper(log, "a"))
      group:create_task(function()
        asyncio.sleep(0.001)
        group:cancel()
      end)
    end)
    t.assertEquals(log, { "a" })
    assert_undisturbed()
  end)
end

function TestCancelledTaskGroup:test_by_cancel_twice_and_after_the_end_is_no_error()
  t.run(function()
    local old
    in_group(function(group)
      old = group
      group:create_task(sleep_long)
      group:cancel()
      group:cancel()
    end)
    old:cancel()
    assert_undisturbed()
  end)
end

function TestCancelledTaskGroup:test_by_its_own_task_raises_CancelledError()
  t.run(function()
    local log = {}
    local task = asyncio.create_task(in_group, function(group)
      group:create_task(sleeper(log, "a"))
      asyncio.sleep(0)
      asyncio.current_task():cancel()
      asyncio.sleep(0)
    end)
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertTrue(task:cancelled())
    t.assertEquals(log, { "a" })
  end)
end

-- nested groups

function TestNestedTaskGroups:test_an_inner_failure_leaves_as_a_group_in_a_group()
  t.run(function()
    local log = {}
    local err = group_error(function(outer)
      outer:create_task(sleeper(log, "a"))
      asyncio.sleep(0)
      in_group(function(inner) inner:create_task(failing "boom") end)
    end)
    t.assertEquals(#err.errors, 1)
    t.assertEquals(t.assert_isinstance(err.errors[1], asyncio.ExceptionGroup).errors, { "boom" })
    t.assertEquals(log, { "a" })
    assert_undisturbed()
  end)
end

function TestNestedTaskGroups:test_an_inner_failure_that_is_caught_leaves_the_outer_one_alone()
  t.run(function()
    local done = false
    in_group(function(outer)
      outer:create_task(function()
        asyncio.sleep(0.005)
        done = true
      end)
      group_error(function(inner)
        inner:create_task(failing "boom")
        sleep_long()
      end)
      assert_undisturbed()
    end)
    t.assertTrue(done)
  end)
end

function TestNestedTaskGroups:test_an_outer_failure_passes_through_the_inner_one()
  t.run(function()
    local log, inner_error = {}, nil
    local err = group_error(function(outer)
      outer:create_task(failing("boom", 0.002))
      inner_error = t.error_of(in_group, function(inner)
        inner:create_task(sleeper(log, "a"))
        sleep_long()
      end)
      error(inner_error, 0)
    end)
    t.assert_isinstance(inner_error, asyncio.CancelledError)
    t.assertEquals(err.errors, { "boom" })
    t.assertEquals(log, { "a" })
    assert_undisturbed()
  end)
end

function TestNestedTaskGroups:test_both_failing_in_the_same_turn_lose_neither()
  t.run(function()
    local err = group_error(function(outer)
      outer:create_task(failing "outer")
      in_group(function(inner)
        inner:create_task(failing "inner")
        sleep_long()
      end)
    end)
    local flat = {}
    local function walk(group)
      for _, e in ipairs(group.errors) do
        if asyncio.isinstance(e, asyncio.ExceptionGroup) then walk(e) else flat[#flat + 1] = e end
      end
    end
    walk(err)
    table.sort(flat)
    t.assertEquals(flat, { "inner", "outer" })
    assert_undisturbed()
  end)
end

function TestNestedTaskGroups:test_a_cancellation_from_outside_goes_through_both()
  t.run(function()
    local log = {}
    local task = started(in_group, function(outer)
      outer:create_task(sleeper(log, "outer"))
      in_group(function(inner) inner:create_task(sleeper(log, "inner", 0.002)) end)
      log[#log + 1] = "went on"
    end)
    asyncio.sleep(0)
    task:cancel "outside"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, task).message, "outside")
    t.assertEquals(log, { "inner", "outer" })
  end)
end

function TestNestedTaskGroups:test_a_task_of_a_group_may_hold_a_group()
  t.run(function()
    local err = group_error(function(outer)
      outer:create_task(in_group, function(inner)
        inner:create_task(failing "boom")
        sleep_long()
      end)
      sleep_long()
    end)
    t.assertEquals(t.assert_isinstance(err.errors[1], asyncio.ExceptionGroup).errors, { "boom" })
    assert_undisturbed()
  end)
end

function TestNestedTaskGroups:test_ten_deep_end_with_one_cancellation()
  t.run(function()
    local ended = 0
    local function nest(depth)
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        local _ <close> = on_close(function() ended = ended + 1 end)
        sleep_long()
      end)
      if depth > 1 then nest(depth - 1) end
    end
    local task = started(nest, 10)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(ended, 10)
  end)
end

-- ExceptionGroup

local ExceptionGroup = asyncio.ExceptionGroup

function TestExceptionGroup:test_is_an_Error_with_a_message_and_a_list()
  local list = { "a", {} }
  local group = ExceptionGroup("several", list)
  t.assert_isinstance(group, asyncio.Error)
  t.assertEquals(group.message, "several")
  t.assertEquals(group.errors, list)
  list[3] = "later" -- the group has a list of its own
  t.assertEquals(#group.errors, 2)
  group = ExceptionGroup { message = "several", errors = { "a" } }
  t.assertEquals({ group.message, group.errors }, { "several", { "a" } })
end

function TestExceptionGroup:test_without_a_list_is_an_argument_error()
  t.assertStrContains(t.error_of(ExceptionGroup, "m", "x"), "bad argument #2 to 'ExceptionGroup'")
  t.assertStrContains(t.error_of(ExceptionGroup, "m"), "bad argument #2 to 'ExceptionGroup'")
end

local function sample()
  local s = { timeout = asyncio.TimeoutError "late", os = asyncio.OSError "os", text = "text" }
  s.busy = asyncio.BusyError "b"
  s.inner = ExceptionGroup("inner", { s.timeout, s.text })
  s.outer = ExceptionGroup("outer", { s.os, s.inner, s.busy })
  return s
end

function TestExceptionGroup:test_splits_by_class()
  local s = sample()
  local match, rest = s.outer:split(asyncio.TimeoutError)
  t.assertEquals(match.message, "outer")
  t.assertEquals(#match.errors, 1)
  t.assertEquals(match.errors[1].message, "inner") -- nesting is kept
  t.assertEquals(#match.errors[1].errors, 1)
  t.assertIs(match.errors[1].errors[1], s.timeout)
  t.assertEquals(#rest.errors, 3)
  t.assertIs(rest.errors[1], s.os)
  t.assertEquals(rest.errors[2].errors, { "text" })
  t.assertIs(rest.errors[3], s.busy)
  t.assertEquals(#s.outer.errors, 3) -- the group itself stays as it was
  t.assertEquals(#s.inner.errors, 2)
end

function TestExceptionGroup:test_splits_by_function()
  local s = sample()
  local match, rest = s.outer:split(function(err) return err == "text" end)
  t.assertEquals(match.errors[1].errors, { "text" })
  t.assertEquals(#rest.errors, 3)
end

function TestExceptionGroup:test_split_gives_nil_for_an_empty_half()
  local s = sample()
  local match, rest = s.outer:split(asyncio.QueueFull)
  t.assertNil(match)
  t.assertEquals(#rest.errors, 3)
  match, rest = s.outer:split(function(err) return not asyncio.isinstance(err, ExceptionGroup) end)
  t.assertEquals(#match.errors, 3)
  t.assertNil(rest)
end

function TestExceptionGroup:test_split_by_a_class_of_the_group_itself_gives_all_of_it()
  local s = sample()
  local match, rest = s.outer:split(ExceptionGroup)
  t.assertIs(match, s.outer)
  t.assertNil(rest)
end

function TestExceptionGroup:test_split_keeps_errors_that_are_false()
  local match, rest = ExceptionGroup("m", { false, "x" }):split(function(err) return err == false end)
  t.assertEquals({ match.errors, rest.errors }, { { false }, { "x" } })
end

function TestExceptionGroup:test_subgroup_is_the_first_half()
  local s = sample()
  t.assertIs(s.outer:subgroup(asyncio.BusyError).errors[1], s.busy)
  t.assertEquals(select("#", s.outer:subgroup(asyncio.BusyError)), 1)
  t.assertNil(s.outer:subgroup(asyncio.QueueFull))
  t.assertEquals(s.outer:subgroup(function(err) return err == "text" end).errors[1].errors, { "text" })
end

function TestExceptionGroup:test_split_keeps_the_class_of_the_group()
  local Mine = ExceptionGroup:subclass "Mine"
  local match, rest = Mine("m", { "a", "b" }):split(function(err) return err == "a" end)
  t.assert_isinstance(match, Mine)
  t.assert_isinstance(rest, Mine)
end

function TestExceptionGroup:test_split_by_something_else_is_an_argument_error()
  local group = ExceptionGroup("m", { "a" })
  t.assertStrContains(t.error_of(group.split, group, 42), "bad argument #1 to 'split'")
  t.assertStrContains(t.error_of(group.subgroup, group, nil), "bad argument #1 to 'subgroup'")
end

function TestExceptionGroup:test_tostring_shows_each_error()
  local text = tostring(sample().outer)
  for _, part in ipairs { "outer", "inner", "late", "os", "text", "b" } do t.assertStrContains(text, part) end
  t.assertStrContains(tostring(ExceptionGroup("odd", { false, 42 })), "42")
end

local function a_function_that_fails(err) error(err) end

function TestFailingTaskGroup:test_those_that_run_in_the_same_turn_have_begun_before_they_are_cancelled()
  t.run(function()
    local log = {}
    group_error(function(group)
      group:create_task(failing "bad")
      group:create_task(sleeper(log, "begun"))
    end)
    t.assertEquals(log, { "begun" })
  end)
end

function TestFailingTaskGroup:test_several_that_fail_in_one_turn_are_all_told_in_their_order()
  t.run(function()
    local err = group_error(function(group)
      for i = 1, 5 do group:create_task(failing(i)) end
    end)
    t.assertEquals(err.errors, { 1, 2, 3, 4, 5 })
  end)
end

function TestTaskGroup:test_another_that_leaves_its_block_while_the_owner_does_changes_nothing()
  t.run(function()
    local group, ended
    local owner = asyncio.create_task(function()
      local g <close> = asyncio.TaskGroup()
      group = g
      g:create_task(function()
        asyncio.sleep(1)
        ended = true
      end)
    end)
    asyncio.sleep(0.5)
    getmetatable(group).__close(group)
    asyncio.await(owner)
    t.assertTrue(ended)
  end)
end

function TestTaskGroup:test_tasks_of_another_loop_are_refused()
  local first <close> = asyncio.new_event_loop()
  local second <close> = asyncio.new_event_loop()
  local group
  local owner = first:create_task(function()
    group = asyncio.TaskGroup()
    sleep_long()
  end)
  first:call_soon(function() first:stop() end)
  first:run_forever()
  local err = t.assert_raises(asyncio.Error, second.run_until_complete, second,
    function() group:create_task(sleep_long) end)
  t.assertStrContains(err.message, "the task group belongs to another event loop")
  t.assertFalse(owner:done())
end

function TestTaskGroup:test_none_are_taken_once_its_loop_is_closed()
  local loop = asyncio.new_event_loop()
  local group
  loop:create_task(function()
    group = asyncio.TaskGroup()
    group:create_task(sleep_long)
    sleep_long()
  end)
  loop:call_soon(function() loop:stop() end)
  loop:run_forever()
  loop:close()
  t.run(function()
    t.assert_raises(asyncio.InvalidStateError, group.create_task, group, sleep_long)
    group:cancel()
    getmetatable(group).__close(group)
    t.assertStrContains(tostring(group), "ended")
  end)
end

function TestExceptionGroup:test_tostring_shows_where_error_objects_were_raised()
  t.run(function()
    local err = group_error(function(group)
      group:create_task(function()
        a_function_that_fails(asyncio.Error "an object")
        return 1
      end)
    end)
    t.assertStrContains(tostring(err), "an object")
    t.assertStrContains(tostring(err), "a_function_that_fails")
  end)
end

function TestExceptionGroup:test_tostring_shows_where_string_errors_were_raised()
  t.run(function()
    local err = group_error(function(group)
      group:create_task(function()
        a_function_that_fails "a string"
        return 1
      end)
    end)
    t.assertStrContains(tostring(err), "a string")
    t.assertStrContains(tostring(err), "a_function_that_fails")
  end)
end

t.finish()
