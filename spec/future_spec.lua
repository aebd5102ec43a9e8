-- Futures: the result cell and its callbacks.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep
local InvalidStateError, CancelledError = asyncio.InvalidStateError, asyncio.CancelledError

local function new_future() return asyncio.get_running_loop():create_future() end

TestFuture = {}

function TestFuture:test_begins_pending()
  t.run(function()
    local future = new_future()
    t.assertFalse(future:done())
    t.assertFalse(future:cancelled())
    t.assert_raises(InvalidStateError, future.result, future)
    t.assert_raises(InvalidStateError, future.exception, future)
  end)
end

function TestFuture:test_result_gives_any_values()
  t.run(function()
    for _, values in ipairs { table.pack(), table.pack(nil), table.pack(false), table.pack(nil, nil),
      table.pack(1, nil, 3, nil), table.pack(table.pack(1, 2)) } do
      local future = new_future()
      t.assertEquals(select("#", future:set_result(table.unpack(values, 1, values.n))), 0)
      t.assertTrue(future:done())
      t.assertFalse(future:cancelled())
      t.assertEquals(table.pack(future:result()), values)
      t.assertEquals(table.pack(future:result()), values)
      t.assertEquals(table.pack(future:exception()), { n = 2, nil, false })
    end
  end)
end

function TestFuture:test_may_have_fields_beside_its_methods()
  t.run(function()
    local future, other = new_future(), new_future()
    future:_fields { kind = "strange", done = "hidden" }
    t.assertEquals({ future.kind, type(future.done), future.unknown }, { "strange", "function" })
    t.assertTrue(rawequal(future.done, other.done))
    t.assertNil(other.kind)
    t.assertStrMatches(tostring(future), "asyncio.Future: pending %(0x%x+%)")
    future:set_result(1, 2)
    t.assertEquals({ await(future) }, { 1, 2 })
    t.assertStrContains(t.error_of(getmetatable(future).__index, 1, "kind"), "asyncio.Future expected")
  end)
end

function TestFuture:test_any_value_is_an_error_and_told_from_none()
  t.run(function()
    for _, value in ipairs { "text", 42, false, {}, print } do
      local future = new_future()
      future:set_exception(value)
      t.assertTrue(future:done())
      t.assertFalse(future:cancelled())
      t.assertEquals(table.pack(future:exception()), { n = 2, value, true })
      t.assertTrue(rawequal(t.error_of(future.result, future), value))
    end
    local future = new_future()
    future:set_exception(nil)
    t.assertEquals(table.pack(future:exception()), { n = 2, nil, true })
    t.assertEquals(table.pack(pcall(future.result, future)), { n = 2, false, t.NO_ERROR })
  end)
end

function TestFuture:test_is_set_once()
  t.run(function()
    local function each(future)
      t.assert_raises(InvalidStateError, future.set_result, future, 2)
      t.assert_raises(InvalidStateError, future.set_exception, future, 2)
      t.assertFalse(future:cancel())
    end
    local future = new_future()
    future:set_result(1)
    each(future)
    t.assertEquals(future:result(), 1)
    future = new_future()
    future:set_exception(1)
    each(future)
    t.assertEquals(future:exception(), 1)
    future = new_future()
    t.assertTrue(future:cancel())
    each(future)
    t.assertTrue(future:cancelled())
  end)
end

function TestFuture:test_cancelled_raises_with_the_message()
  t.run(function()
    local future = new_future()
    t.assertTrue(future:cancel("no more"))
    t.assertTrue(future:done())
    t.assertTrue(future:cancelled())
    t.assertEquals(t.assert_raises(CancelledError, future.result, future).message, "no more")
    t.assert_raises(CancelledError, future.exception, future)
    t.assert_raises(CancelledError, await, future)
  end)
end

