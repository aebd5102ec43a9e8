-- Cancellations that plain pcall swallows: debug mode says where one was caught, and a wait that none can end any
-- more is reported.
local t = require "helper"
local asyncio = t.asyncio

TestCaught = {}
TestOverdue = {}

--- As t.run, in debug mode.
local function debugged(fn)
  t.run(function(reports)
    local loop = asyncio.get_running_loop()
    loop:set_debug(true)
    loop.slow_callback_duration = 1000
    asyncio.sleep(0) -- a step that is watched
    fn(reports)
  end)
end

local function line_here() return debug.getinfo(2, "l").currentline end

local function assert_caught_at(report, line)
  t.assertStrMatches(report.source_traceback, ("caught at:\nstack traceback:\n\t[^\n]*swallowed_spec.lua:%d: .*")
    :format(line))
end

local WAITS_AGAIN = "caught its cancellation and waits again"

function TestCaught:test_a_deadline_is_reported_with_its_place_when_the_task_suspends_again()
  debugged(function(reports)
    local line
    local ok = pcall(function()
      local _ <close> = asyncio.timeout(0.3)
      for _ = 1, 10 do
        line = line_here() pcall(asyncio.sleep, 0.2)
      end
    end)
    t.assertTrue(ok)
    local report = t.take_report(reports, WAITS_AGAIN)
    assert_caught_at(report, line)
    t.assertIs(report.task, asyncio.current_task())
    t.assertStrMatches(report.source_traceback, ".*CancelledError was raised at:\n.*")
    t.assertEquals(#reports, 0) -- once
  end)
end

function TestCaught:test_so_is_one_in_a_block_that_is_left_at_once()
  debugged(function(reports)
    local line
    do
      local _ <close> = asyncio.timeout(0.3)
      line = line_here() pcall(asyncio.sleep, 1000)
    end
    local report = t.take_report(reports, "the time of a block was up")
    assert_caught_at(report, line)
  end)
end

function TestCaught:test_so_is_one_that_a_handler_made_words_of()
  debugged(function(reports)
    asyncio.wait_for(function() xpcall(asyncio.sleep, function() return "words" end, 1000) end, 0.3)
    t.take_report(reports, "the time of a block was up")
  end)
end

function TestCaught:test_so_is_one_in_a_coroutine_of_the_task()
  debugged(function(reports)
    local line
    t.assertFalse((asyncio.move_on_after(5, function()
      asyncio.wait_for(asyncio.coroutine.create(function()
        line = line_here() pcall(asyncio.sleep, 1000)
        asyncio.sleep(1000)
      end), 0.3)
    end)))
    assert_caught_at(t.take_report(reports, WAITS_AGAIN), line)
  end)
end

function TestCaught:test_so_is_a_groups_and_anybodys()
  debugged(function(reports)
    local function deaf()
      pcall(asyncio.sleep, 1000)
      asyncio.sleep(1)
    end
    pcall(function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(error, "fails")
      deaf()
    end)
    t.take_report(reports, WAITS_AGAIN)
    local task = asyncio.create_task(deaf)
    asyncio.sleep(0)
    task:cancel()
    asyncio.await(task)
    t.take_report(reports, WAITS_AGAIN)
  end)
end

function TestCaught:test_none_is_that_passes_or_was_heard_or_cleans_up()
  debugged(function()
    local function on_close() return setmetatable({}, { __close = function() asyncio.sleep(0.1) end }) end
    local function limited(fn)
      t.assertFalse((asyncio.move_on_after(0.3, fn)))
    end
    limited(function()
      local _ <close> = on_close()
      asyncio.sleep(1000)
    end)
    limited(function()
      local ok, err = pcall(function()
        local _ <close> = on_close()
        asyncio.sleep(1000)
      end)
      if not ok then error(err, 0) end
    end)
    limited(function() asyncio.pcall(asyncio.sleep, 1000) end)
    limited(function()
      local _ <close> = asyncio.TaskGroup()
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        local _ <close> = on_close()
        asyncio.sleep(1000)
      end)
    end)
    limited(function() asyncio.gather(function() asyncio.sleep(1000) end) end)
    local task = asyncio.create_task(function()
      pcall(asyncio.sleep, 1000)
      asyncio.current_task():uncancel()
      asyncio.sleep(1)
    end)
    asyncio.sleep(0)
    task:cancel()
    asyncio.await(task)
    pcall(error, "another")
    asyncio.sleep(0)
  end)
