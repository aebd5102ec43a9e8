-- TaskGroup:start: a task of a group that says when it is ready.
local t = require "helper"
local asyncio = t.asyncio

local function sleep_long() asyncio.sleep(1000) end

local function in_group(fn)
  local group <close> = asyncio.TaskGroup()
  return fn(group)
end

--- The ExceptionGroup that leaves a group's block.
local function group_error(fn) return t.assert_raises(asyncio.ExceptionGroup, in_group, fn) end

--- Tells of its end, after a while.
local function sleeper(log, name, cleanup)
  return function()
    local _ <close> = setmetatable({}, { __close = function()
      asyncio.sleep(cleanup)
      log[#log + 1] = name
    end })
    sleep_long()
  end
end

local function failing(err, delay)
  return function()
    asyncio.sleep(delay)
    error(err, 0)
  end
end

TestStart = {}

function TestStart:test_returns_what_started_is_given_and_the_task_goes_on_in_the_group()
  t.run(function()
    local log = {}
    in_group(function(group)
      t.assertEquals({ group:start(function(started, x)
        asyncio.sleep(1)
        started(x, nil, 3)
        asyncio.sleep(1)
        log[#log + 1] = "went on"
      end, "x") }, { "x", nil, 3 })
      t.assertEquals(log, {})
      t.assertStrContains(tostring(group), "1 task")
    end)
    t.assertEquals(log, { "went on" })
  end)
end

function TestStart:test_takes_a_list_with_a_name_too()
  t.run(function()
    in_group(function(group)
      local function serve(started, ...) started(asyncio.current_task():get_name(), select("#", ...), ...) end
      t.assertEquals(table.pack(group:start { serve, 1, nil, name = "tap", n = 3 }), { "tap", 2, 1, n = 4 })
      t.assertEquals(table.pack(group:start { serve, name = "tap" }), { "tap", 0, n = 2 })
    end)
  end)
end

function TestStart:test_an_error_before_it_started_is_raised_by_start_alone()
  t.run(function()
    in_group(function(group)
      local other = group:create_task(asyncio.sleep, 2, "other")
      t.assertErrorMsgEquals("bad", group.start, group, failing("bad", 1))
      t.assertEquals(asyncio.await(other), "other")
      group:create_task(asyncio.sleep, 1)
    end)
    t.collect()
    asyncio.sleep(1)
  end)
end

function TestStart:test_that_error_says_where_it_comes_from()
  t.run(function()
    in_group(function(group)
      local function open_the_tap() error(asyncio.Error "stuck") end
      local err = t.error_of(group.start, group, function() asyncio.sleep(0) open_the_tap() end)
      t.assertStrContains(err.traceback, "open_the_tap")
    end)
  end)
end

function TestStart:test_an_error_after_it_started_is_the_groups()
  t.run(function()
    local err = group_error(function(group)
      t.assertEquals(group:start(function(started)
        started "ready"
        asyncio.sleep(1)
        error("late", 0)
      end), "ready")
      sleep_long()
    end)
    t.assertEquals(err.errors, { "late" })
  end)
end

function TestStart:test_one_that_ends_without_a_word_is_an_error()
  t.run(function()
    in_group(function(group)
      local err = t.assert_raises(asyncio.Error, group.start, group, function() asyncio.sleep(1) end)
      t.assertStrContains(tostring(err), "the task ended without a call of started")
    end)
  end)
end

function TestStart:test_a_second_started_is_an_error_there()
  t.run(function()
    in_group(function(group)
      local second
      t.assertEquals(group:start(function(started)
        started(1)
        second = t.assert_raises(asyncio.InvalidStateError, started, 2)
      end), 1)
      t.assertStrContains(second.message, "has said already")
    end)
  end)
end

function TestStart:test_started_after_the_end_is_an_error()
  t.run(function()
    in_group(function(group)
      local kept
      t.assertFalse(pcall(group.start, group, function(started) kept = started end))
      t.assertStrContains(t.assert_raises(asyncio.InvalidStateError, kept).message, "the task has ended")
    end)
  end)
end

function TestStart:test_another_task_may_call_started()
  t.run(function()
    in_group(function(group)
      t.assertEquals(group:start(function(started)
        asyncio.create_task(function() asyncio.sleep(1) started "by another" end)
        asyncio.sleep(2)
      end), "by another")
    end)
  end)
end

function TestStart:test_cancelling_who_waits_cancels_the_task_and_is_raised_when_that_has_ended()
  t.run(function()
    local log = {}
    in_group(function(group)
      local starter = asyncio.create_task(group.start, group, sleeper(log, "ended", 1))
      asyncio.sleep(1)
      starter:cancel "enough"
      t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, starter).message, "enough")
      t.assertEquals(log, { "ended" })
      t.assertStrContains(tostring(group), "0 tasks")
    end)
  end)
end

local function swallow() pcall(sleep_long) end

function TestStart:test_cancelling_who_waits_is_raised_also_when_the_task_catches_it_and_returns()
  t.run(function()
    in_group(function(group)
      local starter = asyncio.create_task(group.start, group, swallow)
      asyncio.sleep(1)
      starter:cancel "enough"
      t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, starter).message, "enough")
      t.assertTrue(starter:cancelled())
      t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() group:start(swallow) end, 1)
    end)
  end)