function TestFuture:test_tells_its_loop()
  local loop <close> = asyncio.new_event_loop()
  local future = loop:create_future()
  t.assertIs(future:get_loop(), loop)
  loop:close()
  t.assert_raises(asyncio.ClosedError, future.get_loop, future)
end

function TestFuture:test_tostring_tells_the_state()
  t.run(function()
    local future = new_future()
    t.assertStrContains(tostring(future), "pending")
    future:set_result("the value")
    t.assertStrContains(tostring(future), "the value")
    future = new_future()
    future:cancel()
    t.assertStrContains(tostring(future), "cancelled")
    future = new_future()
    future:set_exception("the error")
    future:exception()
    t.assertStrContains(tostring(future), "the error")
    future = new_future()
    future:set_result(1, 2)
    t.assertStrContains(tostring(future), "done")
  end)
end

function TestFuture:test_isfuture_tells_futures_and_tasks_from_all_else()
  t.run(function()
    t.assertTrue(asyncio.isfuture(new_future()))
    t.assertTrue(asyncio.isfuture(asyncio.current_task()))
    for _, value in ipairs { 1, "text", {}, print, io.stdout, coroutine.running() } do
      t.assertFalse(asyncio.isfuture(value))
    end
  end)
end

function TestFuture:test_methods_refuse_anything_else()
  t.run(function()
    local future = new_future()
    for _, name in ipairs { "done", "result", "set_result", "cancel", "add_done_callback" } do
      t.assertStrContains(t.error_of(future[name], 42), "bad argument #1")
      t.assertStrContains(t.error_of(future[name], io.stdout), "bad argument #1")
    end
    local task = asyncio.current_task()
    t.assertStrContains(t.error_of(task.get_name, future), "bad argument #1")
  end)
end

function TestFuture:test_of_a_closed_loop_can_be_read_but_not_set()
  local loop = asyncio.new_event_loop()
  local pending, done = loop:create_future(), loop:create_future()
  done:set_result(1)
  loop:close()
  t.assertEquals(done:result(), 1)
  t.assertFalse(pending:done())
  t.assert_raises(asyncio.ClosedError, pending.set_result, pending, 1)
  t.assert_raises(asyncio.ClosedError, pending.set_exception, pending, 1)
  t.assert_raises(asyncio.ClosedError, pending.add_done_callback, pending, print)
  t.assertFalse(pending:cancel())
end

function TestFuture:test_nobody_holds_is_garbage()
  t.run(function()
    local weak = setmetatable({}, { __mode = "k" })
    local function make(use)
      local future = new_future()
      use(future)
      weak[future] = true
    end
    make(function() end)
    make(function(future) future:set_result {} end)
    make(function(future) future:add_done_callback(print) end)
    t.collect()
    t.assertNil(next(weak))
  end)
end

function TestFuture:test_keeps_who_waits_for_it_waiting_however_often_it_is_collected()
  t.run(function()
    local future = new_future()
    local task = create_task(await, future)
    sleep(0)
    t.collect()
    future:set_result("value")
    future = nil -- luacheck: ignore
    t.collect()
    t.assertEquals(await(task), "value")
  end)
end

TestFutureCallback = {}

function TestFutureCallback:test_runs_from_the_loop_and_never_inside_set_result()
  t.run(function()
    local future, seen = new_future(), nil
    future:add_done_callback(function(...)
      seen = table.pack(...)
      t.assertNil(asyncio.current_task())
    end)
    future:set_result(1)
    t.assertNil(seen)
    sleep(0)
    t.assertEquals(seen, { n = 1, future })
  end)
end

