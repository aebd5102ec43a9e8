-- Tasks: how they are made, what they return, what they tell of themselves, and how many there may be.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

-- Fewer where every allocation costs a collection.
local gc = (os.getenv "SPEC_GC" or "") ~= ""
local function many(n) return gc and t.count(n // 20) or t.count(n) end

local function new_future() return asyncio.get_running_loop():create_future() end

local function done_future(...)
  local future = new_future()
  future:set_result(...)
  return future
end

-- A task that has taken its first step and waits.
local function parked(fn, ...)
  local task = create_task(fn, ...)
  sleep(0)
  t.assertStrContains(tostring(task), "waits")
  return task
end

TestCreateTask = {}

function TestCreateTask:test_starts_at_the_next_turn()
  t.run(function()
    local started = false
    local task = create_task(function() started = true end)
    t.assertFalse(started)
    t.assertFalse(task:done())
    await(task)
    t.assertTrue(started)
  end)
end

function TestCreateTask:test_starts_tasks_in_the_order_in_which_they_were_made()
  t.run(function()
    local log = {}
    for i = 1, 5 do create_task(table.insert, log, i) end
    sleep(0)
    t.assertEquals(log, { 1, 2, 3, 4, 5 })
  end)
end

function TestCreateTask:test_passes_its_arguments_nil_included()
  t.run(function()
    t.assertEquals(await(create_task(select, "#", nil, 2, nil)), 3)
    t.assertEquals(table.pack(await(create_task(table.pack, 1, nil, 3, nil)))[1], { n = 4, 1, nil, 3 })
  end)
end

function TestCreateTask:test_takes_a_table_with_function_arguments_and_name()
  t.run(function()
    local task = create_task { function(...) return ... end, 1, 2, name = "adder" }
    t.assertEquals(task:get_name(), "adder")
    t.assertEquals({ await(task) }, { 1, 2 })
    t.assertEquals(await(create_task { sleep, 0, "no name" }), "no name")
  end)
end

function TestCreateTask:test_takes_a_coroutine_that_has_not_started()
  t.run(function()
    local co = coroutine.create(function(a, b) return a + sleep(0, b), coroutine.running() end)
    local task = create_task(co, 1, 2)
    t.assertIs(task:get_coro(), co)
    local sum, running = await(task)
    t.assertEquals(sum, 3)
    t.assertIs(running, co)
  end)
end

function TestCreateTask:test_takes_a_coroutine_in_a_table()
  t.run(function()
    local co = coroutine.create(function(a) return sleep(0, a) end)
    t.assertEquals(await(create_task { co, "argument", name = "co" }), "argument")
  end)
end

function TestCreateTask:test_takes_a_callable_object()
  t.run(function()
    local object = setmetatable({ 10 }, { __call = function(self, x) return self[1] + sleep(0, x) end })
    t.assertEquals(await(create_task(object, 5)), 15)
  end)
end

function TestCreateTask:test_takes_a_c_function()
  t.run(function() t.assertEquals(await(create_task(math.max, 3, 9, 4)), 9) end)
end

function TestCreateTask:test_is_a_method_of_the_loop_too()
  t.run(function()
    local loop = asyncio.get_running_loop()
    t.assertEquals(await(loop:create_task(sleep, 0, "value")), "value")
    local task = loop:create_task { sleep, 0, "value", name = "named" }
    t.assertEquals(task:get_name(), "named")
    t.assertEquals(await(task), "value")
  end)
end

function TestCreateTask:test_refuses_what_cannot_run_and_names_it()
  t.run(function()
    for _, case in ipairs { { 42, "number" }, { "text", "string" }, { true, "boolean" },
      { setmetatable({}, {}), "table" } } do
      local err = t.error_of(create_task, case[1])
      t.assertStrMatches(err, "bad argument #1 to '.*create_task' .*got " .. case[2] .. ".*")
    end
    t.assertStrMatches(t.error_of(create_task), "bad argument #1 to '.*create_task'.*")
    t.assertStrMatches(t.error_of(create_task, {}), "bad argument #1 to '.*create_task'.*")
  end)
end

function TestCreateTask:test_refuses_a_coroutine_that_has_started_or_ended()
  t.run(function()
    local co = coroutine.create(function() coroutine.yield() end)
    coroutine.resume(co)
    t.assertStrContains(t.error_of(create_task, co), "has not started")
    coroutine.resume(co)
    t.assertStrContains(t.error_of(create_task, co), "has not started")
    t.assertStrContains(t.error_of(create_task, coroutine.running()), "has not started")
  end)
end

function TestCreateTask:test_refuses_a_coroutine_that_is_a_task_already()
  t.run(function()
    local co = coroutine.create(function() return sleep(0, "once") end)
    local first = create_task(co)
    local refused = not pcall(create_task, co)
    t.assertEquals(await(first), "once")
    t.assertTrue(refused)
  end)
end

function TestCreateTask:test_raises_outside_of_a_running_loop()
  local err = t.error_of(create_task, print)
  t.assertStrContains(tostring(err), "no event loop is running")
end

function TestCreateTask:test_a_task_that_nobody_holds_runs_to_its_end()
  t.run(function()
    local ended = false
    create_task(function()
      sleep(0.002)
      sleep(0)
      ended = true
    end)
    t.collect()
    sleep(0)
    t.collect()
    t.wait_until(function() return ended end)
  end)
end

function TestCreateTask:test_an_ended_task_and_what_it_held_are_garbage()
  t.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    do
      local argument = {}
      local task = create_task(function(x)
        local y = { x }
        sleep(0)
        return y
      end, argument)
      weak[1], weak[2], weak[3] = argument, task, await(task)
    end
    sleep(0)
    t.collect()
    t.assertNil(weak[1])
    t.assertNil(weak[2])
    t.assertNil(weak[3])
  end)
