-- wait and as_completed.
local t = require "helper"
local asyncio = t.asyncio

TestWait = {}
TestAsCompleted = {}

local function after(delay, value)
  return asyncio.create_task(function()
    asyncio.sleep(delay)
    return value
  end)
end

local function failing(delay, err)
  return asyncio.create_task(function()
    asyncio.sleep(delay)
    error(err, 0)
  end)
end

local function pending_future() return asyncio.get_running_loop():create_future() end

local function end_task(...)
  for _, task in ipairs { ... } do
    task:cancel()
    pcall(asyncio.await, task)
  end
end

function TestWait:test_waits_for_all_and_gives_them_in_the_order_of_the_list()
  t.run(function()
    local a, b, c = after(0.02), after(0), after(0.01)
    local done, pending = asyncio.wait { a, b, c }
    t.assertEquals(done, { a, b, c })
    t.assertEquals(pending, {})
  end)
end

function TestWait:test_of_those_that_are_done_already()
  t.run(function()
    local a = after(0)
    asyncio.await(a)
    for _, when in ipairs { "FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED" } do
      t.assertEquals({ asyncio.wait({ a }, { return_when = asyncio[when] }) }, { { a }, {} })
    end
  end)
end

function TestWait:test_FIRST_COMPLETED_ends_with_the_first_and_cancels_nothing()
  t.run(function()
    local a, b, c = after(1000), after(0.002), after(1000)
    local done, pending = asyncio.wait({ a, b, c }, { return_when = asyncio.FIRST_COMPLETED })
    t.assertEquals(done, { b })
    t.assertEquals(pending, { a, c })
    t.assertFalse(a:done() or c:done())
    end_task(a, c)
  end)
end

function TestWait:test_FIRST_COMPLETED_counts_a_cancelled_one()
  t.run(function()
    local a, b = after(1000), after(1000)
    asyncio.get_running_loop():call_soon(b.cancel, b)
    local done, pending = asyncio.wait({ a, b }, { return_when = asyncio.FIRST_COMPLETED })
    t.assertEquals({ done, pending }, { { b }, { a } })
    end_task(a)
  end)
end

function TestWait:test_FIRST_EXCEPTION_ends_with_the_first_failure()
  t.run(function()
    local good, bad, slow = after(0), failing(0.005, "boom"), after(1000)
    local done, pending = asyncio.wait({ slow, bad, good }, { return_when = asyncio.FIRST_EXCEPTION })
    t.assertEquals(done, { bad, good })
    t.assertEquals(pending, { slow })
    t.assertEquals(bad:exception(), "boom")
    end_task(slow)
  end)
end

function TestWait:test_FIRST_EXCEPTION_does_not_count_a_cancelled_one()
  t.run(function()
    local cancelled, good = after(1000), after(0.01)
    asyncio.get_running_loop():call_soon(cancelled.cancel, cancelled)
    local done = asyncio.wait({ cancelled, good }, { return_when = asyncio.FIRST_EXCEPTION })
    t.assertEquals(done, { cancelled, good })
  end)
end

function TestWait:test_FIRST_EXCEPTION_without_a_failure_waits_for_all()
  t.run(function()
    local a, b = after(0.01), after(0)
    local done = asyncio.wait({ a, b }, { return_when = asyncio.FIRST_EXCEPTION })
    t.assertEquals(done, { a, b })
  end)
end

function TestWait:test_FIRST_EXCEPTION_counts_an_error_that_is_nil()
  t.run(function()
    local bad, slow = asyncio.create_task(function() error(nil) end), after(1000)
    local done = asyncio.wait({ slow, bad }, { return_when = asyncio.FIRST_EXCEPTION })
    t.assertEquals(done, { bad })
    bad:exception()
    end_task(slow)
  end)
end

function TestWait:test_raises_none_of_their_errors()
  t.run(function()
    local bad = failing(0, "boom")
    t.assertEquals({ asyncio.wait { bad } }, { { bad }, {} })
    t.assertEquals(t.error_of(asyncio.await, bad), "boom")
  end)
end

function TestWait:test_does_not_count_as_a_look_at_an_error()
  t.run(function(reports)
    asyncio.wait { failing(0, "nobody saw this") }
    t.wait_until(function()
      collectgarbage()
      return #reports > 0
    end)
    t.assertEquals(t.take_report(reports, "never looked at").exception, "nobody saw this")
  end)
end

function TestWait:test_with_a_timeout_returns_when_the_time_is_up_and_cancels_nothing()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local fast, slow = after(0), after(1000)
    local start = loop:time()
    local done, pending = asyncio.wait({ slow, fast }, { timeout = 3 })
    t.assertEquals(loop:time() - start, 3)
    t.assertEquals({ done, pending }, { { fast }, { slow } })
    t.assertFalse(slow:done())
    end_task(slow)
  end)