end

-- waits that go on

function TestOverdue:test_wait_for_of_a_task_that_swallows_is_reported_once()
  t.run(function(reports)
    local deaf = asyncio.create_task {
      function()
        for _ = 1, 100 do pcall(asyncio.sleep, 1) end
        return "at last"
      end,
      name = "deaf",
    }
    local began = asyncio.get_running_loop():time()
    t.assertEquals(asyncio.wait_for(deaf, 0.5), "at last")
    t.assertTrue(asyncio.get_running_loop():time() - began > 90)
    local report = t.take_report(reports, "a block goes on, 5 s after its time was up")
    t.assertIs(report.task, asyncio.current_task())
    t.assertStrContains(report.source_traceback, "swallowed_spec.lua:")
    t.assertEquals(#reports, 0)
  end)
end

function TestOverdue:test_a_block_that_swallows_is_reported_where_it_stands()
  t.run(function(reports)
    local line
    asyncio.move_on_after(0.5, function()
      for _ = 1, 100 do line = line_here() pcall(asyncio.sleep, 1) end
    end)
    local report = t.take_report(reports, "a block goes on")
    t.assertStrContains(report.source_traceback, ("swallowed_spec.lua:%d:"):format(line))
  end)
end

function TestOverdue:test_a_group_that_waits_for_a_task_that_swallows_is_reported()
  t.run(function(reports)
    pcall(function()
      local group <close> = asyncio.TaskGroup()
      group:create_task { function() for _ = 1, 100 do pcall(asyncio.sleep, 1) end end, name = "deaf" }
      group:create_task(error, "fails")
    end)
    local report = t.take_report(reports, "a task group waits for 1 task, 5 s after cancelling")
    t.assertStrMatches(report.source_traceback, "'deaf':\nstack traceback:\n.*swallowed_spec.lua:.*")
    t.assertEquals(#reports, 0)
  end)
end

function TestOverdue:test_so_is_one_that_was_left_by_an_error_or_cancelled_in_its_body()
  t.run(function(reports)
    for _, leave in ipairs { error, function(group) group:cancel() end } do
      pcall(function()
        local group <close> = asyncio.TaskGroup()
        group:create_task(function() for _ = 1, 100 do pcall(asyncio.sleep, 1) end end)
        asyncio.sleep(0)
        leave(group)
      end)
      t.take_report(reports, "a task group waits for 1 task")
    end
  end)
end

local function shielded(seconds)
  local _ <close> = asyncio.shielded()
  asyncio.sleep(seconds)
end

function TestOverdue:test_says_so_where_a_shield_is_the_reason()
  t.run(function(reports)
    asyncio.move_on_after(0.5, shielded, 10)
    t.take_report(reports, "a block goes on, 5 s after its time was up: it is shielded")
    pcall(function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(shielded, 10)
      asyncio.sleep(0)
      group:cancel()
    end)
    t.take_report(reports, "a task group waits for 1 task, 5 s after cancelling: it is shielded")
    local task = asyncio.create_task(shielded, 10)
    asyncio.sleep(0)
    task:stop()
    t.take_report(reports, "goes on, 5 s after it was cancelled: it is shielded")
    t.assertEquals(#reports, 0)
  end)
end

function TestOverdue:test_nothing_is_that_ends_in_time()
  t.run(function()
    local function slow() pcall(asyncio.sleep, 1000) asyncio.sleep(4) end
    asyncio.move_on_after(0.5, slow)
    pcall(function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(slow)
      asyncio.sleep(0)
      error "left"
    end)
    asyncio.sleep(100)
  end)
end

-- move_on_after caught what went through it by Lua's xpcall, and raised it again.
function TestCaught:test_none_is_that_goes_through_move_on_after()
  debugged(function(reports)
    local task = asyncio.create_task(function()
      local _ <close> = setmetatable({}, { __close = function() asyncio.sleep(1) end })
      asyncio.move_on_after(1000, asyncio.sleep, 500)
    end)
    asyncio.sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertEquals(#reports, 0)
  end)
end

t.finish()