end

TestTaskResult = {}

local function identity(...) return ... end

local function assert_passes(...)
  local expected = table.pack(...)
  local task = create_task(identity, ...)
  t.assertEquals(table.pack(await(task)), expected)
  t.assertEquals(table.pack(task:result()), expected)
  t.assertEquals(table.pack(await(task)), expected)
end

function TestTaskResult:test_are_all_the_values_that_its_function_returned()
  t.run(function()
    assert_passes()
    assert_passes(1)
    assert_passes(nil)
    assert_passes(false)
    assert_passes(nil, nil)
    assert_passes(1, nil, 3, nil)
    assert_passes("text", 1.5, {}, print)
  end)
end

function TestTaskResult:test_may_be_a_thousand_values()
  t.run(function()
    local list = {}
    for i = 1, 1000 do list[i] = i end
    t.assertEquals({ await(create_task(table.unpack, list)) }, list)
  end)
end

function TestTaskResult:test_a_table_with_n_stays_the_table()
  t.run(function()
    local value = table.pack(1, 2, 3)
    t.assertIs(await(create_task(identity, value)), value)
  end)
end

function TestTaskResult:test_leave_run_as_they_are()
  t.assertEquals(table.pack(asyncio.run(identity, nil, false, nil)), { n = 3, nil, false, nil })
  t.assertEquals(select("#", asyncio.run(function() end)), 0)
end

function TestTaskResult:test_is_not_ready_before_the_end()
  t.run(function()
    local task = parked(sleep, 0.001)
    t.assert_raises(asyncio.InvalidStateError, task.result, task)
    t.assert_raises(asyncio.InvalidStateError, task.exception, task)
    await(task)
  end)
end

function TestTaskResult:test_cannot_be_set_from_outside()
  t.run(function()
    local task = create_task(sleep, 0, "its own")
    t.assert_raises(asyncio.InvalidStateError, task.set_result, task, 1)
    t.assert_raises(asyncio.InvalidStateError, task.set_exception, task, 1)
    t.assertEquals(await(task), "its own")
  end)
