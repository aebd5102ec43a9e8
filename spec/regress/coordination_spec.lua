-- What was once wrong with tasks that wait for one another, their scopes, groups and locks.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

local function future() return asyncio.get_running_loop():create_future() end

-- Runs fn as a task until it waits, then ends what it waits for and cancels it in the same step.
local function cancelled_too_late(fn)
  t.run(function()
    local awaited = future()
    local task = create_task(fn, awaited)
    t.testing.wait_all_tasks_blocked()
    awaited:set_result "result"
    task:cancel()
    t.assertEquals(await(task), "result")
  end)
end

-- An operation that completed first returns its value; the cancellation waits for the next await.
TestTooLate = {}

function TestTooLate:test_gather_gives_the_results()
  cancelled_too_late(function(awaited) return (asyncio.gather(awaited)) end)
end

function TestTooLate:test_a_shield_gives_the_result()
  cancelled_too_late(function(awaited) return await(asyncio.shield(awaited)) end)
end

function TestTooLate:test_wait_gives_its_lists()
  cancelled_too_late(function(awaited) return asyncio.wait({ awaited, future() },
    { return_when = asyncio.FIRST_COMPLETED })[1]:result() end)
end

function TestTooLate:test_as_completed_gives_the_future()
  cancelled_too_late(function(awaited)
    for done in asyncio.as_completed { awaited } do return done:result() end
  end)
end

function TestTooLate:test_the_request_is_raised_at_the_next_suspension()
  t.run(function()
    local awaited, got = future(), nil
    local task = create_task(function()
      got = asyncio.gather(awaited)
      sleep(1)
    end)
    t.testing.wait_all_tasks_blocked()
    awaited:set_result "result"
    task:cancel()
    t.assert_raises(asyncio.CancelledError, await, task)
    t.assertEquals(got, "result")
  end)
end

function TestTooLate:test_a_request_from_before_gather_takes_no_result_of_ended_ones()
  t.run(function()
    local done, task = future(), nil
    done:set_result "result"
    task = create_task(function()
      sleep(0)
      task:cancel()
      local got = asyncio.gather(done)
      return got, pcall(sleep, 0)
    end)
    local got, ok = await(task)
    t.assertEquals({ got, ok }, { "result", false })
  end)
end

TestOwnRequest = {}

-- The scope's request was taken back while it stood behind the task's own: the task ended with error nil.
function TestOwnRequest:test_a_task_that_swallowed_its_own_request_returns_its_result()
  t.run(function()
    local task = create_task(function()
      local inner = create_task(function()
        local _ <close> = setmetatable({}, { __close = function() sleep(5) end })
        sleep(100)
      end)
      sleep(0)
      do
        local _ <close> = asyncio.timeout(1)
        asyncio.current_task():cancel()
        t.assert_raises(asyncio.CancelledError, await, inner)
      end
      return "result"
    end)
    t.assertEquals(await(task), "result")
  end)
end

function TestOwnRequest:test_a_request_from_outside_behind_it_is_dropped_at_the_end()
  t.run(function()
    local task = create_task(function()
      local inner = create_task(function()
        local _ <close> = setmetatable({}, { __close = function() sleep(5) end })
        sleep(100)
      end)
      sleep(0)
      asyncio.current_task():cancel()
      t.assert_raises(asyncio.CancelledError, await, inner)
      return "result"
    end)
    sleep(1)
    task:cancel()
    t.assertEquals(await(task), "result")
  end)
end

TestForgottenObjects = {}

