-- defer: what is called when a block is left.
local t = require "helper"
local asyncio = t.asyncio
local sleep, create_task, defer = asyncio.sleep, asyncio.create_task, asyncio.defer

TestDefer = {}

function TestDefer:test_calls_the_function_with_its_arguments_when_the_block_is_left()
  t.run(function()
    local got
    do
      local _ <close> = defer(function(...) got = table.pack(...) end, 1, nil, 3, nil)
      t.assertNil(got)
    end
    t.assertEquals(got, { 1, nil, 3, nil, n = 4 })
  end)
end

function TestDefer:test_several_run_in_reverse_order()
  t.run(function()
    local log = {}
    do
      local _ <close> = defer(table.insert, log, "last")
      local _ <close> = defer(table.insert, log, "first")
    end
    t.assertEquals(log, { "first", "last" })
  end)
end

function TestDefer:test_it_may_wait_and_what_it_returns_is_ignored()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    local function f()
      local _ <close> = defer(function()
        sleep(2)
        return "ignored"
      end)
      return "result"
    end
    t.assertEquals(f(), "result")
    t.assertAlmostEquals(loop:time() - began, 2, 0.001)
  end)
end

function TestDefer:test_a_callable_is_as_good_as_a_function()
  local got
  do
    local _ <close> = defer(setmetatable({}, { __call = function(_, x) got = x end }), 5)
  end
  t.assertEquals(got, 5)
end

function TestDefer:test_it_is_called_when_the_task_is_cancelled_and_may_wait_then()
  t.run(function()
    local log = {}
    local task = create_task(function()
      local _ <close> = defer(function()
        sleep(1)
        log[#log + 1] = "cleaned up"
      end)
      sleep(100)
    end)
    sleep(0)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertEquals(log, { "cleaned up" })
  end)
end

function TestDefer:test_its_error_leaves_a_block_that_was_left_normally()
  t.run(function()
    local boom = {}
    t.assertIs(t.error_of(function() local _ <close> = defer(error, boom) end), boom)
  end)
end

function TestDefer:test_where_an_error_leaves_the_block_that_stays_and_the_other_is_reported()
  t.run(function(reports)
    local boom, line = {}, nil
    t.assertIs(t.error_of(function()
      line = debug.getinfo(1, "l").currentline + 1
      local _ <close> = defer(function() sleep(1) error("of fn", 0) end)
      error(boom)
    end), boom)
    local report = t.take_report(reports, "a deferred function failed while its block was left by an error")
    t.assertEquals(report.exception, "of fn")
    t.assertIs(report.task, asyncio.current_task())
    t.assertStrContains(report.traceback, "defer_spec.lua:" .. line)
    t.assertStrContains(report.source_traceback, "defer_spec.lua:" .. line)
  end)
end

function TestDefer:test_a_timeout_that_leaves_the_block_stays_one()
  t.run(function(reports)
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout(1)
      local _ <close> = defer(error, "of fn")
      sleep(10)
    end)
    t.take_report(reports, "a deferred function failed")
  end)
end

--- Ends with `how`, and is cancelled once more as it cleans up; what it raises, and what the next call does.
local function cancelled_while_cleaning(how)
  return t.run(function()
    local first, second
    local task = create_task(function()
      first = t.error_of(function()
        local _ <close> = asyncio.timeout(1)
        local _ <close> = defer(sleep, 2)
        how()
      end)
      second = t.error_of(sleep, 1)
    end)
    sleep(1.5)
    task:cancel "while it cleans up"
    asyncio.wait { task }
    return first, second
  end)
end

function TestDefer:test_a_cancellation_that_comes_while_it_waits_is_kept_for_the_next_suspension()
  local first, second = cancelled_while_cleaning(function()
    sleep(1)
    error("the block's", 0)
  end)
  t.assertEquals(first, "the block's")
  t.assertEquals(second.message, "while it cleans up")
  first, second = cancelled_while_cleaning(function() sleep(10) end)
  t.assert_isinstance(first, asyncio.TimeoutError)
  t.assertEquals(second.message, "while it cleans up")