end

TestTaskError = {}

function TestTaskError:test_any_value_is_an_error()
  t.run(function()
    local object = setmetatable({}, {})
    for _, value in ipairs { "text", 42, false, {}, object, print } do
      local task = create_task(error, value, 0)
      local ok, err = pcall(await, task)
      t.assertFalse(ok)
      t.assertTrue(rawequal(err, value))
      local seen, failed = task:exception()
      t.assertTrue(rawequal(seen, value))
      t.assertTrue(failed)
      t.assertFalse(task:cancelled())
    end
  end)
end

function TestTaskError:test_nil_is_an_error_too()
  t.run(function()
    local task = create_task(error, nil)
    t.assertEquals(table.pack(pcall(await, task)), { n = 2, false, t.NO_ERROR })
    t.assertEquals(table.pack(task:exception()), { n = 2, t.NO_ERROR, true })
  end)
end

function TestTaskError:test_string_errors_reach_the_awaiter_unchanged()
  t.run(function()
    local task = create_task(function()
      sleep(0)
      error "with its place"
    end)
    t.assertStrMatches(t.error_of(await, task), "[^\n]*task_spec.lua:%d+: with its place")
  end)
end

function TestTaskError:test_every_awaiter_gets_it()
  t.run(function()
    local task = create_task(function()
      sleep(0.001)
      error({ "the one" }, 0)
    end)
    local awaiters = {}
    for i = 1, 3 do awaiters[i] = create_task(pcall, await, task) end
    local first = select(2, await(awaiters[1]))
    t.assertEquals(first, { "the one" })
    t.assertIs(select(2, await(awaiters[2])), first)
    t.assertIs(select(2, await(awaiters[3])), first)
  end)
end

function TestTaskError:test_a_stack_overflow_ends_the_task_alone()
  t.run(function()
    local function endless() return 1 + endless() end
    t.assertStrContains(tostring(t.error_of(await, create_task(endless))), "stack overflow")
    t.assertEquals(await(create_task(sleep, 0, "well")), "well")
  end)
end

TestTaskNames = {}

function TestTaskNames:test_are_unique_unless_they_are_set()
  t.run(function()
    local a, b = create_task(sleep, 0), create_task(sleep, 0)
    t.assertStrMatches(a:get_name(), "Task%-%d+")
    t.assertStrMatches(b:get_name(), "Task%-%d+")
    t.assertNotEquals(a:get_name(), b:get_name())
    a:set_name("mine")
    t.assertEquals(a:get_name(), "mine")
    asyncio.gather(a, b)
    t.assertEquals(a:get_name(), "mine")
  end)
end

TestTaskString = {}

local PLACE = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0") .. ":%d+"

function TestTaskString:test_tells_name_state_and_the_place_of_the_function()
  t.run(function()
    local function work() sleep(0.001) end
    local place = ("%s:%d"):format(debug.getinfo(work, "S").short_src, debug.getinfo(work, "S").linedefined)
    local task = create_task { work, name = "worker" }
    for _, state in ipairs { "new", "waits (sleep)", "done" } do
      local text = tostring(task)
      t.assertStrContains(text, "'worker'")
      t.assertStrContains(text, state)
      t.assertStrContains(text, place)
      if state == "waits (sleep)" then await(task) else sleep(0) end
    end
  end)
end

function TestTaskString:test_tells_that_it_runs()
  t.run(function()
    local text = await(create_task(function() return tostring(asyncio.current_task()) end))
    t.assertStrContains(text, "running")
    t.assertStrMatches(text, ".*" .. PLACE .. ".*")
  end)
end

function TestTaskString:test_tells_what_it_waits_for()
  t.run(function()
    local inner = create_task { sleep, 60, name = "the inner one" }
    local outer = parked(await, inner)
    t.assertStrContains(tostring(outer), "'the inner one'")
    local future = new_future()
    local other = parked(await, future)
    t.assertStrContains(tostring(other), "waits (await")
    future:set_result()
    t.assertStrContains(tostring(other), "ready")
    outer:cancel()
    pcall(await, outer)
    await(other)
  end)