end

function TestWait:test_with_a_timeout_does_not_wait_for_its_end()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local start = loop:time()
    asyncio.wait({ after(0) }, { timeout = 50 })
    t.assertEquals(loop:time(), start)
  end)
end

function TestWait:test_with_timeout_zero_does_not_wait_long()
  t.run(function()
    local slow = after(1000)
    t.assertEquals({ asyncio.wait({ slow }, { timeout = 0 }) }, { {}, { slow } })
    end_task(slow)
  end)
end

function TestWait:test_starts_functions_and_coroutines_as_tasks()
  t.run(function()
    local function fn()
      asyncio.sleep(0)
      return "fn"
    end
    local done, pending = asyncio.wait { fn, coroutine.create(function() return "coroutine" end) }
    t.assertEquals(#pending, 0)
    t.assertEquals({ done[1]:result(), done[2]:result() }, { "fn", "coroutine" })
  end)
end

function TestWait:test_takes_plain_futures()
  t.run(function()
    local a, b = pending_future(), pending_future()
    asyncio.get_running_loop():call_soon(b.set_result, b, 1)
    local done, pending = asyncio.wait({ a, b }, { return_when = asyncio.FIRST_COMPLETED })
    t.assertEquals({ done, pending }, { { b }, { a } })
  end)
end

function TestWait:test_whose_caller_is_cancelled_leaves_the_others_running()
  t.run(function()
    local slow = after(1000)
    local caller = asyncio.create_task(asyncio.wait, { slow })
    asyncio.sleep(0.002)
    caller:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, caller)
    t.assertFalse(slow:done())
    t.assertEquals(slow:cancelling(), 0)
    end_task(slow)
  end)
end

function TestWait:test_with_wrong_arguments_raises_argument_errors()
  t.run(function()
    local task = after(0)
    for _, arguments in ipairs {
      { nil }, { 42 }, { {} }, { { 42 } }, { { task }, { return_when = "SOMETIME" } },
      { { task }, { return_when = 1 } }, { { task }, { timeout = "x" } },
    } do
      t.assertStrContains(t.error_of(asyncio.wait, table.unpack(arguments, 1, 2)), "bad argument")
    end
    asyncio.await(task)
  end)
end