end

function TestDefer:test_after_a_normal_end_a_cancellation_that_comes_while_it_waits_leaves_the_block()
  t.run(function()
    local task = create_task(function()
      local _ <close> = defer(sleep, 2)
    end)
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
  end)
end

function TestDefer:test_a_CancelledError_of_another_task_is_an_error_like_any()
  t.run(function(reports)
    local other = create_task(sleep, 10)
    sleep(0)
    other:cancel()
    t.assertEquals(t.error_of(function()
      local _ <close> = defer(asyncio.await, other)
      error("mine", 0)
    end), "mine")
    t.assert_isinstance(t.take_report(reports, "a deferred function failed").exception, asyncio.CancelledError)
    sleep(1)
  end)
end

function TestDefer:test_it_is_called_once()
  t.run(function()
    local n = 0
    local scope = defer(function() n = n + 1 end)
    t.assertEquals(tostring(scope), "asyncio.Deferred: not called yet")
    do local _ <close> = scope end
    do local _ <close> = scope end
    t.assertEquals(n, 1)
    t.assertEquals(tostring(scope), "asyncio.Deferred: done")
  end)
end

function TestDefer:test_it_can_be_used_outside_of_a_task()
  local log = {}
  do
    local _ <close> = defer(table.insert, log, "called")
  end
  t.assertEquals(log, { "called" })
  t.assertStrContains(tostring(t.error_of(function() local _ <close> = defer(sleep, 1) end)), "task")
end

function TestDefer:test_outside_of_a_loop_an_error_takes_the_place_of_the_former_as_in_Lua()
  t.assertEquals(t.error_of(function()
    local _ <close> = defer(error, "of fn", 0)
    error("the block's", 0)
  end), "of fn")
end

function TestDefer:test_in_a_callback_the_former_stays()
  t.run(function(reports)
    asyncio.get_running_loop():call_soon(function()
      local _ <close> = defer(error, "of fn", 0)
      error("the block's", 0)
    end)
    sleep(0)
    t.assertEquals(t.take_report(reports, "deferred").exception, "of fn")
    t.assertEquals(t.take_report(reports, "a callback failed").exception, "the block's")
  end)
end

function TestDefer:test_a_forgotten_one_is_reported_and_called_at_the_tasks_end()
  t.run(function(reports)
    local line, called, waited
    asyncio.await(create_task(function()
      line = debug.getinfo(1, "l").currentline + 1
      defer(function()
        called = true
        waited = pcall(sleep, 1)
      end)
      t.assertNil(called)
    end))
    t.assertTrue(called)
    t.assertFalse(waited)
    local report = t.take_report(reports, "never closed.*asyncio.Deferred")
    t.assertStrContains(report.source_traceback, "defer_spec.lua:" .. line)
  end)
end

function TestDefer:test_the_error_of_a_forgotten_one_is_reported_too()
  t.run(function(reports)
    asyncio.await(create_task(function() defer(error, "of fn", 0) end))
    t.take_report(reports, "never closed")
    t.assertEquals(t.take_report(reports, "could not be closed").exception, "of fn")
  end)
end

function TestDefer:test_another_task_may_close_it()
  t.run(function()
    local scope, by
    asyncio.await(create_task(function() scope = defer(function() by = asyncio.current_task() end)
      asyncio.await(create_task(function() local _ <close> = scope end)) end))
    t.assertNotNil(by)
  end)
end

function TestDefer:test_what_is_no_function_is_an_argument_error()
  t.assertStrContains(t.error_of(defer, 5), "bad argument #1 to 'defer' (function expected, got number")
  t.assertStrContains(t.error_of(defer, nil), "write defer(f, x), not defer(f(x))")
end

t.finish()