end

function TestTaskString:test_tells_how_it_ended()
  t.run(function()
    local failed = create_task(error, "boom", 0)
    local cancelled = create_task(sleep, 60)
    local done = create_task(identity, "value")
    cancelled:cancel()
    asyncio.wait { failed, cancelled, done }
    t.assertStrContains(tostring(failed), "failed")
    t.assertStrContains(tostring(failed), "boom")
    t.assertStrContains(tostring(cancelled), "cancelled")
    t.assertStrContains(tostring(done), "done")
    t.assertStrContains(tostring(done), "value")
    failed:exception()
  end)
end

function TestTaskString:test_of_a_coroutine_tells_its_function_while_it_lives()
  t.run(function()
    local function work() sleep(0) end
    local line = ":" .. debug.getinfo(work, "S").linedefined
    local task = create_task(coroutine.create(work))
    t.assertStrContains(tostring(task), line)
    sleep(0)
    t.assertStrContains(tostring(task), line)
    await(task)
    t.assertStrContains(tostring(task), "done")
  end)
end

TestTaskCoro = {}

function TestTaskCoro:test_is_the_coroutine_that_runs()
  t.run(function()
    local task
    task = create_task(function()
      return rawequal(coroutine.running(), task:get_coro())
    end)
    t.assertTrue(await(task))
    t.assertEquals(coroutine.status(parked(sleep, 0):get_coro()), "suspended")
    sleep(0)
    sleep(0)
  end)
end

function TestTaskCoro:test_asked_for_it_belongs_to_no_other_task()
  t.run(function()
    local task = parked(sleep, 0)
    local co = task:get_coro()
    await(task)
    for _ = 1, 10 do
      t.assertFalse(rawequal(await(create_task(coroutine.running)), co))
    end
    t.assertEquals(coroutine.status(co), "dead")
  end)
end

function TestTaskCoro:test_is_dead_after_the_end()
  t.run(function()
    local called = false
    local function call() called = true end
    for _, fn in ipairs { function() return call end, function() error(call, 0) end } do
      local co = coroutine.create(fn)
      pcall(await, create_task(co))
      t.assertEquals(coroutine.status(co), "dead")
      t.assertEquals({ coroutine.resume(co) }, { false, "cannot resume dead coroutine" })
      t.assertFalse(called)
      t.assertFalse((pcall(create_task, co)))
    end
  end)
end

TestTaskTraceback = {}

function TestTaskTraceback:test_tells_where_a_waiting_task_stands()
  t.run(function()
    local function inner_function() sleep(0.001) end
    local task = parked(function() inner_function() end)
    local text = task:traceback()
    t.assertStrContains(text, "sleep")
    t.assertStrContains(text, "task_spec.lua:" .. debug.getinfo(inner_function, "S").linedefined)
    await(task)
  end)
end

function TestTaskTraceback:test_tells_where_the_error_was_raised()
  t.run(function()
    local function failing_function()
      sleep(0)
      error "boom"
    end
    local task = create_task(function()
      failing_function()
      return 1 -- no tail call
    end)
    pcall(await, task)
    local line = debug.getinfo(failing_function, "S").linedefined
    t.assertStrContains(task:traceback(), "stack traceback:")
    t.assertStrContains(task:traceback(), "task_spec.lua:" .. line + 2)
  end)
end

function TestTaskTraceback:test_of_an_error_object_is_a_field_of_it()
  t.run(function()
    local err = t.error_of(await, create_task(function() error(asyncio.Error "boom") end))
    t.assertStrContains(err.traceback, "task_spec.lua")
    t.assertStrContains(tostring(err), "boom")
  end)
end