function TestAsCompleted:test_gives_the_tasks_themselves_in_the_order_in_which_they_end()
  t.run(function()
    local a, b, c = after(0.02, "a"), after(0, "b"), after(0.01, "c")
    local order = {}
    for task in asyncio.as_completed { a, b, c } do
      t.assertTrue(task:done())
      order[#order + 1] = task
    end
    t.assertEquals(order, { b, c, a })
  end)
end

function TestAsCompleted:test_of_an_empty_list_ends_at_once()
  t.run(function()
    for _ in asyncio.as_completed {} do t.fail "nothing to give" end
  end)
end

function TestAsCompleted:test_gives_each_that_ended_in_the_same_turn()
  t.run(function()
    local futures, n = {}, 0
    for i = 1, 5 do futures[i] = pending_future() end
    asyncio.get_running_loop():call_soon(function()
      for i = 5, 1, -1 do futures[i]:set_result(i) end
    end)
    local order = {}
    for future in asyncio.as_completed(futures) do
      n = n + 1
      order[n] = future:result()
    end
    t.assertEquals(order, { 5, 4, 3, 2, 1 })
  end)
end

function TestAsCompleted:test_gives_those_that_are_done_already()
  t.run(function()
    local a = after(0, "a")
    asyncio.await(a)
    local n = 0
    for task in asyncio.as_completed { a } do
      t.assertIs(task, a)
      n = n + 1
    end
    t.assertEquals(n, 1)
  end)
end

function TestAsCompleted:test_gives_each_once_however_often_it_is_in_the_list()
  t.run(function()
    local done, first, second = after(0, "done"), after(1, "first"), after(2, "second")
    asyncio.await(done)
    local order = {}
    for task in asyncio.as_completed { second, done, first, second, done, first, first } do
      order[#order + 1] = task:result()
    end
    t.assertEquals(order, { "done", "first", "second" })
  end)
end

function TestAsCompleted:test_counts_each_once_when_the_time_is_up()
  t.run(function()
    local first, second = after(1), after(3)
    local err = t.assert_raises(asyncio.TimeoutError, function()
      for _ in asyncio.as_completed({ first, second, first, second }, { timeout = 2 }) do end
    end)
    t.assertStrContains(err.message, "1 of 2 did not end")
    asyncio.await(second)
  end)
end

function TestAsCompleted:test_starts_functions_as_tasks()
  t.run(function()
    local sum = 0
    for task in asyncio.as_completed { function() return 1 end, function() return 2 end } do
      sum = sum + task:result()
    end
    t.assertEquals(sum, 3)
  end)
end

function TestAsCompleted:test_lets_its_body_wait()
  t.run(function()
    local got = {}
    for task in asyncio.as_completed { after(0.004, 2), after(0, 1), after(0.002, 3) } do
      asyncio.sleep(0.01)
      got[#got + 1] = asyncio.await(task)
    end
    t.assertEquals(got, { 1, 3, 2 })
  end)
end

function TestAsCompleted:test_leaves_errors_to_whoever_awaits_the_task()
  t.run(function()
    for task in asyncio.as_completed { failing(0, "boom") } do
      t.assertEquals(t.error_of(asyncio.await, task), "boom")
    end
  end)
end

function TestAsCompleted:test_raises_TimeoutError_when_the_time_is_up_and_leaves_the_rest_running()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local fast, slow = after(0), after(1000)
    local got, start = {}, loop:time()
    t.assert_raises(asyncio.TimeoutError, function()
      for task in asyncio.as_completed({ slow, fast }, { timeout = 2 }) do got[#got + 1] = task end
    end)
    t.assertEquals(loop:time() - start, 2)
    t.assertEquals(got, { fast })
    t.assertFalse(slow:done())
    end_task(slow)
  end)
end

function TestAsCompleted:test_first_gives_what_ended_before_the_time_was_up()
  t.run(function()
    local fast, slow, got = after(0), after(1000), {}
    t.assert_raises(asyncio.TimeoutError, function()
      local next_task = asyncio.as_completed({ fast, slow }, { timeout = 0.005 })
      asyncio.sleep(0.03)
      for task in next_task do got[#got + 1] = task end
    end)
    t.assertEquals(got, { fast })
    end_task(slow)
  end)
end

function TestAsCompleted:test_may_be_left_early()
  t.run(function()
    local a, b = after(0), after(1000)
    for task in asyncio.as_completed({ a, b }, { timeout = 30 }) do
      t.assertIs(task, a)
      break
    end
    t.assertFalse(b:done())
    end_task(b)
  end)
end

function TestAsCompleted:test_whose_caller_is_cancelled_leaves_the_others_running()
  t.run(function()
    local slow = after(1000)
    local caller = asyncio.create_task(function()
      for _ in asyncio.as_completed { slow } do t.fail "nothing has ended" end
    end)
    asyncio.sleep(0.002)
    caller:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, caller)
    t.assertFalse(slow:done())
    end_task(slow)
  end)
end

function TestAsCompleted:test_can_be_shared_by_two_tasks()
  t.run(function()
    local next_task = asyncio.as_completed { after(0.002, 1), after(0.004, 2), after(0.006, 3) }
    local got = {}
    local function consumer()
      for task in next_task do got[#got + 1] = task:result() end
    end
    local a, b = asyncio.create_task(consumer), asyncio.create_task(consumer)
    local _, pending = asyncio.wait({ a, b }, { timeout = 10 })
    end_task(table.unpack(pending))
    t.assertEquals(got, { 1, 2, 3 })
    t.assertEquals(#pending, 0)
  end)
end

function TestAsCompleted:test_that_has_been_left_keeps_nothing_alive()
  t.run(function()
    local kept, _, _, iterator = asyncio.as_completed { after(0) }
    local gone = setmetatable({ kept() }, { __mode = "v" })
    getmetatable(iterator).__close(iterator)
    asyncio.sleep(0) -- the task itself no longer holds what it has waited for
    collectgarbage()
    t.assertNil(gone[1])
    t.assertNil(kept())
  end)
end

function TestAsCompleted:test_with_wrong_arguments_raises_argument_errors()
  t.run(function()
    t.assertStrContains(t.error_of(asyncio.as_completed), "bad argument")
    t.assertStrContains(t.error_of(asyncio.as_completed, { 42 }), "bad argument")
    t.assertStrContains(t.error_of(asyncio.as_completed, {}, { timeout = "x" }), "bad argument")
  end)
end

TestWaitForItself = {}

function TestWaitForItself:test_is_refused_by_gather_wait_and_as_completed()
  t.run(function()
    local me = asyncio.current_task()
    for _, fn in ipairs { asyncio.gather, function(x) asyncio.wait { x } end,
      function(x) asyncio.as_completed { x } end } do
      local err = t.assert_raises(asyncio.Error, fn, me)
      t.assertStrContains(err.message, "a task cannot wait for itself")
    end
  end)
end

t.finish()