end

function TestStart:test_who_waits_and_is_cancelled_gets_an_error_of_the_task_first()
  t.run(function()
    in_group(function(group)
      local got
      local starter = asyncio.create_task(function()
        got = t.error_of(group.start, group, function()
          pcall(sleep_long)
          error("bad", 0)
        end)
        sleep_long()
      end)
      asyncio.sleep(1)
      starter:cancel()
      asyncio.wait { starter }
      t.assertEquals({ got, starter:cancelled() }, { "bad", true })
    end)
  end)
end

function TestStart:test_a_request_that_a_shield_holds_back_does_not_hide_that_one_never_started()
  t.run(function()
    in_group(function(group)
      local starter = asyncio.create_task(function()
        local _ <close> = asyncio.shielded()
        group:start(function() asyncio.sleep(2) end)
      end)
      asyncio.sleep(1)
      starter:cancel()
      local err = t.error_of(asyncio.await, starter)
      t.assertStrContains(tostring(err), "the task ended without a call of started")
    end)
  end)
end

function TestStart:test_one_that_started_all_the_same_is_given_and_the_cancellation_waits()
  t.run(function()
    local got
    in_group(function(group)
      local starter = asyncio.create_task(function()
        got = group:start(function(started)
          pcall(sleep_long)
          started "all the same"
          asyncio.sleep(1)
        end)
        sleep_long()
      end)
      asyncio.sleep(1)
      starter:cancel()
      asyncio.wait { starter }
      t.assertTrue(starter:cancelled())
    end)
    t.assertEquals(got, "all the same")
  end)
end

function TestStart:test_what_started_in_the_turn_of_a_cancellation_goes_on()
  t.run(function()
    local got, ended
    in_group(function(group)
      local starter
      starter = asyncio.create_task(function()
        got = group:start(function(started)
          asyncio.sleep(1)
          started "ready"
          starter:cancel()
          asyncio.sleep(1)
          ended = true
        end)
        sleep_long()
      end)
      asyncio.wait { starter }
      t.assertTrue(starter:cancelled())
    end)
    t.assertEquals({ got, ended }, { "ready", true })
  end)
end

function TestStart:test_a_cancellation_that_finds_it_ended_changes_nothing()
  t.run(function()
    in_group(function(group)
      local starter
      starter = asyncio.create_task(function()
        t.assertErrorMsgEquals("bad", group.start, group, function()
          asyncio.sleep(1)
          starter:cancel() -- a turn before start is told of the end
          error("bad", 0)
        end)
      end)
      asyncio.wait { starter }
    end)
  end)
end

function TestStart:test_cancelling_the_group_cancels_what_has_not_started()
  t.run(function()
    local log = {}
    in_group(function(group)
      local starter = asyncio.create_task(group.start, group, sleeper(log, "ended", 1))
      asyncio.sleep(1)
      group:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, starter)
    end)
    t.assertEquals(log, { "ended" })
  end)
end

function TestStart:test_a_failure_in_the_group_ends_what_starts_and_who_waits_for_it()
  t.run(function()
    local log = {}
    local err = group_error(function(group)
      group:create_task(failing("bad", 1))
      group:start(sleeper(log, "ended", 1))
    end)
    t.assertEquals(err.errors, { "bad" })
    t.assertEquals(log, { "ended" })
  end)
end

function TestStart:test_leaving_the_group_waits_for_what_another_task_starts()
  t.run(function()
    local got, starter
    in_group(function(group)
      starter = asyncio.create_task(function()
        got = group:start(function(started)
          asyncio.sleep(1)
          started "ready"
          asyncio.sleep(1)
        end)
      end)
      asyncio.sleep(0.5)
    end)
    t.assertEquals(got, "ready")
    t.assertTrue(starter:done())
  end)
end

function TestStart:test_what_waits_for_the_starter_is_refused()
  t.run(function()
    in_group(function(group)
      local err
      local starter
      starter = asyncio.create_task(group.start, group, function(started)
        err = t.error_of(asyncio.await, starter)
        started()
      end)
      asyncio.await(starter)
      t.assertStrContains(tostring(err), "cannot await a task that waits for this one")
    end)
  end)
end

function TestStart:test_in_a_group_that_has_ended_or_is_cancelled_starts_nothing()
  t.run(function()
    local kept
    in_group(function(group)
      kept = group
      group:cancel()
      t.assert_raises(asyncio.InvalidStateError, group.start, group, sleep_long)
    end)
    t.assert_raises(asyncio.InvalidStateError, kept.start, kept, sleep_long)
  end)
end

function TestStart:test_where_nothing_can_wait_starts_nothing()
  t.run(function()
    in_group(function(group)
      local err
      asyncio.get_running_loop():call_soon(function() err = t.error_of(group.start, group, sleep_long) end)
      asyncio.sleep(1)
      t.assertStrContains(tostring(err), "cannot wait outside of a task")
    end)
  end)
end

t.finish()
