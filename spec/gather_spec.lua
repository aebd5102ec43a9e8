-- gather: several at once, the results in order.
local t = require "helper"
local asyncio = t.asyncio

TestGather = {}

local function after(delay, ...)
  local values = table.pack(...)
  return function()
    asyncio.sleep(delay)
    return table.unpack(values, 1, values.n)
  end
end

--- A task that waits until it is cancelled, and tells of it.
local function sleeper(log, name)
  return asyncio.create_task(function()
    local _ <close> = setmetatable({}, { __close = function() log[#log + 1] = name end })
    asyncio.sleep(1000)
  end)
end

function TestGather:test_gives_results_in_the_order_of_its_arguments()
  t.run(function()
    local a, b, c = asyncio.gather(after(0.02, "a"), after(0, "b"), after(0.01, "c"))
    t.assertEquals({ a, b, c }, { "a", "b", "c" })
  end)
end

function TestGather:test_runs_all_at_once()
  t.run(function()
    local running, most = 0, 0
    local function one()
      running = running + 1
      most = math.max(most, running)
      asyncio.sleep(0)
      running = running - 1
    end
    asyncio.gather(one, one, one)
    t.assertEquals(most, 3)
  end)
end

function TestGather:test_takes_tasks_futures_coroutines_functions_and_awaitables()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local future = loop:create_future()
    loop:call_soon(future.set_result, future, "future")
    local awaitable = setmetatable({}, {
      __await = function()
        asyncio.sleep(0)
        return "awaitable"
      end,
    })
    local results = table.pack(asyncio.gather(asyncio.create_task(after(0, "task")), future,
      coroutine.create(after(0, "coroutine")), after(0, "function"), awaitable))
    t.assertEquals(results, { "task", "future", "coroutine", "function", "awaitable", n = 5 })
  end)
end

function TestGather:test_gives_one_value_for_each_and_keeps_nil_and_false()
  t.run(function()
    local results = table.pack(asyncio.gather(after(0, 1, 2, 3), after(0), after(0, false), after(0, nil)))
    t.assertEquals(results, { 1, nil, false, nil, n = 4 })
  end)
end

function TestGather:test_of_nothing_gives_nothing()
  t.run(function()
    t.assertEquals(select("#", asyncio.gather()), 0)
    t.assertEquals(asyncio.gather {}, { n = 0 })
  end)
end

function TestGather:test_of_a_table_gives_a_list_with_n()
  t.run(function()
    local results = asyncio.gather { after(0.01, "a"), after(0), after(0, "c"), after(0) }
    t.assertEquals(results, { "a", nil, "c", nil, n = 4 })
  end)
end

function TestGather:test_works_when_all_are_done_already()
  t.run(function()
    local future = asyncio.get_running_loop():create_future()
    future:set_result "x"
    t.assertEquals({ asyncio.gather(future, future) }, { "x", "x" })
  end)
end

function TestGather:test_gives_the_result_of_one_task_at_both_of_its_places()
  t.run(function()
    local n = 0
    local task = asyncio.create_task(function()
      n = n + 1
      asyncio.sleep(0)
      return n
    end)
    t.assertEquals({ asyncio.gather(task, after(0, "x"), task) }, { 1, "x", 1 })
  end)
end

function TestGather:test_of_a_thousand()
  t.run(function()
    local functions = {}
    for i = 1, 1000 do functions[i] = after(0, i) end
    local results = asyncio.gather(functions)
    t.assertEquals(results.n, 1000)
    for i = 1, 1000 do t.assertEquals(results[i], i) end
  end)
end

function TestGather:test_raises_the_first_error_at_once_and_lets_the_others_go_on()
  t.run(function()
    local boom, finished = {}, false
    local other = asyncio.create_task(function()
      asyncio.sleep(0.02)
      finished = true
    end)
    local err = t.error_of(asyncio.gather, other, function() error(boom) end, after(1000))
    t.assertIs(err, boom)
    t.assertFalse(finished)
    t.assertFalse(other:done())
    asyncio.await(other)
    t.assertTrue(finished)
    for _, task in ipairs(asyncio.all_tasks()) do -- the one that would sleep for long
      if task ~= asyncio.current_task() then
        task:cancel()
        pcall(asyncio.await, task)
      end
    end
  end)
end

function TestGather:test_raises_errors_of_any_value()
  t.run(function()
    for _, value in ipairs { false, "text", 42 } do
      t.assertEquals({ pcall(asyncio.gather, function() error(value, 0) end) }, { false, value })
    end
    local results = table.pack(pcall(asyncio.gather, function() error(nil) end))
    t.assertEquals(results, { false, t.NO_ERROR, n = 2 })
  end)
end

function TestGather:test_looks_at_the_later_errors_too()
  t.run(function() -- helper.run would find the reports of errors that nobody looked at
    t.assertEquals(t.error_of(asyncio.gather, function() error("first", 0) end, function()
      asyncio.sleep(0.005)
      error("second", 0)
    end), "first")
    asyncio.sleep(0.02)
    t.collect()
    asyncio.sleep(0)
  end)
end

function TestGather:test_with_return_exceptions_puts_errors_in_the_place_of_results()
  t.run(function()
    local boom = asyncio.Error "boom"
    local results = asyncio.gather {
      after(0.01, "late"), function() error(boom) end, after(0), return_exceptions = true,
    }
    t.assertEquals(results.n, 3)
    t.assertEquals(results[1], "late")
    t.assertIs(results[2], boom)
    t.assertNil(results[3])
  end)
end

function TestGather:test_with_return_exceptions_gives_a_cancelled_task_as_its_error()
  t.run(function()
    local log = {}
    local task = sleeper(log, "task")
    asyncio.get_running_loop():call_soon(task.cancel, task, "enough")
    local results = asyncio.gather { task, after(0.01, "x"), return_exceptions = true }
    t.assertEquals(t.assert_isinstance(results[1], asyncio.CancelledError).message, "enough")
    t.assertEquals(results[2], "x")
  end)
end

function TestGather:test_raises_CancelledError_when_one_of_them_is_cancelled()
  t.run(function()
    local log = {}
    local a, b = sleeper(log, "a"), sleeper(log, "b")
    asyncio.get_running_loop():call_soon(a.cancel, a)
    t.assert_raises(asyncio.CancelledError, asyncio.gather, a, b)
    t.assertFalse(b:done()) -- and the other goes on, as after any error
    asyncio.sleep(0) -- nor was the caller itself asked to stop
    t.assertEquals(asyncio.current_task():cancelling(), 0)
    b:cancel()
    pcall(asyncio.await, b)
  end)
end

function TestGather:test_whose_caller_is_cancelled_cancels_all_and_waits_for_them()
  t.run(function()
    local log = {}
    local a, b = sleeper(log, "a"), nil
    b = asyncio.create_task(function()
      local _ <close> = setmetatable({}, {
        __close = function()
          asyncio.sleep(0.01)
          log[#log + 1] = "b"
        end,
      })
      asyncio.sleep(1000)
    end)
    local caller = asyncio.create_task(function()
      local _ <close> = setmetatable({}, { __close = function() log[#log + 1] = "caller" end })
      asyncio.gather(a, b)
    end)
    asyncio.sleep(0.002)
    caller:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, caller)
    t.assertEquals(log, { "a", "b", "caller" })
    t.assertTrue(caller:cancelled() and a:cancelled() and b:cancelled())
  end)
end

function TestGather:test_whose_caller_is_cancelled_raises_that_even_with_return_exceptions()
  t.run(function()
    local log = {}
    local caller = asyncio.create_task(function()
      asyncio.gather { sleeper(log, "a"), return_exceptions = true }
      log[#log + 1] = "went on"
    end)
    asyncio.sleep(0.002)
    caller:cancel "stop"
    t.assertEquals(t.assert_raises(asyncio.CancelledError, asyncio.await, caller).message, "stop")
    t.assertEquals(log, { "a" })
  end)
end

function TestGather:test_whose_caller_was_cancelled_before_it_cancels_what_it_would_wait_for()
  t.run(function()
    local log = {}
    local a = sleeper(log, "a")
    asyncio.sleep(0)
    local caller = asyncio.create_task(function()
      asyncio.current_task():cancel()
      asyncio.gather(a)
    end)
    t.assert_raises(asyncio.CancelledError, asyncio.await, caller)
    t.assertTrue(a:cancelled())
  end)
end

function TestGather:test_nests()
  t.run(function()
    local a, b = asyncio.gather(function() return { asyncio.gather(after(0, 1), after(0.005, 2)) } end, after(0, 3))
    t.assertEquals({ a, b }, { { 1, 2 }, 3 })
  end)
end

function TestGather:test_of_something_else_is_an_argument_error_that_says_which()
  t.run(function()
    t.assertStrContains(t.error_of(asyncio.gather, after(0), 42), "bad argument #2 to 'gather'")
    t.assertStrContains(t.error_of(asyncio.gather, nil), "bad argument #1 to 'gather'")
    t.assertStrContains(t.error_of(asyncio.gather, after(0), nil), "bad argument #2 to 'gather'")
    asyncio.sleep(0.01)
  end)
end

function TestGather:test_tells_where_options_stand_when_they_are_given_as_in_python()
  t.run(function()
    local opts = { return_exceptions = true }
    local text = "bad argument #2 to 'gather' (options stand in the list: write gather{a, b, return_exceptions=true})"
    t.assertStrContains(t.error_of(asyncio.gather, after(0), opts), text)
    t.assertStrContains(t.error_of(asyncio.gather, { after(0) }, opts), text)
    t.assertStrContains(t.error_of(asyncio.gather, after(0), {}), "got table; write gather(function()")
  end)
end

function TestGather:test_with_a_wrong_argument_starts_nothing()
  t.run(function()
    local ran = false
    t.error_of(asyncio.gather, function() ran = true end, 42)
    t.assertEquals(#asyncio.all_tasks(), 1)
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertFalse(ran)
  end)
end

function TestGather:test_outside_of_a_loop_raises()
  t.assertFalse((pcall(asyncio.gather, function() end)))
end

t.finish()