-- Nothing held the lock while it was reported: a handler that collects garbage freed it.
function TestForgottenObjects:test_a_lock_may_be_collected_while_it_is_reported()
  t.run(function()
    local messages = {}
    asyncio.get_running_loop():set_exception_handler(function(_, context)
      t.collect()
      messages[#messages + 1] = context.message
    end)
    await(create_task(function() asyncio.Lock():acquire() end))
    t.assertEquals(#messages, 1)
  end)
end

-- Finalisers may bring back to life what was finalised before them: that was freed without leaving its lists.
function TestForgottenObjects:test_what_was_finalised_is_of_no_use()
  for _, make in ipairs { asyncio.Lock, asyncio.Event, asyncio.Condition, asyncio.Semaphore, asyncio.Queue } do
    t.run(function()
      local saved, works
      await(create_task(function()
        do
          local older = setmetatable({}, { __gc = function(self) saved = self.younger end })
          older.younger = make()
        end
        t.collect()
        works = pcall(function() return (saved.acquire or saved.wait or saved.get)(saved) end)
        saved = nil
        t.collect()
      end))
      t.assertFalse(works)
    end)
  end
end

local function reports_of_group(fn)
  local reports
  t.run(function()
    reports = t.reports_of(asyncio.get_running_loop())
    pcall(await, create_task(function() fn(asyncio.TaskGroup()) end))
    sleep(1)
    t.collect()
    sleep(1)
  end)
  return reports
end

function TestForgottenObjects:test_the_errors_of_a_groups_tasks_are_reported()
  local reports = reports_of_group(function(group)
    group:create_task(error, "lost", 0)
    pcall(sleep, 1)
  end)
  t.assertEquals(#reports, 2)
  t.assertStrContains(reports[2].message, "a task group that was never closed")
  t.assertEquals(reports[2].exception.errors, { "lost" })
end

function TestForgottenObjects:test_so_are_those_that_come_later()
  local reports = reports_of_group(function(group)
    group:create_task(function()
      pcall(sleep, 10)
      error("late", 0)
    end)
    sleep(0)
  end)
  t.assertEquals(#reports, 2)
  t.assertEquals(reports[2].exception, "late")
end

TestTidiness = {}

function TestTidiness:test_a_shield_of_what_is_done_is_done()
  t.run(function()
    local done = future()
    done:set_result(42)
    t.assertEquals(asyncio.shield(done):result(), 42)
  end)
end

-- Each of n ends looked at all n.
function TestTidiness:test_waiting_for_many_takes_no_square_of_time()
  t.run(function()
    local list = {}
    for i = 1, t.count(20000) do list[i] = create_task(sleep, i % 7) end
    local began = os.clock()
    asyncio.wait(list)
    t.assertTrue(os.clock() - began < 15)
  end)
end

function TestTidiness:test_wait_for_says_what_it_takes()
  t.run(function()
    local err = t.error_of(asyncio.wait_for, 42, 1)
    t.assertStrContains(err, "bad argument #1 to 'wait_for' (task, future, coroutine or function expected, got number;")
    local callable = setmetatable({}, { __call = function() return asyncio.current_task() end })
    t.assertIs(asyncio.wait_for(callable, 1), asyncio.current_task())
  end)
end

function TestTidiness:test_gather_starts_nothing_when_one_has_ended()
  t.run(function()
    local ran, ended = false, coroutine.create(function() end)
    coroutine.resume(ended)
    local err = t.error_of(asyncio.gather, function() ran = true end, ended)
    t.assertStrContains(err, "bad argument #2 to 'gather' (coroutine that has not started expected")
    sleep(1)
    t.assertFalse(ran)
  end)
end

function TestTidiness:test_a_coroutine_that_is_listed_twice_runs_once()
  t.run(function()
    local runs = 0
    local co = coroutine.create(function()
      runs = runs + 1
      return runs
    end)
    t.assertEquals({ asyncio.gather(co, co) }, { 1, 1 })
  end)
end

function TestTidiness:test_an_error_through_move_on_after_keeps_its_traceback()
  t.run(function()
    local function culprit()
      sleep(0)
      error {}
    end
    local task = create_task(asyncio.move_on_after, 1, function() culprit() end)
    t.error_of(await, task)
    t.assertStrContains(task:traceback(), "in upvalue 'culprit'")
  end)
end

-- The first ContextVar of all set in a callback: it stayed set for the loop.
function TestTidiness:test_a_callback_keeps_its_context_to_itself()
  local out = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop, var = asyncio.get_running_loop(), asyncio.ContextVar("var", "unset")
      loop:set_exception_handler(function() print(var:get()) end)
      loop:call_soon(function() var:set "set" end)
      asyncio.sleep(0)
      asyncio.sleep(0)
      loop:create_future():set_exception "lost"
      collectgarbage()
      collectgarbage()
      asyncio.sleep(0.2)
    end)
  ]]
  t.assertEquals(out, "unset\n")
end

t.finish()