function TestTaskTraceback:test_is_nil_after_a_good_end()
  t.run(function()
    local task = create_task(sleep, 0)
    await(task)
    t.assertNil(task:traceback())
  end)
end

TestCurrentTask = {}

function TestCurrentTask:test_is_the_task_that_runs()
  t.run(function()
    local task
    task = create_task(function()
      local before = asyncio.current_task()
      sleep(0)
      return rawequal(before, task), rawequal(asyncio.current_task(), task)
    end)
    t.assertEquals({ await(task) }, { true, true })
    t.assertFalse(rawequal(asyncio.current_task(), task))
  end)
end

function TestCurrentTask:test_is_nil_outside_and_in_a_callback()
  t.assertNil(asyncio.current_task())
  t.run(function()
    local future = new_future()
    asyncio.get_running_loop():call_soon(function()
      future:set_result(asyncio.current_task() == nil)
    end)
    t.assertTrue(await(future))
  end)
  t.assertNil(asyncio.current_task())
end

function TestCurrentTask:test_is_the_same_in_an_awaited_coroutine_and_in_a_standard_one()
  t.run(function()
    local self = asyncio.current_task()
    t.assertIs(await(coroutine.create(asyncio.current_task)), self)
    t.assertIs(coroutine.wrap(asyncio.current_task)(), self)
  end)
end

TestAllTasks = {}

