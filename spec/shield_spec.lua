-- shield: what is waited for goes on when the waiter is cancelled.
local t = require "helper"
local asyncio = t.asyncio

TestShield = {}

local function after(delay, ...)
  local values = table.pack(...)
  return asyncio.create_task(function()
    asyncio.sleep(delay)
    return table.unpack(values, 1, values.n)
  end)
end

function TestShield:test_gives_a_future_without_suspending()
  t.run(function()
    local other_ran = false
    asyncio.get_running_loop():call_soon(function() other_ran = true end)
    local task = after(0)
    local future = asyncio.shield(task)
    t.assertFalse(other_ran)
    t.assertTrue(asyncio.isfuture(future))
    t.assertFalse(future:done())
    asyncio.await(future)
  end)
end

function TestShield:test_passes_all_results_on()
  t.run(function()
    local results = table.pack(asyncio.await(asyncio.shield(after(0, nil, 2, false, nil))))
    t.assertEquals(results, { nil, 2, false, nil, n = 4 })
  end)
end

function TestShield:test_passes_the_error_on_as_the_same_value()
  t.run(function()
    local boom = {}
    t.assertIs(t.error_of(asyncio.await, asyncio.shield(function() error(boom) end)), boom)
    local results = table.pack(pcall(asyncio.await, asyncio.shield(function() error(nil) end)))
    t.assertEquals(results, { false, t.NO_ERROR, n = 2 })
  end)
end

function TestShield:test_of_something_done_gives_its_result()
  t.run(function()
    local task = after(0, "x")
    asyncio.await(task)
    t.assertEquals(asyncio.await(asyncio.shield(task)), "x")
  end)
end

function TestShield:test_starts_a_function_as_a_task()
  t.run(function()
    local inside
    asyncio.await(asyncio.shield(function() inside = asyncio.current_task() end))
    t.assertNotIs(inside, asyncio.current_task())
  end)
end

function TestShield:test_whose_future_is_cancelled_leaves_the_task_running()
  t.run(function()
    local task = after(0.005, "x")
    local future = asyncio.shield(task)
    t.assertTrue(future:cancel())
    t.assert_raises(asyncio.CancelledError, asyncio.await, future)
    t.assertEquals(task:cancelling(), 0)
    t.assertEquals(asyncio.await(task), "x")
  end)
end

function TestShield:test_whose_waiter_is_cancelled_leaves_the_task_running()
  t.run(function()
    local event = asyncio.Event()
    local task = asyncio.create_task(function() return event:wait() and "x" end)
    local waiter = asyncio.create_task(function() asyncio.await(asyncio.shield(task)) end)
    asyncio.sleep(0)
    waiter:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, waiter)
    t.assertFalse(task:done())
    event:set()
    t.assertEquals(asyncio.await(task), "x")
  end)
end

function TestShield:test_in_wait_for_leaves_the_task_running_when_the_time_is_up()
  t.run(function()
    local task = after(0.05, "x")
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, asyncio.shield(task), 0.005)
    t.assertFalse(task:done())
    t.assertEquals(asyncio.wait_for(asyncio.shield(task), 30), "x")
  end)
end

function TestShield:test_is_cancelled_when_the_task_is()
  t.run(function()
    local task = after(1000)
    local future = asyncio.shield(task)
    asyncio.sleep(0)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, future)
    t.assertTrue(future:cancelled())
  end)
end

function TestShield:test_twice_over_one_task_cancels_only_the_one_waiter()
  t.run(function()
    local task = after(0.01, "x")
    local a = asyncio.create_task(function() return asyncio.await(asyncio.shield(task)) end)
    local b = asyncio.create_task(function() return asyncio.await(asyncio.shield(task)) end)
    asyncio.sleep(0.001)
    a:cancel()
    t.assertEquals(asyncio.await(b), "x")
    t.assertTrue(a:cancelled())
  end)
end

function TestShield:test_an_error_that_comes_after_the_waiter_was_cancelled_is_reported()
  t.run(function(reports)
    do
      local task = asyncio.create_task(function()
        asyncio.sleep(0.005)
        error("too late", 0)
      end)
      local future = asyncio.shield(task)
      asyncio.sleep(0)
      future:cancel()
    end
    t.wait_until(function()
      collectgarbage()
      return #reports > 0
    end)
    t.assertEquals(t.take_report(reports, "never looked at").exception, "too late")
  end)
end

function TestShield:test_an_error_that_nobody_awaits_is_reported_once()
  t.run(function(reports)
    asyncio.shield(function() error("unseen", 0) end)
    t.wait_until(function()
      collectgarbage()
      return #reports > 0
    end)
    asyncio.sleep(0.01)
    t.collect()
    asyncio.sleep(0.01)
    t.assertEquals(#reports, 1)
    t.take_report(reports, "never looked at")
  end)
end

function TestShield:test_cancelled_after_the_task_has_ended_has_its_result()
  t.run(function()
    local inner = asyncio.get_running_loop():create_future()
    local outer = asyncio.shield(inner)
    inner:set_result("x", "y")
    t.assertFalse(outer:done())
    t.assertFalse(outer:cancel())
    t.assertEquals({ outer:result() }, { "x", "y" })
    asyncio.sleep(0)
    t.assertFalse(outer:cancelled())
  end)
end

function TestShield:test_that_somebody_has_ended_stays_so()
  t.run(function()
    local inner = asyncio.get_running_loop():create_future()
    local outer = asyncio.shield(inner)
    outer:set_result "by hand"
    inner:set_exception "unseen"
    t.assertEquals(asyncio.await(outer), "by hand")
    asyncio.sleep(0)
    t.assertEquals(inner:exception(), "unseen")
  end)
end

function TestShield:test_of_a_shield_ends_with_it()
  t.run(function()
    local inner = asyncio.get_running_loop():create_future()
    local outer = asyncio.shield(asyncio.shield(inner))
    inner:set_result(1)
    t.assertEquals(asyncio.await(outer), 1)
  end)
end

function TestShield:test_of_what_never_ends_is_collected_with_it()
  t.run(function()
    local weak = setmetatable({}, { __mode = "v" })
    weak.inner = asyncio.get_running_loop():create_future()
    weak.outer = asyncio.shield(weak.inner)
    t.collect()
    t.assertNil(weak.inner)
    t.assertNil(weak.outer)
  end)
end

function TestShield:test_that_nobody_has_ends_before_it_is_collected()
  t.run(function()
    local inner, seen = asyncio.get_running_loop():create_future(), nil
    asyncio.shield(inner):add_done_callback(function(future) seen = future:result() end)
    t.collect()
    inner:set_result "x"
    inner = nil
    t.collect()
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertEquals(seen, "x")
  end)
end

function TestShield:test_lets_go_of_what_it_was_when_it_is_cancelled()
  t.run(function()
    local inner = asyncio.get_running_loop():create_future()
    local weak = setmetatable({ asyncio.shield(inner), asyncio.shield(inner) }, { __mode = "v" })
    weak[1]:cancel()
    t.collect()
    t.assertNil(weak[1])
    t.assertNotNil(weak[2])
    inner:set_result()
    asyncio.sleep(0)
    t.collect()
    t.assertNil(weak[2])
  end)
end

function TestShield:test_of_something_else_is_an_argument_error()
  t.run(function()
    t.assertStrContains(t.error_of(asyncio.shield, 42), "bad argument #1 to 'shield'")
    t.assertStrContains(t.error_of(asyncio.shield), "bad argument #1 to 'shield'")
  end)
end

t.finish()
