-- vim.async: owners and children, checkpoints, closing, failures; on asyncio's loops and outside of them.
local t = require "helper"
local asyncio = t.asyncio
local vim_async = asyncio.compat.vim_async
local run, await, pawait, sleep = vim_async.run, vim_async.await, vim_async.pawait, vim_async.sleep
local checkpoint = vim_async.checkpoint

TestRun = {}
TestOwners = {}
TestAwait = {}
TestClose = {}
TestFailures = {}
TestHandles = {}
TestTimeout = {}
TestIter = {}
TestVimSemaphore = {}
TestWait = {}
TestLoops = {}
TestCoroutines = {}
TestLooks = {}

local function turn(callback) asyncio.get_running_loop():call_soon(callback) end

local function forever() await(function() end) end

--- Runs the function as a task on the virtual clock; its results.
local function in_task(fn, ...)
  return t.run(function(_, ...) return run(fn, ...):wait() end, ...)
end

--- The error with which the function's task ends.
local function error_in_task(fn, ...)
  return t.run(function(_, ...)
    local ok, err = run(fn, ...):pwait()
    t.assertFalse(ok)
    return err
  end, ...)
end

-- Making tasks

function TestRun:test_a_task_outside_of_others_starts_at_once()
  t.run(function()
    local log = {}
    run(function(...)
      log[#log + 1] = table.concat({ ... }, " ")
      sleep(1)
      log[#log + 1] = "later"
    end, "at", "once")
    t.assertEquals(log, { "at once" })
    asyncio.sleep(0.002)
    t.assertEquals(log, { "at once", "later" })
  end)
end

function TestRun:test_all_its_results_are_given()
  t.assertEquals(table.pack(in_task(function() return 1, nil, 3, nil end)), { 1, nil, 3, nil, n = 4 })
end

function TestRun:test_its_name_may_stand_first()
  t.run(function()
    local task = run("brew", function(...) return select("#", ...), ... end, nil, "tea")
    t.assertEquals(table.pack(task:wait()), { 2, nil, "tea", n = 3 })
    t.assertEquals(tostring(task), "asyncio.VimTask: brew, completed")
  end)
end

function TestRun:test_arguments_that_the_function_has_dropped_are_not_kept()
  t.run(function()
    local kept = setmetatable({ {} }, { __mode = "v" })
    local task = run(function() sleep(10) end, kept[1])
    t.collect()
    t.assertNil(kept[1])
    task:wait()
  end)
end

function TestRun:test_a_chain_of_tasks_may_be_long()
  local function nested(n)
    if n == 0 then return "bottom" end
    return await(run(nested, n - 1))
  end
  t.assertEquals(in_task(nested, t.count(5000)), "bottom")
end

function TestRun:test_a_chain_of_checkpoints_may_be_long()
  local function deep(n)
    if n == 0 then return "done" end
    checkpoint()
    return deep(n - 1)
  end
  t.assertEquals(in_task(deep, t.count(10000)), "done")
end

function TestRun:test_a_chain_of_callbacks_may_be_long()
  t.run(function()
    local n = 200
    local callbacks, reached = {}, 0
    for i = 1, n do
      run(function()
        await(function(callback) callbacks[i] = callback end)
        reached = i
        if callbacks[i + 1] then callbacks[i + 1]() end
      end)
    end
    callbacks[1]()
    t.until_blocked()
    t.assertEquals(reached, n)
  end)
end

-- Owners and children

function TestOwners:test_a_child_starts_at_its_owners_next_checkpoint()
  local log = {}
  in_task(function()
    run(function() log[#log + 1] = "child" end)
    log[#log + 1] = "before"
    checkpoint()
    log[#log + 1] = "after"
  end)
  t.assertEquals(log, { "before", "child", "after" })
end

function TestOwners:test_children_start_in_order_each_with_its_own()
  local log = {}
  local function note(name, ...)
    log[#log + 1] = name
    for _, child in ipairs { ... } do run(note, child) end
    checkpoint()
  end
  in_task(function()
    run(note, "a", "aa", "ab")
    run(note, "b", "ba")
  end)
  t.assertEquals(log, { "a", "aa", "ab", "b", "ba" })
end

function TestOwners:test_the_awaited_child_starts_first()
  local log = {}
  in_task(function()
    run(function() log[#log + 1] = "other" end)
    await(run(function()
      log[#log + 1] = "awaited"
      sleep(1)
    end))
  end)
  t.assertEquals(log, { "awaited", "other" })
end

function TestOwners:test_an_owner_ends_after_its_children()
  t.run(function()
    local ended = {}
    local task = run(function()
      for i = 1, 3 do
        run(function()
          sleep(10 * i)
          ended[#ended + 1] = i
        end)
      end
      return "body done"
    end)
    asyncio.sleep(0.015)
    t.assertFalse(task:completed())
    t.assertEquals(task:status(), "awaiting")
    t.assertEquals(task:wait(), "body done")
    t.assertEquals(ended, { 1, 2, 3 })
  end)
end

function TestOwners:test_a_call_back_within_a_step_makes_children()
  t.run(function()
    local child
    local parent = run(function()
      table.sort({ 1, 2 }, function(a, b)
        child = child or run(sleep, 10)
        return a < b
      end)
    end)
    t.assertFalse(parent:completed())
    parent:wait()
    t.assertTrue(child:completed())
  end)
end

function TestOwners:test_what_a_callback_of_the_loop_makes_is_nobodys()
  t.run(function()
    local other
    local parent = run(function()
      await(function(callback)
        turn(function()
          other = run(sleep, 1000)
          callback()
        end)
      end)
    end)
    parent:wait()
    t.assertFalse(other:completed())
    other:wait()
  end)
end

function TestOwners:test_what_begins_a_wait_makes_is_nobodys()
  t.run(function()
    local other
    run(function()
      await(function(callback)
        other = run(sleep, 1000)
        callback()
      end)
    end):wait()
    t.assertFalse(other:completed())
    other:wait()
  end)
end

function TestOwners:test_awaiting_a_task_changes_no_owner()
  t.run(function()
    local other = run(function() sleep(100) return "other" end)
    local parent = run(function() await(other) end)
    parent:close()
    t.assertTrue(parent:completed())
    t.assertEquals(other:wait(), "other")
  end)
end

function TestOwners:test_a_detached_child_outlives_its_owner()
  t.run(function()
    local child
    run(function()
      child = run(sleep, 100):detach()
      checkpoint()
    end):wait()
    t.assertFalse(child:completed())
    child:wait()
  end)
end

function TestOwners:test_a_child_detached_before_it_has_started_starts_in_the_next_turn()
  t.run(function()
    local log = {}
    run(function()
      run(function() log[#log + 1] = "child" end):detach()
      checkpoint()
      log[#log + 1] = "owner"
    end):wait()
    asyncio.sleep(0)
    t.assertEquals(log, { "owner", "child" })
  end)
end

function TestOwners:test_an_owner_whose_last_child_is_detached_ends()
  t.run(function()
    local child
    local parent = run(function() child = run(sleep, 1000) end)
    t.assertFalse(parent:completed())
    child:detach()
    t.assertTrue(parent:completed())
    child:close()
  end)
end

-- Awaiting

function TestAwait:test_a_functions_callback_gives_the_results()
  t.assertEquals(table.pack(in_task(function()
    return await(function(callback) turn(function() callback(nil, 2, nil) end) end)
  end)), { nil, 2, nil, n = 3 })
end

function TestAwait:test_the_callback_stands_where_it_is_said()
  t.assertEquals(table.pack(in_task(function()
    return await(2, function(...)
      local a, callback, b = ...
      callback(a, b, select("#", ...))
    end, "a", "b")
  end)), { "a", nil, 2, n = 3 })
  t.assertEquals(in_task(function()
    return await(3, function(a, b, callback) callback(tostring(b) .. a) end, "a")
  end), "nila")
end

function TestAwait:test_wrap_makes_a_function_that_waits()
  local later = vim_async.wrap(2, function(x, callback) turn(function() callback(x * 2) end) end)
  t.assertEquals(in_task(function() return later(21) end), 42)
end

function TestAwait:test_only_the_first_call_of_a_callback_counts()
  t.assertEquals(in_task(function()
    local kept
    local first = await(function(callback)
      kept = callback
      callback "first"
      callback "second"
    end)
    turn(function() kept "third" end)
    sleep(1)
    return first
  end), "first")
end

function TestAwait:test_a_callback_lets_the_task_go_on_within_its_call()
  t.run(function()
    local log, callback = {}, nil
    run(function()
      await(function(cb) callback = cb end)
      log[#log + 1] = "task"
    end)
    callback()
    log[#log + 1] = "caller"
    t.assertEquals(log, { "task", "caller" })
  end)
end

function TestAwait:test_an_error_of_the_function_is_raised_where_it_was_awaited()
  local err = in_task(function()
    return select(2, pcall(await, function() error("no tea", 0) end))
  end)
  t.assertEquals(err, "no tea")
  t.assertEquals(error_in_task(function() await(function() error() end) end), t.lua55 and t.NO_ERROR or "error(nil)")
end

function TestAwait:test_the_function_cannot_wait_itself()
  t.run(function()
    local function error_of(fn) return tostring(select(2, run(await, fn):pwait())) end
    t.assertStrContains(error_of(function() asyncio.sleep(1) end), "cannot wait")
    t.assertEquals(error_of(function() coroutine.yield() end), "Unexpected coroutine.yield()")
    t.assertEquals(error_of(function(callback)
      turn(callback)
      return { close = function() coroutine.yield() end }
    end), "Unexpected coroutine.yield()")
  end)
end

function TestAwait:test_a_task_that_has_ended_gives_its_results_at_once()
  t.assertEquals(table.pack(in_task(function()
    local child = run(function() return 1, 2 end)
    checkpoint()
    t.assertTrue(vim_async.completed(child))
    return await(child)
  end)), { 1, 2, n = 2 })
end

function TestAwait:test_a_future_of_asyncios_gives_its_results()
  t.assertEquals(in_task(function()
    return await(asyncio.create_task(function()
      asyncio.sleep(1)
      return "asyncio's"
    end))
  end), "asyncio's")
end

function TestAwait:test_an_error_of_a_future_is_raised_and_stays_nothing()
  t.assertEquals(in_task(function()
    local failing = asyncio.create_task(error, "broken", 0)
    local ok, err = pcall(await, failing)
    checkpoint()
    return ok, err
  end), false)
end

function TestAwait:test_closing_cancels_the_future_and_waits_for_it()
  t.run(function()
    local ended = false
    local future = asyncio.create_task(function()
      local _ <close> = asyncio.defer(function()
        asyncio.sleep(1)
        ended = true
      end)
      asyncio.sleep(3600)
    end)
    local task = run(function() await(future) end)
    asyncio.sleep(0.1)
    task:close()
    t.assertFalse(task:completed())
    t.assertEquals({ task:pwait() }, { false, "closed" })
    t.assertTrue(ended)
  end)
end

function TestAwait:test_outside_of_tasks_it_is_an_error()
  t.run(function()
    for _, fn in ipairs { await, pawait, checkpoint, sleep } do
      t.assertEquals(t.error_of(fn, 1), fn == pawait and "Not in async context" or "Not in async context")
    end
    t.assertFalse(vim_async.is_closing())
  end)
end

function TestAwait:test_pawait_gives_failures_as_values()
  t.assertEquals(in_task(function()
    local list = {
      table.pack(pawait(run(function() return 1, nil end))),
      table.pack(pawait(run(error, "broken", 0))),
      table.pack(pawait(function(callback) callback "called" end)),
      table.pack(pawait(function() error("at once", 0) end)),
      table.pack(pawait(2, function(x, callback) callback(x) end, "x")),
    }
    checkpoint()
    return list
  end), {
    { true, 1, nil, n = 3 }, { false, "broken", n = 2 }, { true, "called", n = 2 }, { false, "at once", n = 2 },
    { true, "x", n = 2 },
  })
end

-- Closing

function TestClose:test_it_is_told_where_the_task_waits_and_at_each_later_checkpoint()
  t.run(function()
    local log = {}
    local task = run(function()
      for _ = 1, 3 do log[#log + 1] = { pcall(sleep, 1000), vim_async.is_closing() } end
      log[#log + 1] = { select(2, pcall(checkpoint)) }
    end)
    t.assertFalse(vim_async.is_closing())
    task:close()
    t.assertEquals(log, { { false, true }, { false, true }, { false, true }, { "closed" } })
    t.assertEquals({ task:pwait() }, { false, "closed" })
  end)
end

function TestClose:test_a_task_that_has_not_started_never_does()
  t.run(function()
    local started, child = false, nil
    local parent = run(function()
      child = run(function() started = true end)
      child:close()
      t.assertTrue(child:completed())
    end)
    parent:wait()
    t.assertFalse(started)
    t.assertEquals({ child:pwait() }, { false, "closed" })
  end)
end

function TestClose:test_children_are_closed_and_waited_for()
  t.run(function()
    local ended, child
    local parent = run(function()
      child = run(function()
        pcall(forever)
        pcall(function()
          await(function() end)
        end)
        ended = true
      end)
      forever()
    end)
    parent:close()
    t.assertTrue(ended)
    t.assertEquals({ child:pwait() }, { false, "closed" })
    t.assertEquals({ parent:pwait() }, { false, "closed" })
  end)
end

function TestClose:test_one_whose_children_run_on_is_closed_too()
  t.run(function()
    local child
    local parent = run(function() child = run(forever) end)
    parent:close()
    t.assertTrue(parent:completed())
    t.assertEquals({ parent:pwait() }, { false, "closed" })
    t.assertEquals({ child:pwait() }, { false, "closed" })
  end)
end

function TestClose:test_a_closed_child_does_not_fail_its_owner()
  t.assertEquals(in_task(function()
    local child = run(forever)
    checkpoint()
    child:close()
    checkpoint()
    return "fine"
  end), "fine")
end

function TestClose:test_the_callback_is_called_at_the_end()
  t.run(function()
    local calls = 0
    local task = run(function()
      pcall(forever)
      return "done all the same"
    end)
    task:close(function(...) calls = calls + 1 + select("#", ...) end)
    task:close(function() calls = calls + 1 end)
    t.assertEquals(calls, 2)
  end)
end

function TestClose:test_a_task_may_close_itself()
  t.assertEquals(error_in_task(function()
    local me
    run(function() end)
    me = run(function()
      checkpoint()
      me:close()
      checkpoint()
      error "went on"
    end)
    await(me)
  end), "closed")
end

function TestClose:test_its_own_error_goes_before_that_it_was_closed()
  t.run(function()
    local task = run(function()
      pcall(forever)
      error("mine", 0)
    end)
    task:close()
    t.assertEquals({ task:pwait() }, { false, "mine" })
  end)
end

function TestClose:test_an_ended_task_stays_as_it_is()
  t.run(function()
    local task = run(function() return "result" end)
    task:close()
    t.assertEquals(task:wait(), "result")
  end)
end

function TestClose:test_variables_are_closed_within_the_task()
  t.run(function()
    local log = {}
    local task = run(function()
      local _ <close> = setmetatable({}, { __close = function(_, err)
        log[#log + 1] = err
        log[#log + 1] = vim_async.is_closing()
      end })
      forever()
    end)
    task:close()
    t.assertEquals(log, { "closed", true })
  end)
end

-- Failures

function TestFailures:test_the_first_child_that_fails_fails_its_owner_and_closes_the_others()
  t.run(function()
    local sibling
    local parent = run(function()
      run(function()
        sleep(1)
        error("broken", 0)
      end)
      sibling = run(forever)
      sleep(1000)
      error "went on"
    end)
    t.assertEquals({ parent:pwait() }, { false, "child error: broken" })
    t.assertEquals({ sibling:pwait() }, { false, "closed" })
  end)
end

function TestFailures:test_children_that_fail_after_the_owners_function_has_ended_count_too()
  t.run(function()
    for first = 1, 2 do
      local sibling
      local ended = 0
      local parent = run(function()
        if first == 1 then sibling = run(forever) end
        run(function()
          sleep(1)
          error("broken", 0)
        end)
        if first == 2 then sibling = run(forever) end
      end)
      parent:on_complete(function() ended = ended + 1 end)
      t.assertEquals({ parent:pwait() }, { false, "child error: broken" })
      t.assertEquals({ sibling:pwait() }, { false, "closed" })
      t.assertEquals(ended, 1)
    end
  end)
end

function TestFailures:test_a_caught_failure_of_a_child_is_told_again()
  t.run(function()
    local log = {}
    local parent = run(function()
      run(error, "broken", 0)
      for _ = 1, 3 do log[#log + 1] = select(2, pcall(sleep, 1)) end
      return "fine"
    end)
    t.assertEquals({ parent:pwait() }, { false, "child error: broken" })
    t.assertEquals(log, { "child error: broken", "child error: broken", "child error: broken" })
  end)
end

function TestFailures:test_an_awaited_tasks_error_is_the_tasks_own_as_it_is()
  t.run(function()
    for _, failure in ipairs { false, "text", {} } do
      local caught
      local parent = run(function()
        caught = { pcall(await, run(error, failure, 0)) }
        checkpoint()
      end)
      local ok, err = parent:pwait()
      t.assertFalse(ok)
      t.assertIs(err, failure)
      t.assertIs(caught[2], failure)
    end
  end)
end

function TestFailures:test_pawait_is_the_boundary_of_a_failure()
  t.assertEquals(in_task(function()
    local ok, err = pawait(run(function()
      run(error, "deep", 0)
      sleep(1)
    end))
    sleep(1)
    return tostring(ok) .. " " .. err
  end), "false child error: deep")
end

function TestFailures:test_pawait_does_not_hide_what_the_task_itself_has_to_hear()
  t.run(function()
    local log = {}
    local task = run(function()
      run(function()
        sleep(1)
        error("broken", 0)
      end)
      log[1] = select(2, pcall(pawait, forever and function() end))
      log[2] = vim_async.is_closing()
    end)
    t.assertFalse((task:pwait()))
    t.assertEquals(log, { "child error: broken", false })
    task = run(function() log[3] = select(2, pcall(pawait, function() end)) end)
    task:close()
    t.assertEquals(log[3], "closed")
  end)
end

function TestFailures:test_children_that_have_not_started_are_closed_when_the_owner_fails()
  t.run(function()
    local child, started = nil, false
    local parent = run(function()
      child = run(function() started = true end)
      error("mine", 0)
    end)
    t.assertEquals({ parent:pwait() }, { false, "mine" })
    t.assertEquals({ child:pwait() }, { false, "closed" })
    t.assertFalse(started)
  end)
end

function TestFailures:test_a_detached_childs_failure_is_its_own()
  t.run(function()
    local child
    local parent = run(function()
      child = run(function()
        sleep(1)
        error("alone", 0)
      end):detach()
      sleep(10)
      return "fine"
    end)
    t.assertEquals(parent:wait(), "fine")
    t.assertEquals({ child:pwait() }, { false, "alone" })
  end)
end

function TestFailures:test_an_error_of_nil_has_words()
  t.assertEquals(error_in_task(error), t.lua55 and t.NO_ERROR or "error(nil)")
end

-- What a wait has begun

--- A handle that closes after some turns.
local function handle_of(log, turns)
  return {
    close = function(_, callback)
      log[#log + 1] = "closing"
      asyncio.get_running_loop():call_later(turns, function()
        log[#log + 1] = "closed"
        callback()
      end)
    end,
  }
end

function TestHandles:test_it_is_closed_before_the_task_goes_on()
  t.run(function()
    local log = {}
    run(function()
      await(function(callback)
        turn(callback)
        return handle_of(log, 1)
      end)
      log[#log + 1] = "on"
    end):wait()
    t.assertEquals(log, { "closing", "closed", "on" })
  end)
end

function TestHandles:test_closing_the_task_closes_it_first()
  t.run(function()
    local log = {}
    local task = run(function()
      pcall(await, function() return handle_of(log, 1) end)
      log[#log + 1] = "on"
    end)
    task:close()
    t.assertFalse(task:completed())
    t.assertEquals({ task:pwait() }, { false, "closed" })
    t.assertEquals(log, { "closing", "closed", "on" })
  end)
end

function TestHandles:test_one_that_is_being_closed_is_left_alone()
  t.assertEquals(in_task(function()
    return await(function(callback)
      turn(function() callback "result" end)
      return { is_closing = function() return true end, close = function() error "closed twice" end }
    end)
  end), "result")
end

function TestHandles:test_an_error_in_its_close_is_the_waits()
  t.run(function()
    local task = run(function()
      await(function() return { close = function() error("stuck", 0) end } end)
    end)
    task:close()
    t.assertEquals({ task:pwait() }, { false, "stuck" })
  end)
end

function TestHandles:test_a_task_closed_while_its_wait_begins_closes_the_handle()
  t.run(function()
    local log, task = {}, nil
    task = run(function()
      checkpoint()
      sleep(1)
      await(function()
        task:close()
        return handle_of(log, 1)
      end)
    end)
    t.assertEquals({ task:pwait() }, { false, "closed" })
    t.assertEquals(log, { "closing", "closed" })
  end)
end

function TestHandles:test_what_has_come_while_it_is_closed_is_not_lost()
  t.run(function()
    local log, got, callback = {}, nil, nil
    local task = run(function()
      got = await(function(cb)
        callback = cb
        return handle_of(log, 1)
      end)
      checkpoint()
    end)
    callback "result"
    task:close()
    t.assertEquals({ task:pwait() }, { false, "closed" })
    t.assertEquals(got, "result")
  end)
end

function TestHandles:test_a_value_that_has_no_close_is_none()
  t.assertEquals(in_task(function()
    return await(function(callback)
      turn(function() callback "fine" end)
      return io.stdout ~= nil and setmetatable({}, { __index = function() error "looked into" end })
    end)
  end), "fine")
end

-- Deadlines

function TestTimeout:test_a_task_in_time_gives_its_results()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    t.assertEquals(table.pack(run(function()
      return vim_async.timeout(1000, run(function() sleep(10) return 1, 2 end))
    end):wait()), { 1, 2, n = 2 })
    t.assertAlmostEquals(loop:time() - began, 0.01, 1e-6)
  end)
end

function TestTimeout:test_one_that_is_late_is_closed_and_waited_for()
  t.run(function()
    local log = {}
    local task = run(function() await(function() return handle_of(log, 1) end) end)
    t.assertEquals({ run(vim_async.timeout, 10, task):pwait() }, { false, "timeout" })
    t.assertEquals(log, { "closing", "closed" })
    t.assertEquals({ task:pwait() }, { false, "closed" })
  end)
end

function TestTimeout:test_a_failure_in_time_is_raised()
  t.assertEquals(error_in_task(function() vim_async.timeout(100, run(error, "broken", 0)) end), "broken")
end

function TestTimeout:test_the_deadline_goes_with_the_task_that_waits()
  t.run(function()
    local target = run(sleep, 100)
    local task = run(vim_async.timeout, 10, target)
    task:close()
    t.assertEquals({ task:pwait() }, { false, "closed" })
    target:wait()
  end)
end

-- Iterating

function TestIter:test_tasks_come_in_the_order_of_their_end()
  t.assertEquals(in_task(function()
    local list, names = {}, {}
    for i, ms in ipairs { 30, 10, 20 } do
      list[i] = run(function()
        sleep(ms)
        return ms
      end)
    end
    for task in vim_async.iter(list) do names[#names + 1] = await(task) end
    return table.concat(names, " ")
  end), "10 20 30")
end

function TestIter:test_ended_tasks_come_at_once_and_none_ends_it()
  in_task(function()
    t.assertNil(vim_async.iter {}())
    local list = { run(function() end), run(function() end) }
    checkpoint()
    local next_task = vim_async.iter(list)
    t.assertIs(next_task(), list[1])
    t.assertIs(next_task(), list[2])
    t.assertNil(next_task())
    t.assertNil(next_task())
  end)
end

function TestIter:test_failures_are_seen_by_pawait()
  t.run(function()
    local list = { run(error, "first", 0), run(function() sleep(1) end) }
    local results = {}
    run(function()
      for task in vim_async.iter(list) do results[#results + 1] = { pawait(task) } end
    end):wait()
    t.assertEquals(results, { { false, "first" }, { true } })
  end)
end

function TestIter:test_one_that_is_left_is_forgotten_by_the_tasks()
  t.run(function()
    local task = run(sleep, 10)
    local kept = setmetatable({}, { __mode = "k" })
    do
      local next_task = vim_async.iter { task }
      kept[next_task] = true
    end
    t.collect()
    t.assertNil(next(kept))
    task:wait()
  end)
end

-- Semaphores

function TestVimSemaphore:test_so_many_are_inside_in_the_order_of_their_coming()
  local log = {}
  in_task(function()
    local semaphore = vim_async.semaphore(2)
    for i = 1, 4 do
      run(function()
        semaphore:with(function()
          log[#log + 1] = "in " .. i
          sleep(10)
          log[#log + 1] = "out " .. i
        end)
      end)
    end
  end)
  t.assertEquals(log, { "in 1", "in 2", "out 1", "out 2", "in 3", "in 4", "out 3", "out 4" })
end

function TestVimSemaphore:test_with_gives_back_after_an_error_and_returns_results()
  in_task(function()
    local semaphore = vim_async.semaphore()
    t.assertEquals(select(2, pcall(semaphore.with, semaphore, function() error("inside", 0) end)), "inside")
    t.assertEquals(table.pack(semaphore:with(function() return 1, nil end)), { 1, nil, n = 2 })
  end)
end

function TestVimSemaphore:test_a_waiter_that_is_closed_takes_nothing()
  in_task(function()
    local semaphore = vim_async.semaphore(1)
    semaphore:acquire()
    local first = run(function() semaphore:acquire() end)
    local second = run(function()
      semaphore:acquire()
      return "has it"
    end)
    checkpoint()
    first:close()
    semaphore:release()
    t.assertEquals(await(second), "has it")
  end)
end

function TestVimSemaphore:test_one_that_was_let_in_and_is_closed_before_it_runs_passes_it_on()
  in_task(function()
    local semaphore = vim_async.semaphore(1)
    semaphore:acquire()
    local first = run(function() semaphore:acquire() end)
    local second = run(function()
      semaphore:acquire()
      return "has it"
    end)
    checkpoint()
    semaphore:release()
    first:close()
    t.assertEquals(await(second), "has it")
    semaphore:release()
    semaphore:acquire()
  end)
end

function TestVimSemaphore:test_who_waits_does_not_run_within_release()
  in_task(function()
    local log, semaphore = {}, vim_async.semaphore(1)
    semaphore:acquire()
    run(function()
      semaphore:acquire()
      log[#log + 1] = "waiter"
    end)
    checkpoint()
    semaphore:release()
    log[#log + 1] = "released"
    sleep(1)
    t.assertEquals(log, { "released", "waiter" })
  end)
end

function TestVimSemaphore:test_one_release_too_many_is_an_error()
  in_task(function()
    t.assertStrContains(tostring(t.error_of(function() vim_async.semaphore(1):release() end)),
      "greater than max permits")
    for _, permits in ipairs { 0, -1, 1.5, math.huge } do
      t.assertStrContains(t.error_of(vim_async.semaphore, permits), "permits: expected positive integer")
    end
  end)
end

-- Waiting from outside

function TestWait:test_in_a_task_of_asyncios_it_suspends()
  t.run(function()
    local other = asyncio.create_task(asyncio.sleep, 0.001, "ran meanwhile")
    t.assertEquals(run(function() sleep(10) return "waited" end):wait(), "waited")
    t.assertTrue(other:done())
  end)
end

function TestWait:test_it_raises_timeout_and_closes_nothing()
  t.run(function()
    local task = run(function() sleep(100) return "late" end)
    t.assertEquals(t.error_of(task.wait, task, 10), "timeout")
    t.assertEquals({ task:pwait(0) }, { false, "timeout" })
    t.assertEquals(task:wait(), "late")
  end)
end

function TestWait:test_a_cancelled_wait_leaves_the_task_alone()
  t.run(function()
    local task = run(function() sleep(100) return "fine" end)
    local waiting = asyncio.create_task(function() task:pwait() end)
    asyncio.sleep(0.01)
    waiting:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, waiting)
    t.assertEquals(task:wait(), "fine")
  end)
end

function TestWait:test_await_of_asyncios_gives_the_results_and_closes_when_cancelled()
  t.run(function()
    t.assertEquals(table.pack(asyncio.await(run(function() sleep(1) return 1, nil end))), { 1, nil, n = 2 })
    t.assertEquals(t.error_of(asyncio.await, run(error, "broken", 0)), "broken")
    local ended = false
    local task = run(function()
      pcall(forever)
      pcall(sleep, 1)
      ended = true
    end)
    local waiting = asyncio.create_task(asyncio.await, task)
    asyncio.sleep(0.01)
    waiting:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, waiting)
    t.assertTrue(ended)
    t.assertTrue(waiting:cancelled())
  end)
end

function TestWait:test_in_a_task_of_vim_asyncs_it_raises()
  in_task(function()
    local other = run(sleep, 1)
    for _, name in ipairs { "wait", "pwait" } do
      local err = t.error_of(other[name], other)
      t.assertStrContains(tostring(err), name .. "() cannot wait in a task of vim_async: await(task)")
    end
  end)
end

function TestWait:test_in_a_callback_of_a_running_loop_it_raises()
  t.run(function()
    local task, err = run(sleep, 1), nil
    turn(function() err = t.error_of(task.wait, task) end)
    task:wait()
    t.assertStrContains(tostring(err), "cannot wait outside of a task")
  end)
end

function TestWait:test_outside_of_a_loop_the_modules_own_runs()
  local log, callback = {}, nil
  local task = run(function()
    log[#log + 1] = "started"
    await(function(cb) callback = cb end)
    sleep(1)
    return "done"
  end)
  t.assertEquals(log, { "started" })
  t.assertEquals({ task:pwait(1) }, { false, "timeout" })
  callback()
  t.assertEquals(task:wait(), "done")
  t.assertEquals(task:wait(), "done")
end

function TestWait:test_the_tasks_of_the_modules_loop_go_on_in_later_waits()
  local callback, slept
  local task = run(function()
    sleep(1)
    slept = true
    await(function(cb) callback = cb end)
  end)
  repeat run(sleep, 1):wait() until slept
  t.assertFalse(task:completed())
  callback()
  t.assertTrue(task:completed())
end

function TestWait:test_a_task_of_another_loop_cannot_be_waited_for()
  local task = run(sleep, 1)
  t.run(function()
    t.assertStrContains(tostring(t.error_of(task.wait, task)), "the task lives on another event loop")
  end)
  task:wait()
  local other
  local loop <close> = asyncio.new_event_loop()
  loop:run_until_complete(function() other = run(sleep, 1) end)
  t.assertEquals({ other:pwait() }, { true })
  loop:run_until_complete(function() other = run(sleep, 1) end)
  loop:close()
  t.assertStrContains(tostring(t.error_of(other.wait, other)), "the event loop of the task is closed")
end

function TestWait:test_ctrl_c_ends_it()
  local out, errors, code = t.lua [[
    local asyncio = require "asyncio"
    local vim_async = asyncio.compat.vim_async
    local task = vim_async.run(function()
      vim_async.sleep(10)
      io.popen("(sleep 0.1; kill -INT $PPID) &"):close() -- system() ignores SIGINT, for as long as it takes
      vim_async.sleep(60000)
    end)
    print(asyncio.isinstance(select(2, pcall(task.wait, task)), asyncio.KeyboardInterrupt))
    task:close()
    print(task:pwait())
  ]]
  t.assertEquals({ out, errors, code }, { "true\nfalse\tclosed\n", "", 0 })
end

-- Loops

function TestLoops:test_the_end_of_a_run_closes_what_is_left_and_waits_for_it()
  local log = {}
  asyncio.run(function()
    run(function()
      log[#log + 1] = select(2, pcall(sleep, 1e6))
      log[#log + 1] = "ended"
    end)
  end)
  t.assertEquals(log, { "closed", "ended" })
  asyncio.run(function()
    run(function()
      pcall(await, function()
        return { close = function(_, callback)
          asyncio.get_running_loop():call_later(0.01, function()
            log[#log + 1] = "handle closed"
            callback()
          end)
        end }
      end)
    end)
    asyncio.sleep(0.001)
  end)
  t.assertEquals(log[3], "handle closed")
end

function TestLoops:test_the_virtual_clock_is_theirs()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    run(sleep, 86400000):wait()
    t.assertAlmostEquals(loop:time() - began, 86400, 1e-3)
  end)
end

function TestLoops:test_hooks_take_the_place_of_the_loop()
  local out, errors, code = t.lua [[
    local vim_async = require("asyncio").compat.vim_async
    local later = {}
    vim_async.config {
      schedule = function(fn) later[#later + 1] = fn end,
      wait = function(ms, done)
        for _ = 1, 10 do
          if done() then return true end
          local list = later
          later = {}
          for _, fn in ipairs(list) do fn() end
        end
        return done()
      end,
      new_timer = function()
        return {
          start = function(_, ms, again, callback) later[#later + 1] = function() callback(ms, again) end end,
          close = function(_, callback) callback() end,
        }
      end,
    }
    local task = vim_async.run(function()
      vim_async.sleep(60000)
      local child = vim_async.run(function() return "child" end):detach()
      return vim_async.await(child)
    end)
    print(task:wait())
    print(vim_async.run(function() vim_async.await(function() end) end):pwait(1))
  ]]
  t.assertEquals({ out, errors, code }, { "child\nfalse\ttimeout\n", "", 0 })
end

function TestLoops:test_a_process_may_end_with_tasks_left()
  local out, errors, code = t.lua [[
    local vim_async = require("asyncio").compat.vim_async
    local task = vim_async.run(vim_async.sleep, 1e6)
    vim_async.run(vim_async.sleep, 1):wait()
    print(task:status())
  ]]
  t.assertEquals({ out, errors, code }, { "awaiting\n", "", 0 })
end

-- Coroutines

function TestCoroutines:test_a_task_does_not_yield_by_itself()
  t.run(function()
    local closed = false
    local task = run(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      coroutine.yield "something"
    end)
    t.assertEquals({ task:pwait() }, { false, "Unexpected coroutine.yield()" })
    t.assertTrue(closed)
  end)
end

function TestCoroutines:test_nobody_else_resumes_it()
  t.run(function()
    local log, co = {}, nil
    local task = run(function()
      co = coroutine.running()
      await(function() return handle_of(log, 1) end)
    end)
    t.assertEquals({ coroutine.resume(co) }, { false, "Unexpected coroutine.resume()" })
    t.assertEquals({ task:pwait() }, { false, "Unexpected coroutine.resume()" })
    t.assertEquals(log, { "closing", "closed" })
  end)
end

function TestCoroutines:test_a_generator_within_a_task_is_its_own_affair()
  t.assertEquals(in_task(function()
    local sum = 0
    for x in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
      sleep(1)
      sum = sum + x
    end
    return sum
  end), 6)
end

-- Looking at them

function TestLooks:test_on_complete_gets_the_error_first_and_can_be_taken_back()
  t.run(function()
    local log = {}
    local function note(...) log[#log + 1] = table.pack(...) end
    local task = run(function() sleep(1) return 1, nil end)
    task:on_complete(note)
    task:on_complete(note)()
    task:wait()
    task:on_complete(note)
    run(error, "broken", 0):on_complete(note)
    t.assertEquals(log, { { nil, 1, nil, n = 3 }, { nil, 1, nil, n = 3 }, { "broken", n = 1 } })
  end)
end

function TestLooks:test_on_complete_starts_nothing()
  local log = {}
  in_task(function()
    local child = run(function() log[#log + 1] = "child" end)
    child:on_complete(function() log[#log + 1] = "ended" end)
    log[#log + 1] = "owner"
  end)
  t.assertEquals(log, { "owner", "child", "ended" })
end

function TestLooks:test_an_error_in_a_callback_is_reported()
  t.run(function(reports)
    local task = run(sleep, 1)
    task:on_complete(function() error("in the callback", 0) end)
    task:wait()
    t.assertEquals(t.take_report(reports, "a callback of Task:on_complete failed").exception, "in the callback")
  end)
end

function TestLooks:test_raise_on_error_reports_or_raises()
  t.run(function(reports)
    local failing = run(function()
      sleep(1)
      error("broken", 0)
    end)
    t.assertIs(failing:raise_on_error(), failing)
    failing:pwait()
    t.assertStrContains(t.take_report(reports, "on_complete").exception, "broken\nstack traceback:")
    t.assertStrContains(t.error_of(failing.raise_on_error, failing), "broken\nstack traceback:")
    run(function() end):raise_on_error()
  end)
end

function TestLooks:test_status_says_what_it_does()
  t.run(function()
    local log, task = {}, nil
    task = run(function()
      checkpoint()
      sleep(1)
      log[#log + 1] = task:status()
      coroutine.wrap(function() log[#log + 1] = task:status() end)()
    end)
    log[#log + 1] = task:status()
    task:wait()
    log[#log + 1] = task:status()
    t.assertEquals(log, { "awaiting", "running", "normal", "completed" })
  end)
end

function TestLooks:test_a_traceback_has_the_tasks_that_are_awaited()
  t.run(function()
    local function inner() error "deep" end
    local function middle() await(run(function() inner() end)) end
    local task = run(function() middle() end)
    local ok, err = task:pwait()
    t.assertFalse(ok)
    t.assertStrContains(task:traceback(err), "vim_async_spec.lua:%d+: deep\nstack traceback:\n\t%[thread: ", true)
    local waiting = run(function() await(run(forever)) end)
    t.assertStrContains(waiting:traceback(), ("vim_async_spec.lua:%d: in function"):format(
      debug.getinfo(forever, "S").linedefined))
    waiting:close()
  end)
end

function TestLooks:test_the_tree_has_all_tasks_with_names_and_places()
  t.run(function()
    local parent = run("parent", function()
      run("child", function() run("grandchild", forever) end)
      run(forever)
    end)
    t.assertEquals(vim_async._inspect_tree(), table.concat({
      "parent [awaiting]", "├─ child [awaiting]", "│  └─ grandchild [awaiting]", "└─ [awaiting]",
    }, "\n"))
    parent:close()
    vim_async.config { debug = true }
    local placed = run("placed", forever)
    vim_async.config { debug = false }
    t.assertStrContains(vim_async._inspect_tree(), "placed@.*vim_async_spec.lua:%d+ %[awaiting%]", true)
    placed:close()
  end)
end

function TestLooks:test_wrong_arguments_are_told()
  t.run(function()
    local task = run(sleep, 1)
    local function says(text, fn, ...) t.assertStrContains(t.error_of(fn, ...), text) end
    says("bad argument #1 to 'run' (function expected, got nil", run)
    says("bad argument #2 to 'run' (function expected, got nil", run, "name")
    says("bad argument #1 to 'wrap' (integer", vim_async.wrap, "x")
    says("bad argument #2 to 'wrap' (function", vim_async.wrap, 1)
    says("bad argument #1 to 'iter' (list of tasks", vim_async.iter)
    says("bad argument #1 to 'iter' (tasks of vim_async expected, got string at 1", vim_async.iter, { "x" })
    says("bad argument #1 to 'sleep' (number of milliseconds", sleep)
    says("bad argument #1 to 'timeout'", vim_async.timeout)
    says("bad argument #2 to 'timeout' (task of vim_async", vim_async.timeout, 1, {})
    says("bad argument #1 to 'completed'", vim_async.completed)
    says("bad argument #1 to 'semaphore'", vim_async.semaphore, "x")
    says("bad argument #1 to 'config'", vim_async.config)
    says("bad argument #1 to 'config' ('wait': function expected, got number", vim_async.config, { wait = 1 })
    says("bad argument #1 to 'wait' (number of milliseconds", task.wait, task, "x")
    says("bad argument #1 to 'pwait'", task.pwait, task, "x")
    says("bad argument #1 to 'close'", task.close, task, 1)
    says("bad argument #1 to 'on_complete'", task.on_complete, task)
    says("bad argument #1 to 'with'", vim_async.semaphore().with, vim_async.semaphore())
    for _, name in ipairs { "wait", "pwait", "close", "detach", "on_complete", "completed", "status", "traceback",
      "raise_on_error" } do
      says("bad argument #1 to '" .. name .. "' (asyncio.VimTask expected, got table", task[name], {})
    end
    t.assertStrContains(error_in_task and select(2, run(await, {}):pwait()),
      "bad argument #1 to 'await' (task, future, function, or a callback's place and a function expected, got table")
    t.assertStrContains(select(2, run(await, 0):pwait()), "the callback's place expected, 1 to 250")
    t.assertStrContains(select(2, run(await, 1):pwait()), "bad argument #2 to 'await'")
    task:wait()
  end)
end

t.finish()