function TestAllTasks:test_lists_those_that_have_not_ended()
  t.run(function()
    local self = asyncio.current_task()
    t.assertEquals(#asyncio.all_tasks(), 1)
    local future = new_future()
    local new, waiting = create_task(sleep, 0), create_task(await, future)
    local found = {}
    for _, task in ipairs(asyncio.all_tasks()) do found[task] = true end
    t.assertEquals(found, { [self] = true, [new] = true, [waiting] = true })
    await(new)
    t.assertEquals(#asyncio.all_tasks(), 2)
    future:set_result()
    await(waiting)
    t.assertEquals(#asyncio.all_tasks(), 1)
    t.assertIs(asyncio.all_tasks()[1], self)
  end)
end

function TestAllTasks:test_takes_a_loop_and_raises_without_one_outside()
  t.error_of(asyncio.all_tasks)
  local loop <close> = asyncio.new_event_loop()
  t.assertEquals(asyncio.all_tasks(loop), {})
  local task = loop:create_task(sleep, 0)
  t.assertEquals(asyncio.all_tasks(loop), { task })
  loop:run_until_complete(task)
  t.assertEquals(asyncio.all_tasks(loop), {})
end

TestManyTasks = {}

function TestManyTasks:test_a_hundred_thousand_at_once()
  t.run(function()
    local n, gate, sum = many(100000), new_future(), 0
    local tasks = {}
    for i = 1, n do
      tasks[i] = create_task(function()
        local one = await(gate)
        sum = sum + one
        return i
      end)
    end
    sleep(0)
    t.assertEquals(#asyncio.all_tasks(), n + 1)
    gate:set_result(1)
    local results = asyncio.gather(tasks)
    t.assertEquals(sum, n)
    t.assertEquals(results.n, n)
    for i = 1, n do
      if results[i] ~= i then t.fail(("result %d is %s"):format(i, tostring(results[i]))) end
    end
  end)
end

function TestManyTasks:test_a_hundred_thousand_sleepers_wake_in_order()
  t.run(function()
    local n, log = many(100000), {}
    local loop = asyncio.get_running_loop()
    local base = loop:time() + 0.05
    for i = 1, n do
      create_task(function()
        sleep(base - loop:time())
        log[#log + 1] = i
      end)
    end
    t.wait_until(function() return #log == n end)
    for i = 1, n do if log[i] ~= i then t.fail(("sleeper %d wakes at place %d"):format(log[i], i)) end end
  end)
end

function TestManyTasks:test_ten_thousand_started_by_one_another_deep()
  t.run(function()
    local function depth(n)
      if n == 0 then return 0 end
      return await(create_task(depth, n - 1)) + 1
    end
    local n = many(10000)
    t.assertEquals(depth(n), n)
  end)
end

function TestManyTasks:test_an_error_through_ten_thousand_tasks()
  t.run(function()
    local function depth(n)
      if n == 0 then error("from the bottom", 0) end
      return (await(create_task(depth, n - 1)))
    end
    t.assertEquals(t.error_of(depth, many(10000)), "from the bottom")
  end)
end

function TestManyTasks:test_one_after_the_other_leave_nothing_behind()
  t.run(function()
    local function burst(n)
      for _ = 1, n do await(create_task(sleep, 0)) end
      t.collect()
      return collectgarbage "count"
    end
    burst(2000)
    local before = burst(2000)
    local after = burst(many(40000))
    t.assertTrue(after < before + 100, ("%.0f KB more"):format(after - before))
  end)
end

-- What a task must not do.
TestImpossibleTasks = {}

function TestImpossibleTasks:test_a_task_that_awaits_itself_gets_an_error()
  t.run(function()
    local task
    task = create_task(function() return await(task) end)
    t.assertStrContains(tostring(t.error_of(await, task)), "itself")
  end)
end

function TestImpossibleTasks:test_a_cycle_of_tasks_is_an_error_for_the_one_that_closes_it()
  t.run(function()
    local tasks = {}
    local n, errors = 5, 0
    for i = 1, n do
      tasks[i] = create_task(function()
        local ok, err = pcall(await, tasks[i % n + 1])
        if not ok then
          errors = errors + 1
          t.assertStrContains(tostring(err), "waits for this one")
        end
        return i
      end)
    end
    for i = 1, n do t.assertEquals(await(tasks[i]), i) end
    t.assertEquals(errors, 1)
  end)
end

function TestImpossibleTasks:test_a_stray_yield_fails_the_task_and_says_what_to_do()
  t.run(function()
    local after, closed = false, false
    local task = create_task(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      sleep(0)
      coroutine.yield(1)
      after = true
    end)
    local err = tostring(t.error_of(await, task))
    t.assertStrContains(err, "coroutine.yield")
    t.assertStrContains(err, "asyncio.sleep(0)")
    t.assertFalse(after)
    t.assertTrue(closed)
  end)
end

function TestImpossibleTasks:test_a_stray_yield_of_asyncio_coroutine_says_so_at_once()
  t.run(function()
    local task = create_task(function() asyncio.coroutine.yield(1) end)
    t.assertStrContains(tostring(t.error_of(await, task)), "asyncio.sleep(0)")
  end)
end

function TestImpossibleTasks:test_a_stray_yield_fails_a_task_made_of_a_coroutine_too()
  t.run(function()
    local task = create_task(coroutine.create(function() coroutine.yield() end))
    t.assertStrContains(tostring(t.error_of(await, task)), "coroutine.yield")
  end)
end

-- A stranger: the standard library's resume and close on the coroutine of a task.
TestStranger = {}

-- Each way to wait, with what ends it.
local function waits()
  local future, inner = new_future(), nil
  return {
    ["sleep"] = { function() sleep(0.002) end, function() end },
    ["future"] = { function() await(future) end, function() future:set_result() end },
    ["task"] = {
      function()
        inner = create_task(sleep, 0.002)
        await(inner)
      end,
      function() end,
    },
    ["give way"] = { function() sleep(0) end, function() end },
  }
end

local function check_stranger(meddle)
  for name, case in pairs(waits()) do
    local after = false
    local task = parked(function()
      case[1]()
      after = true
    end)
    meddle(task:get_coro())
    case[2]()
    local ok, err = pcall(await, task)
    t.assertFalse(ok, name)
    t.assertStrContains(tostring(err), "something else")
    t.assertFalse(after, name)
  end
  t.assertEquals(await(create_task(sleep, 0, "the loop is well")), "the loop is well")
end

function TestStranger:test_who_resumes_a_waiting_task_breaks_it_and_nothing_else()
  t.run(function() check_stranger(function(co) coroutine.resume(co, "a value") end) end)
end

function TestStranger:test_who_closes_a_waiting_task_breaks_it_and_nothing_else()
  t.run(function() check_stranger(coroutine.close) end)
end

function TestStranger:test_who_resumes_and_closes_it_breaks_it_and_nothing_else()
  t.run(function()
    check_stranger(function(co)
      coroutine.resume(co)
      coroutine.close(co)
    end)
  end)
end

function TestStranger:test_who_resumes_it_with_asyncio_coroutine_is_refused()
  t.run(function()
    for name, case in pairs(waits()) do
      local after = false
      local task = parked(function()
        case[1]()
        after = true
      end)
      local ok, err = asyncio.coroutine.resume(task:get_coro())
      t.assertFalse(ok, name)
      t.assertStrContains(err, "the coroutine of a task")
      t.assertErrorMsgContains("the coroutine of a task", asyncio.coroutine.close, task:get_coro())
      case[2]()
      await(task)
      t.assertTrue(after, name)
    end
  end)
end

function TestStranger:test_a_new_task_resumed_from_outside_fails()
  t.run(function()
    local task = create_task(function() return sleep(0, "value") end)
    local co = task:get_coro()
    local _, err = coroutine.resume(co)
    t.assertNotNil(err)
    t.assertStrContains(tostring(t.error_of(await, task)), "something else")
  end)
end

function TestStranger:test_a_new_task_closed_from_outside_fails()
  t.run(function()
    local ran = false
    local task = create_task(function() ran = true end)
    coroutine.close(task:get_coro())
    t.assertStrContains(tostring(t.error_of(await, task)), "something else")
    t.assertFalse(ran)
  end)
end

function TestStranger:test_the_await_that_a_stranger_resumes_raises_and_takes_nothing()
  t.run(function()
    local future, seen = new_future(), nil
    local task = parked(function()
      local _
      _, seen = pcall(await, future)
    end)
    coroutine.resume(task:get_coro())
    t.assertStrContains(tostring(seen), "something else")
    future:set_result("value")
    t.error_of(await, task)
    t.assertEquals(await(future), "value")
  end)
end

function TestStranger:test_a_task_that_was_closed_can_still_be_cancelled()
  t.run(function()
    local task = parked(await, new_future())
    coroutine.close(task:get_coro())
    task:cancel()
    local err = t.error_of(await, task)
    t.assertNotNil(err)
    t.assertTrue(task:done())
  end)
end

function TestStranger:test_a_running_task_cannot_be_resumed_or_closed()
  t.run(function()
    local co = asyncio.current_task():get_coro()
    t.assertEquals({ coroutine.resume(co) }, { false, "cannot resume non-suspended coroutine" })
    t.assertStrContains(t.error_of(coroutine.close, co), "cannot close a running coroutine")
    t.assertStrContains(t.error_of(coroutine.wrap(function() coroutine.close(co) end)), "normal")
  end)
end

-- One budget for each step: a task whose calls never have to wait gives way all the same.
TestBudget = {}

function TestBudget:test_a_loop_over_a_done_future_lets_others_run()
  t.run(function()
    local done, awaited, over = done_future(), 0, false
    local greedy = create_task(function()
      while not over do
        await(done)
        awaited = awaited + 1
      end
    end)
    local turns, most = 0, 0
    local last = 0
    for _ = 1, 20 do
      sleep(0)
      turns, most = turns + 1, math.max(most, awaited - last)
      last = awaited
    end
    over = true
    await(greedy)
    t.assertTrue(most <= 256, most .. " calls in one step")
    t.assertTrue(most >= 16, most .. " calls in one step") -- it pays for no more turns than it must
  end)
end

function TestBudget:test_two_greedy_tasks_advance_alike()
  t.run(function()
    local done, counts = done_future(), { 0, 0 }
    local function greedy(i)
      while counts[1] + counts[2] < 10000 do
        await(done)
        counts[i] = counts[i] + 1
      end
    end
    asyncio.gather(create_task(greedy, 1), create_task(greedy, 2))
    t.assertTrue(math.abs(counts[1] - counts[2]) <= 256, counts[1] .. " and " .. counts[2])
  end)
end

function TestBudget:test_timers_are_not_kept_waiting()
  t.real(function()
    local done, over = done_future(), false
    asyncio.get_running_loop():call_later(0.005, function() over = true end)
    while not over do await(done) end
  end)
end

function TestBudget:test_giving_way_keeps_the_results()
  t.run(function()
    local done = done_future(1, nil, "three")
    for _ = 1, 1000 do t.assertEquals(table.pack(await(done)), { n = 3, 1, nil, "three" }) end
    local failed = new_future()
    failed:set_exception("boom")
    for _ = 1, 1000 do t.assertEquals(t.error_of(await, failed), "boom") end
  end)
end

function TestBudget:test_counts_in_a_generator_too()
  t.run(function()
    local done, others = done_future("item"), 0
    local other = create_task(function()
      while true do
        sleep(0)
        others = others + 1
      end
    end)
    local generator = asyncio.coroutine.wrap(function()
      for _ = 1, 1000 do asyncio.coroutine.yield(await(done)) end
    end)
    for _ = 1, 1000 do t.assertEquals(generator(), "item") end
    t.assertTrue(others >= 3, others .. " turns")
    other:cancel()
    pcall(await, other)
  end)
end

function TestBudget:test_does_not_hinder_where_nothing_can_be_suspended()
  t.run(function()
    local done, list = done_future(true), {}
    for i = 1, 500 do list[i] = 500 - i end
    table.sort(list, function(a, b) return await(done) and a < b end)
    t.assertEquals(list[1], 0)
    t.assertEquals(list[500], 499)
  end)
end

TestSleep = {}

function TestSleep:test_gives_back_its_values()
  t.run(function()
    t.assertEquals(table.pack(sleep(0.001, 1, nil, 3, nil)), { n = 4, 1, nil, 3, nil })
    t.assertEquals(table.pack(sleep(0, nil)), { n = 1, nil })
    t.assertEquals(select("#", sleep(0)), 0)
    t.assertEquals(select("#", sleep(0.001)), 0)
  end)
end

function TestSleep:test_never_ends_early()
  t.real(function()
    local loop = asyncio.get_running_loop()
    for _, delay in ipairs { 0.00005, 0.0003, 0.0009, 0.001, 0.0015, 0.01 } do
      local before = loop:time()
      sleep(delay)
      t.assertTrue(loop:time() - before >= delay, delay)
    end
  end)
end

function TestSleep:test_zero_or_less_gives_way_for_one_turn()
  t.run(function()
    local log = {}
    local function note(name, delay)
      for i = 1, 3 do
        log[#log + 1] = name .. i
        sleep(delay)
      end
    end
    asyncio.gather(create_task(note, "a", 0), create_task(note, "b", -1))
    t.assertEquals(log, { "a1", "b1", "a2", "b2", "a3", "b3" })
  end)
end

function TestSleep:test_many_run_side_by_side()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local before = loop:time()
    local tasks = {}
    for i = 1, 100 do tasks[i] = create_task(sleep, 1, i) end
    asyncio.gather(tasks)
    t.assertEquals(loop:time() - before, 1) -- one after the other it would be 100
  end)
end

function TestSleep:test_wants_a_number()
  t.run(function()
    t.assertStrMatches(t.error_of(sleep, "soon"), "bad argument #1 to '.*sleep' %(number.*got string%)")
    t.assertStrMatches(t.error_of(sleep), "bad argument #1 to '.*sleep' %(number.*got no value%)")
    t.assertStrContains(t.error_of(sleep, 0 / 0), "NaN")
  end)
end

t.finish()
