-- await_callback: what takes a callback is awaited.
local t = require "helper"
local asyncio = t.asyncio
local sleep, create_task, await_callback = asyncio.sleep, asyncio.create_task, asyncio.await_callback

TestAwaitCallback = {}

--- Keeps the callback, for the test to call.
local function keeper(returned)
  local kept = {}
  return kept, function(callback)
    kept.callback = callback
    return returned
  end
end

function TestAwaitCallback:test_waits_for_the_call_and_returns_all_that_it_was_called_with()
  t.run(function()
    local results = table.pack(await_callback(function(x, y, callback)
      asyncio.get_running_loop():call_later(1, callback, x, nil, y, nil)
    end, "x", nil))
    t.assertEquals(results, { "x", nil, nil, nil, n = 4 })
    t.assertEquals(select("#", await_callback(function(callback)
      asyncio.get_running_loop():call_soon(callback)
    end)), 0)
  end)
end

function TestAwaitCallback:test_called_at_once_nothing_waits()
  t.run(function()
    local other_ran = false
    asyncio.get_running_loop():call_soon(function() other_ran = true end)
    t.assertEquals({ await_callback(function(callback) callback(1, 2) end) }, { 1, 2 })
    t.assertFalse(other_ran)
  end)
end

function TestAwaitCallback:test_the_callback_is_the_nth_argument_if_it_is_said()
  t.run(function()
    local function given(list) return table.pack(await_callback(list)) end
    local function fn(...)
      for i = 1, select("#", ...) do
        if type((select(i, ...))) == "function" then return (select(i, ...))(i, select("#", ...)) end
      end
    end
    t.assertEquals(given { fn, "a", "b" }, { 3, 3, n = 2 })
    t.assertEquals(given { fn, "a", "b", at = 1 }, { 1, 3, n = 2 })
    t.assertEquals(given { fn, "a", "b", at = 2 }, { 2, 3, n = 2 })
    t.assertEquals(given { fn, "a", n = 2, at = 4 }, { 4, 4, n = 2 })
    t.assertEquals(given { fn, nil, nil, n = 3 }, { 3, 3, n = 2 })
    t.assertEquals(given { fn, nil, nil, n = 3, at = 1 }, { 1, 3, n = 2 })
    t.assertEquals(given { setmetatable({}, { __call = function(_, ...) return fn(...) end }) }, { 1, 1, n = 2 })
  end)
end

function TestAwaitCallback:test_the_callback_has_a_place_beside_the_arguments()
  t.run(function()
    local called = false
    local function fn() called = true end
    local function refused(list) return t.error_of(await_callback, list) end
    t.assertStrContains(refused { fn, at = 7 }, "bad argument #1 to 'await_callback' ('at': 1 at most for 0 arguments, "
      .. "got 7; 'n' says how many values there are)")
    t.assertStrContains(refused { fn, "a", at = 3 }, "('at': 2 at most for 1 argument, got 3;")
    t.assertFalse(called)
  end)
end

function TestAwaitCallback:test_an_error_of_the_function_is_raised_and_the_callback_does_nothing_then()
  t.run(function()
    local boom, callback = {}, nil
    t.assertIs(t.error_of(await_callback, function(cb)
      callback = cb
      error(boom)
    end), boom)
    callback "late"
    sleep(1)
  end)
end

function TestAwaitCallback:test_the_function_may_wait_itself()
  t.run(function()
    t.assertEquals(await_callback(function(callback)
      sleep(1)
      callback "then"
    end), "then")
  end)
end

function TestAwaitCallback:test_a_coroutine_may_call_it()
  t.run(function()
    local kept, fn = keeper()
    local task = create_task(await_callback, fn)
    sleep(0)
    coroutine.wrap(function() kept.callback "from a coroutine" end)()
    t.assertEquals(asyncio.await(task), "from a coroutine")
  end)
end

function TestAwaitCallback:test_a_coroutine_inside_the_task_may_wait_for_it()
  t.run(function()
    local gen = asyncio.coroutine.wrap(function()
      return await_callback(function(callback) asyncio.get_running_loop():call_later(1, callback, "x") end)
    end)
    t.assertEquals(gen(), "x")
  end)
end