function TestFutureCallback:test_run_in_the_order_of_registration()
  t.run(function()
    local future, log = new_future(), {}
    for i = 1, 20 do future:add_done_callback(function() log[#log + 1] = i end) end
    future:set_result()
    sleep(0)
    for i = 1, 20 do t.assertEquals(log[i], i) end
    t.assertEquals(#log, 20)
  end)
end

function TestFutureCallback:test_on_a_done_future_runs_at_the_next_turn()
  t.run(function()
    local future, called = new_future(), 0
    future:set_result()
    future:add_done_callback(function() called = called + 1 end)
    t.assertEquals(called, 0)
    sleep(0)
    t.assertEquals(called, 1)
    sleep(0)
    t.assertEquals(called, 1)
  end)
end

function TestFutureCallback:test_runs_once_for_each_registration()
  t.run(function()
    local future, called = new_future(), 0
    local function callback() called = called + 1 end
    future:add_done_callback(callback)
    future:add_done_callback(callback)
    future:set_result()
    sleep(0)
    t.assertEquals(called, 2)
  end)
end

function TestFutureCallback:test_removed_is_not_called_and_the_count_is_returned()
  t.run(function()
    local future, log = new_future(), {}
    local function a() log[#log + 1] = "a" end
    local function b() log[#log + 1] = "b" end
    for _, fn in ipairs { a, b, a, b, b } do future:add_done_callback(fn) end
    t.assertEquals(future:remove_done_callback(a), 2)
    t.assertEquals(future:remove_done_callback(a), 0)
    t.assertEquals(future:remove_done_callback(print), 0)
    future:set_result()
    sleep(0)
    t.assertEquals(log, { "b", "b", "b" })
    t.assertEquals(future:remove_done_callback(b), 0)
    t.assertEquals(new_future():remove_done_callback(b), 0)
  end)
end

function TestFutureCallback:test_runs_for_errors_and_cancellations_too()
  t.run(function()
    local log = {}
    local failed, cancelled = new_future(), new_future()
    failed:add_done_callback(function(f) log[#log + 1] = f:exception() end)
    cancelled:add_done_callback(function(f) log[#log + 1] = f:cancelled() end)
    failed:set_exception("boom")
    cancelled:cancel()
    sleep(0)
    t.assertEquals(log, { "boom", true })
  end)
end

function TestFutureCallback:test_runs_after_a_task_has_ended()
  t.run(function()
    local task, result = create_task(sleep, 0.001, "value"), nil
    task:add_done_callback(function(arg) result = arg:result() end)
    await(task)
    sleep(0)
    t.assertEquals(result, "value")
  end)
end

function TestFutureCallback:test_an_error_in_it_is_reported_and_the_others_run()
  t.run(function(reports)
    local future, called = new_future(), false
    future:add_done_callback(function() error("in a callback", 0) end)
    future:add_done_callback(function() called = true end)
    future:set_result()
    sleep(0)
    t.assertTrue(called)
    t.assertStrContains(t.take_report(reports, "callback").exception, "in a callback")
  end)
end

function TestFutureCallback:test_may_add_callbacks_and_set_futures()
  t.run(function()
    local first, second, third = new_future(), new_future(), new_future()
    first:add_done_callback(function(f)
      f:add_done_callback(function() third:set_result("third") end)
      second:set_result("second")
    end)
    first:set_result()
    t.assertEquals({ await(second), await(third) }, { "second", "third" })
  end)
end

function TestFutureCallback:test_may_be_any_callable_and_nothing_else()
  t.run(function()
    local future, seen = new_future(), nil
    future:add_done_callback(setmetatable({}, { __call = function(_, f) seen = f end }))
    t.assertStrContains(t.error_of(future.add_done_callback, future, 42), "bad argument #")
    t.assertStrContains(t.error_of(future.add_done_callback, future), "bad argument #")
    future:set_result()
    sleep(0)
    t.assertIs(seen, future)
  end)
end

function TestFutureCallback:test_ten_thousand_of_them()
  t.run(function()
    local future, called, n = new_future(), 0, t.count(10000)
    for _ = 1, n do future:add_done_callback(function() called = called + 1 end) end
    future:set_result()
    sleep(0)
    t.assertEquals(called, n)
  end)
end

t.finish()