function TestAwaitCallback:test_it_may_be_called_before_the_loop_goes_on()
  local loop <close> = asyncio.new_event_loop()
  local kept, fn = keeper()
  local task = loop:create_task(await_callback, fn)
  loop:run_until_complete(sleep, 0)
  kept.callback "between two runs"
  t.assertEquals(loop:run_until_complete(task), "between two runs")
end

function TestAwaitCallback:test_a_cancellation_calls_cancel_of_what_the_function_returned()
  t.run(function()
    local log = {}
    local handle = {}
    function handle.cancel(self) log[#log + 1] = self == handle and "cancel" end
    function handle.close() log[#log + 1] = "close" end
    local _, fn = keeper(handle)
    local task = create_task(await_callback, fn)
    sleep(1)
    task:cancel "now"
    t.assertEquals(t.error_of(asyncio.await, task).message, "now")
    t.assertEquals(log, { "cancel" })
  end)
end

function TestAwaitCallback:test_or_its_close_which_may_wait()
  t.run(function()
    local closed
    local _, fn = keeper(setmetatable({}, { __index = { close = function()
      sleep(1)
      closed = true
    end } }))
    local task = create_task(await_callback, fn)
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    t.assertTrue(closed)
  end)
end

function TestAwaitCallback:test_of_a_userdata_too()
  t.run(function()
    local file = io.tmpfile()
    local _, fn = keeper(file)
    local task = create_task(await_callback, fn)
    sleep(1)
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(io.type(file), "closed file")
  end)
end

function TestAwaitCallback:test_values_that_cannot_be_stopped_are_no_harm()
  t.run(function()
    for _, value in ipairs { "text", 5, true, {}, { close = 5 }, print } do
      local _, fn = keeper(value)
      local task = create_task(await_callback, fn)
      sleep(1)
      task:cancel()
      asyncio.wait { task }
      t.assertTrue(task:cancelled())
    end
  end)
end

function TestAwaitCallback:test_an_error_in_stopping_is_reported_and_the_cancellation_goes_on()
  t.run(function(reports)
    for _, handle in ipairs {
      { cancel = function() error("no way", 0) end },
      setmetatable({}, { __index = function() error("no way", 0) end }),
    } do
      local _, fn = keeper(handle)
      local task = create_task(await_callback, fn)
      sleep(1)
      task:cancel()
      asyncio.wait { task }
      t.assertTrue(task:cancelled())
      local report = t.take_report(reports, "could not be stopped")
      t.assertEquals(report.exception, "no way")
      t.assertIs(report.task, task)
    end
  end)
end

function TestAwaitCallback:test_a_timeout_stops_it_likewise()
  t.run(function()
    local stopped
    local _, fn = keeper { close = function() stopped = true end }
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() return await_callback(fn) end, 1)
    t.assertTrue(stopped)
  end)
end

function TestAwaitCallback:test_called_in_the_turn_of_a_cancellation_the_call_wins_and_that_comes_later()
  t.run(function()
    local stopped, after
    local kept, fn = keeper { cancel = function() stopped = true end }
    local task = create_task(function()
      local result = await_callback(fn)
      after = pcall(sleep, 1)
      return result
    end)
    sleep(1)
    kept.callback "won"
    task:cancel()
    t.assertEquals(asyncio.await(task), "won")
    t.assertNil(stopped)
    t.assertFalse(after)
  end)
end

function TestAwaitCallback:test_after_a_cancellation_the_call_is_ignored()
  t.run(function()
    local kept, fn = keeper()
    local task = create_task(await_callback, fn)
    sleep(1)
    task:cancel()
    kept.callback "too late"
    asyncio.wait { task }
    t.assertTrue(task:cancelled())
    kept.callback "too late"
  end)
end

function TestAwaitCallback:test_of_several_calls_the_first_counts()
  t.run(function()
    local kept, fn = keeper()
    local task = create_task(await_callback, fn)
    sleep(0)
    kept.callback(1)
    kept.callback(2)
    t.assertEquals(asyncio.await(task), 1)
    kept.callback(3)
  end)
end

function TestAwaitCallback:test_debug_mode_reports_calls_that_are_ignored()
  t.run(function(reports)
    asyncio.get_running_loop():set_debug(true)
    local kept, fn = keeper()
    local task = create_task(await_callback, fn)
    sleep(0)
    kept.callback(1)
    kept.callback(2)
    local report = t.take_report(reports, "called again: ignored")
    t.assertStrContains(report.source_traceback, "callback_spec.lua:" .. debug.getinfo(1, "l").currentline - 2)
    asyncio.await(task)
    task = create_task(await_callback, fn)
    sleep(0)
    task:cancel()
    asyncio.wait { task }
    kept.callback(1)
    t.take_report(reports, "after its task had been cancelled: ignored")
  end)
end

function TestAwaitCallback:test_a_callback_whose_loop_has_gone_does_nothing()
  local kept, fn = keeper()
  do
    local loop <close> = asyncio.new_event_loop()
    loop:create_task(await_callback, fn)
    loop:run_until_complete(sleep, 0)
  end
  kept.callback "nobody"
  kept.callback "nobody"
end

function TestAwaitCallback:test_a_task_whose_coroutine_was_closed_is_not_woken()
  t.run(function()
    local kept, fn = keeper()
    local task = create_task(await_callback, fn)
    sleep(0)
    coroutine.close(task:get_coro())
    kept.callback "nobody"
    t.assert_raises(asyncio.Error, asyncio.await, task)
  end)
end

function TestAwaitCallback:test_a_callback_that_nobody_has_any_more_leaves_nothing()
  t.run(function()
    local weak = setmetatable({}, { __mode = "k" })
    local task = create_task(await_callback, function(callback) weak[callback] = true end)
    sleep(0)
    t.collect()
    t.assertNil(next(weak))
    task:cancel()
    asyncio.wait { task }
  end)
end

function TestAwaitCallback:test_the_callback_keeps_no_task()
  t.run(function()
    local kept, fn = keeper()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local task = create_task(await_callback, fn)
      weak[task] = true
      sleep(0)
      kept.callback()
      asyncio.await(task)
    end
    sleep(0)
    t.collect()
    t.assertNil(next(weak))
    kept.callback()
  end)
end

function TestAwaitCallback:test_a_task_that_waits_for_one_says_so()
  t.run(function()
    local kept, fn = keeper()
    local task = create_task(await_callback, fn)
    sleep(0)
    t.assertStrContains(tostring(task), "waits (callback)")
    t.assertStrContains(asyncio.format_call_graph(task), "callback")
    kept.callback()
    asyncio.await(task)
  end)
end

function TestAwaitCallback:test_calls_that_need_not_wait_give_way()
  t.run(function()
    local turns, done = 0, false
    local other = create_task(function()
      while not done do
        turns = turns + 1
        sleep(0)
      end
    end)
    for _ = 1, 1000 do await_callback(function(callback) callback() end) end
    done = true
    asyncio.await(other)
    t.assertTrue(turns > 2)
  end)
end

function TestAwaitCallback:test_cancelled_before_it_has_called_the_function_it_never_does()
  t.run(function()
    local called
    local task = create_task(function()
      asyncio.current_task():cancel()
      for _ = 1, 200 do await_callback(function(callback) callback() end) end
      called = true
    end)
    asyncio.wait { task }
    t.assertNil(called)
    t.assertTrue(task:cancelled())
  end)
end

function TestAwaitCallback:test_outside_of_a_task_it_is_an_error_and_nothing_is_called()
  local called
  t.assert_raises(asyncio.Error, await_callback, function(callback)
    called = true
    callback()
  end)
  t.assertNil(called)
end

function TestAwaitCallback:test_what_is_no_function_is_an_argument_error()
  t.run(function()
    for _, wrong in ipairs { 5, "print", {}, { 5 }, { n = 2, nil, print } } do
      t.assertStrContains(t.error_of(await_callback, wrong), "bad argument #1 to 'await_callback'")
    end
    t.assertStrContains(t.error_of(await_callback, print()), "write await_callback(f, x)")
    t.assertStrContains(t.error_of(await_callback, { print, att = 1 }), "did you mean 'at'?")
    t.assertStrContains(t.error_of(await_callback, { print, at = 0 }), "bad argument #1 to 'await_callback'")
  end)
end

function TestAwaitCallback:test_a_callback_of_the_loop_may_call_it()
  t.run(function()
    local kept, fn = keeper()
    local task = create_task(await_callback, fn)
    sleep(0)
    asyncio.get_running_loop():call_soon(kept.callback, "from a callback")
    t.assertEquals(asyncio.await(task), "from a callback")
  end)
end

t.finish()
