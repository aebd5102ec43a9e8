-- The event loop itself: its turns, how it runs and stops, several of them, and what callbacks may do.
local t = require "helper"
local asyncio = t.asyncio
local await, create_task, sleep = asyncio.await, asyncio.create_task, asyncio.sleep

local function running() return asyncio.get_running_loop() end

-- Calls fn with a new loop, which is closed afterwards, and the list of its reports.
local function with_loop(fn)
  local loop <close> = asyncio.new_event_loop()
  fn(loop, t.reports_of(loop, true))
end

TestCallSoon = {}

function TestCallSoon:test_calls_in_order_at_the_next_turn()
  t.run(function()
    local log = {}
    for i = 1, 5 do running():call_soon(table.insert, log, i) end
    t.assertEquals(log, {})
    sleep(0)
    t.assertEquals(log, { 1, 2, 3, 4, 5 })
  end)
end

function TestCallSoon:test_passes_its_arguments_nil_included()
  t.run(function()
    local got
    running():call_soon(function(...) got = table.pack(...) end, nil, 2, nil)
    sleep(0)
    t.assertEquals(got, { n = 3, nil, 2, nil })
  end)
end

function TestCallSoon:test_what_it_adds_runs_in_the_turn_after()
  t.run(function()
    local log, loop = {}, running()
    loop:call_soon(function()
      log[#log + 1] = "first"
      loop:call_soon(function() log[#log + 1] = "third" end)
    end)
    loop:call_soon(function() log[#log + 1] = "second" end)
    sleep(0)
    t.assertEquals(log, { "first", "second" })
    sleep(0)
    t.assertEquals(log, { "first", "second", "third" })
  end)
end

function TestCallSoon:test_takes_turns_with_tasks_first_come_first_served()
  t.run(function()
    local log = {}
    create_task(table.insert, log, "task 1")
    running():call_soon(table.insert, log, "call")
    create_task(table.insert, log, "task 2")
    sleep(0)
    t.assertEquals(log, { "task 1", "call", "task 2" })
  end)
end

function TestCallSoon:test_cancelled_is_not_called()
  t.run(function()
    local called = false
    local handle = running():call_soon(function() called = true end)
    t.assertFalse(handle:cancelled())
    t.assertNil(handle:when())
    handle:cancel()
    t.assertTrue(handle:cancelled())
    sleep(0)
    t.assertFalse(called)
  end)
end

function TestCallSoon:test_one_that_calls_itself_for_ever_does_not_keep_timers_waiting()
  t.real(function()
    local loop, over, calls = running(), false, 0
    local function again()
      calls = calls + 1
      if not over then loop:call_soon(again) end
    end
    again()
    sleep(0.005)
    over = true
    sleep(0)
    t.assertTrue(calls > 2, calls)
  end)
end

function TestCallSoon:test_one_that_calls_itself_for_ever_does_not_keep_sockets_waiting()
  t.real(function()
    local loop, over = running(), false
    local server = asyncio.start_server(function(reader, writer)
      writer:send(reader:readline())
    end, "127.0.0.1", 0)
    local function again() if not over then loop:call_soon(again) end end
    again()
    local reader, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "hello\n")
    over = true
    writer:close()
    server:close()
    server:wait_closed()
  end)
end

function TestCallSoon:test_before_the_loop_runs_it_waits()
  with_loop(function(loop)
    local called = false
    loop:call_soon(function() called = true end)
    t.assertFalse(called)
    loop:run_until_complete(function() end)
    t.assertTrue(called)
  end)
end

function TestCallSoon:test_refuses_what_cannot_be_called()
  t.run(function()
    local loop = running()
    t.assertStrContains(t.error_of(loop.call_soon, loop, 42), "function expected")
    t.assertStrContains(t.error_of(loop.call_soon, loop), "function expected")
    t.assertStrContains(t.error_of(loop.call_soon, 42, print), "asyncio.Loop expected")
  end)
end

function TestCallSoon:test_an_error_in_it_is_reported_and_the_loop_goes_on()
  t.run(function(reports)
    local handle = running():call_soon(function() error "boom" end)
    local object = {}
    running():call_soon(error, object)
    sleep(0)
    t.assertEquals(sleep(0, "well"), "well")
    local report = t.take_report(reports, "callback")
    t.assertStrMatches(report.exception, "[^\n]*loop_spec.lua:%d+: boom.*")
    t.assertIs(report.handle, handle)
    t.assertIs(t.take_report(reports, "callback").exception, object)
  end)
end

function TestCallSoon:test_its_handle_tells_what_it_calls()
  t.run(function()
    local function callback() end
    local handle = running():call_soon(callback)
    t.assertStrContains(tostring(handle), "loop_spec.lua:" .. debug.getinfo(callback, "S").linedefined)
    handle:cancel()
    t.assertStrContains(tostring(handle), "cancelled")
  end)
end

TestRunUntilComplete = {}

function TestRunUntilComplete:test_runs_a_function_with_its_arguments()
  with_loop(function(loop)
    t.assertEquals(table.pack(loop:run_until_complete(sleep, 0.001, 1, nil)), { n = 2, 1 })
  end)
end

function TestRunUntilComplete:test_runs_a_coroutine_a_task_and_a_future()
  with_loop(function(loop)
    t.assertEquals(loop:run_until_complete(coroutine.create(function() return sleep(0, "co") end)), "co")
    t.assertEquals(loop:run_until_complete(loop:create_task(sleep, 0.001, "task")), "task")
    local future = loop:create_future()
    loop:call_later(0.001, future.set_result, future, "future")
    t.assertEquals(loop:run_until_complete(future), "future")
    t.assertEquals(loop:run_until_complete(future), "future")
  end)
end

function TestRunUntilComplete:test_raises_the_error()
  with_loop(function(loop, reports)
    local err = {}
    t.assertIs(t.error_of(loop.run_until_complete, loop, error, err), err)
    t.assertEquals(loop:run_until_complete(sleep, 0, "well"), "well")
    t.assertEquals(reports, {})
  end)
end

function TestRunUntilComplete:test_leaves_the_other_tasks_for_the_next_run()
  with_loop(function(loop)
    local task = loop:create_task(sleep, 0.005, "value")
    loop:run_until_complete(sleep, 0)
    t.assertFalse(task:done())
    t.assertEquals(loop:run_until_complete(task), "value")
  end)
end

function TestRunUntilComplete:test_stopped_before_the_end_raises()
  with_loop(function(loop)
    local task = loop:create_task(function()
      loop:stop()
      sleep(0.001)
      return "value"
    end)
    local err = t.assert_raises(asyncio.Error, loop.run_until_complete, loop, task)
    t.assertStrContains(tostring(err), "stopped")
    t.assertEquals(loop:run_until_complete(task), "value")
  end)
end

function TestRunUntilComplete:test_refuses_what_belongs_to_another_loop()
  with_loop(function(loop)
    with_loop(function(other)
      local future = other:create_future()
      t.assertStrContains(tostring(t.error_of(loop.run_until_complete, loop, future)), "another event loop")
    end)
  end)
end

function TestRunUntilComplete:test_refuses_what_cannot_run()
  with_loop(function(loop)
    t.assertStrContains(tostring(t.error_of(loop.run_until_complete, loop, 42)), "bad argument #")
    t.assertStrContains(tostring(t.error_of(loop.run_until_complete, loop)), "bad argument #")
  end)
end

TestRunForever = {}

function TestRunForever:test_runs_until_it_is_stopped()
  with_loop(function(loop)
    local turns = 0
    loop:call_later(0.005, loop.stop, loop)
    local function tick()
      turns = turns + 1
      loop:call_later(0.0005, tick)
    end
    tick()
    loop:run_forever()
    t.assertTrue(turns > 1)
    t.assertFalse(loop:is_running())
  end)
end

function TestRunForever:test_stop_lets_the_turn_end()
  with_loop(function(loop)
    local log = {}
    loop:call_soon(function()
      loop:stop()
      log[#log + 1] = "stop"
      loop:call_soon(function() log[#log + 1] = "next turn" end)
    end)
    loop:call_soon(function() log[#log + 1] = "same turn" end)
    loop:run_forever()
    t.assertEquals(log, { "stop", "same turn" })
    loop:run_until_complete(function() end)
    t.assertEquals(log, { "stop", "same turn", "next turn" })
  end)
end

function TestRunForever:test_stopped_before_it_runs_makes_one_turn()
  with_loop(function(loop)
    local called = false
    loop:call_soon(function() called = true end)
    loop:stop()
    loop:run_forever()
    t.assertTrue(called)
  end)
end

function TestRunForever:test_a_failing_task_does_not_end_it()
  with_loop(function(loop, reports)
    loop:create_task(error, "boom", 0)
    loop:call_later(0.005, loop.stop, loop)
    loop:run_forever()
    loop:close()
    t.assertEquals(t.take_report(reports, "never looked at").exception, "boom")
  end)
end

TestRunning = {}

function TestRunning:test_tells_which_loop_runs()
  t.error_of(asyncio.get_running_loop)
  t.error_of(asyncio.get_event_loop)
  with_loop(function(loop)
    t.assertFalse(loop:is_running())
    t.assertStrContains(tostring(loop), "not running")
    loop:run_until_complete(function()
      t.assertIs(asyncio.get_running_loop(), loop)
      t.assertIs(asyncio.get_event_loop(), loop)
      t.assertTrue(loop:is_running())
    end)
    t.assertFalse(loop:is_running())
  end)
  t.assertStrContains(tostring(t.error_of(asyncio.get_running_loop)), "asyncio.run")
end

function TestRunning:test_no_second_run_while_one_runs()
  with_loop(function(other)
    t.run(function()
      for _, run in ipairs {
        function() other:run_until_complete(print) end,
        function() other:run_forever() end,
        function() other:run_once() end,
        function() running():run_forever() end,
        function() running():run_until_complete(print) end,
        function() asyncio.run(print) end,
      } do
        t.assertStrContains(tostring(t.assert_raises(asyncio.Error, run)), "already running")
      end
      local future = running():create_future()
      running():call_soon(function() future:set_result(t.error_of(other.run_forever, other)) end)
      t.assertStrContains(tostring(await(future)), "already running")
      t.assertEquals(sleep(0, "well"), "well")
    end)
  end)
end

function TestRunning:test_a_refused_run_leaves_no_task_behind()
  with_loop(function(other)
    t.run(function()
      pcall(other.run_until_complete, other, sleep, 0)
      pcall(running().run_until_complete, running(), sleep, 0)
      t.assertEquals(#asyncio.all_tasks(), 1)
      t.assertEquals(#asyncio.all_tasks(other), 0)
    end)
  end)
end

TestTime = {}

function TestTime:test_goes_forward_in_seconds()
  with_loop(function(loop)
    local before = loop:time()
    t.assertEquals(math.type(before), "float")
    loop:run_until_complete(sleep, 0.01)
    local took = loop:time() - before
    t.assertTrue(took >= 0.01)
    t.assertTrue(took < 5)
  end)
end

TestLoopClose = {}

function TestLoopClose:test_every_method_of_a_closed_loop_raises_closed_error()
  local loop = asyncio.new_event_loop()
  t.assertFalse(loop:is_closed())
  loop:close()
  t.assertTrue(loop:is_closed())
  t.assertFalse(loop:is_running())
  t.assertStrContains(tostring(loop), "closed")
  loop:close() -- again is no error
  for _, call in ipairs {
    function() loop:call_soon(print) end,
    function() loop:call_later(0, print) end,
    function() loop:call_at(0, print) end,
    function() loop:create_future() end,
    function() loop:create_task(print) end,
    function() loop:run_forever() end,
    function() loop:run_until_complete(print) end,
    function() loop:call_exception_handler { message = "" } end,
    function() loop:set_exception_handler(nil) end,
    function() loop:add_reader(0, print) end,
    function() loop:add_signal_handler("SIGUSR1", print) end,
  } do
    t.assert_raises(asyncio.ClosedError, call)
  end
  t.assertEquals(asyncio.all_tasks(loop), {})
  t.assertTrue(loop:time() > 0)
end

function TestLoopClose:test_a_running_loop_cannot_be_closed()
  t.run(function()
    local loop = running()
    t.assertStrContains(tostring(t.error_of(loop.close, loop)), "running")
    t.assertEquals(sleep(0, "well"), "well")
  end)
end

function TestLoopClose:test_drops_what_is_pending()
  local called = false
  local loop = asyncio.new_event_loop()
  local future = loop:create_future()
  local handle = loop:call_soon(function() called = true end)
  loop:call_later(0, function() called = true end)
  local sleeping = loop:create_task(sleep, 60)
  local waiting = loop:create_task(await, future)
  local sub = loop:create_task(await, sleeping)
  loop:run_until_complete(function() end)
  called = false
  local new = loop:create_task(function() called = true end)
  loop:call_soon(function() called = true end)
  loop:close()
  t.assertFalse(called)
  for _, task in ipairs { sleeping, waiting, sub, new } do
    t.assertFalse(task:done())
    t.assertFalse(task:cancel())
    t.assertStrContains(tostring(task), "abandoned")
    t.assert_raises(asyncio.InvalidStateError, task.result, task)
  end
  handle:cancel()
  t.collect()
end

function TestLoopClose:test_is_done_by_close_variables_and_by_the_collector()
  local loop
  do
    local scope <close> = asyncio.new_event_loop()
    loop = scope
  end
  t.assertTrue(loop:is_closed())
  loop = asyncio.new_event_loop()
  local task = loop:create_task(sleep, 60)
  loop:run_until_complete(sleep, 0)
  loop = nil -- luacheck: ignore
  t.collect()
  t.assertFalse(task:cancel())
end

function TestLoopClose:test_of_a_thousand_loops_leaves_no_descriptor()
  local function descriptors()
    local n = 0
    local pipe = io.popen("ls /proc/" .. io.open("/proc/self/stat"):read "n" .. "/fd 2>/dev/null")
    for _ in pipe:lines() do n = n + 1 end
    pipe:close()
    return n
  end
  t.collect()
  local before = descriptors()
  if before == 0 then t.skip "no /proc here" end
  for _ = 1, t.count(1000) do
    local loop = asyncio.new_event_loop()
    loop:run_until_complete(sleep, 0)
    loop:close()
  end
  t.collect()
  t.assertTrue(descriptors() <= before + 2)
end

TestSeveralLoops = {}

function TestSeveralLoops:test_one_after_the_other()
  for i = 1, 5 do
    t.assertEquals(asyncio.run(function()
      create_task(sleep, 60)
      return await(create_task(sleep, 0.001, i))
    end), i)
  end
end

function TestSeveralLoops:test_turn_about()
  with_loop(function(a)
    with_loop(function(b)
      local log = {}
      local function ticks(name)
        for i = 1, 3 do
          log[#log + 1] = name .. i
          sleep(0)
        end
      end
      local ta, tb = a:create_task(ticks, "a"), b:create_task(ticks, "b")
      a:run_until_complete(sleep, 0)
      b:run_until_complete(sleep, 0)
      a:run_until_complete(ta)
      b:run_until_complete(tb)
      t.assertEquals(log[1], "a1")
      t.assertEquals(#log, 6)
    end)
  end)
end

function TestSeveralLoops:test_an_object_of_one_raises_in_another()
  with_loop(function(other)
    local future = other:create_future()
    local task = other:create_task(sleep, 0)
    t.run(function()
      for name, call in pairs {
        await_future = function() await(future) end,
        await_task = function() await(task) end,
        wait_for = function() asyncio.wait_for(future, 1) end,
        gather = function() asyncio.gather(future) end,
        wait = function() asyncio.wait { future } end,
        as_completed = function() asyncio.as_completed({ future })() end,
        shield = function() await(asyncio.shield(future)) end,
      } do
        local err = t.assert_raises(asyncio.Error, asyncio.wait_for, call, 1)
        t.assertStrContains(name .. ": " .. tostring(err), "another event loop")
      end
    end)
    other:run_until_complete(task)
  end)
end

function TestSeveralLoops:test_a_future_of_one_set_from_another_wakes_its_own()
  with_loop(function(other)
    local future = other:create_future()
    local task = other:create_task(await, future)
    other:run_until_complete(sleep, 0)
    t.run(function() future:set_result("from another loop") end)
    t.assertEquals(other:run_until_complete(task), "from another loop")
  end)
end

function TestSeveralLoops:test_a_task_can_be_made_for_one_that_does_not_run()
  with_loop(function(other)
    local task
    t.run(function()
      task = other:create_task(function() return asyncio.get_running_loop() end)
      sleep(0.001)
      t.assertFalse(task:done())
    end)
    t.assertIs(other:run_until_complete(task), other)
  end)
end

-- The exception handler.
TestExceptionHandler = {}

function TestExceptionHandler:test_gets_the_loop_and_a_context()
  with_loop(function(loop)
    local got
    loop:set_exception_handler(function(...) got = table.pack(...) end)
    local context = { message = "of my own", extra = 1 }
    loop:call_exception_handler(context)
    t.assertEquals(got.n, 2)
    t.assertIs(got[1], loop)
    t.assertIs(got[2], context)
  end)
end

function TestExceptionHandler:test_nil_restores_the_default_one_which_writes_to_stderr()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      loop:set_exception_handler(error)
      loop:set_exception_handler(nil)
      loop:call_soon(error, "boom", 0)
      loop:call_exception_handler { message = "of my own", exception = "the error" }
      loop:default_exception_handler { message = "by hand" }
      asyncio.sleep(0)
      print "went on"
    end)
  ]]
  t.assertEquals(code, 0)
  t.assertEquals(out, "went on\n")
  for _, text in ipairs { "callback", "boom", "of my own", "the error", "by hand" } do
    t.assertStrContains(err, text)
  end
end

function TestExceptionHandler:test_may_hand_on_to_the_default_one_what_is_reported_as_the_loop_closes()
  local _, err, code = t.lua [[
    local asyncio = require "asyncio"
    local held
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      loop:set_exception_handler(function(_, context) loop:default_exception_handler(context) end)
      held = asyncio.create_task(error, "lost", 0)
      asyncio.sleep(0)
    end)
  ]]
  t.assertEquals(code, 0)
  t.assertStrContains(err, "asyncio: the error of a task was never looked at")
  t.assertNotStrContains(err, "handler failed")
end

function TestExceptionHandler:test_one_that_fails_is_reported_itself_and_the_loop_goes_on()
  local out, err, code = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      loop:set_exception_handler(function() error("the handler failed too", 0) end)
      loop:call_soon(error, "the first error", 0)
      asyncio.sleep(0)
      print(asyncio.sleep(0.001, "went on"))
    end)
  ]]
  t.assertEquals(code, 0)
  t.assertEquals(out, "went on\n")
  t.assertStrContains(err, "the handler failed too")
  t.assertStrContains(err, "the first error")
end

function TestExceptionHandler:test_one_that_awaits_fails_and_the_loop_goes_on()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      loop:set_exception_handler(function() asyncio.sleep(1) end)
      loop:call_soon(error, "the first error", 0)
      asyncio.sleep(0)
      print "went on"
    end)
  ]]
  t.assertEquals(out, "went on\n")
  t.assertStrContains(err, "outside of a task")
  t.assertStrContains(err, "the first error")
end

function TestExceptionHandler:test_errors_whose_tostring_fails_do_no_harm()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      loop:call_soon(error, setmetatable({}, { __tostring = function() error "in tostring" end }))
      loop:call_soon(error, setmetatable({}, { __tostring = function() return 42 end }))
      loop:call_soon(error, setmetatable({}, { __index = function() error "in index" end }))
      loop:call_soon(error, nil)
      asyncio.sleep(0)
      print "went on"
    end)
  ]]
  t.assertEquals(out, "went on\n")
  t.assertStrContains(err, "callback")
end

function TestExceptionHandler:test_is_a_callable_or_nil()
  with_loop(function(loop)
    t.assertStrContains(t.error_of(loop.set_exception_handler, loop, 42), "function or nil expected")
    t.assertStrContains(t.error_of(loop.call_exception_handler, loop, "text"), "table expected")
    local got
    loop:set_exception_handler(setmetatable({}, { __call = function(_, _, context) got = context end }))
    loop:call_exception_handler { message = "called" }
    t.assertEquals(got.message, "called")
  end)
end

-- A step that holds the loop.
TestSlowSteps = {}

--- Computes for so long: to wait for a processor is not slow.
local function hold(loop, seconds)
  local deadline = os.clock() + seconds
  while os.clock() < deadline do loop:time() end
end

-- The one report about that object. On a busy machine, or under valgrind, others may be slow too.
local function only_about(reports, key, object)
  local found = {}
  for _, context in ipairs(reports) do
    if context[key] == object then table.insert(found, context) end
  end
  t.assertEquals(#found, 1)
  return found[1]
end

function TestSlowSteps:test_of_a_task_are_reported_with_it()
  with_loop(function(loop, reports)
    loop.slow_callback_duration = 0.01
    local task = loop:create_task { hold, loop, 0.03, name = "slowcoach" }
    loop:run_until_complete(task)
    local context = only_about(reports, "task", task)
    t.assertStrMatches(context.message, ".*0%.%d+ s.*")
    t.assertNil(context.exception)
  end)
end

function TestSlowSteps:test_of_a_callback_are_reported_with_its_handle()
  with_loop(function(loop, reports)
    loop.slow_callback_duration = 0.01
    local handle = loop:call_soon(hold, loop, 0.03)
    loop:run_until_complete(sleep, 0)
    only_about(reports, "handle", handle)
  end)
end

function TestSlowSteps:test_waiting_is_not_slow()
  with_loop(function(loop, reports)
    loop.slow_callback_duration = 1
    local task = loop:create_task(sleep, 1.2)
    loop:run_until_complete(task)
    for _, context in ipairs(reports) do t.assertNotIs(context.task, task) end
  end)
end

function TestSlowSteps:test_the_threshold_can_be_read_and_set()
  with_loop(function(loop, reports)
    t.assertEquals(loop.slow_callback_duration, 0.1)
    loop.slow_callback_duration = 60
    t.assertEquals(loop.slow_callback_duration, 60.0)
    loop:run_until_complete(hold, loop, 0.12)
    t.assertEquals(reports, {})
    local err = t.error_of(function() loop.slow_callback_duration = "long" end)
    t.assertStrContains(err, "number of seconds, 0 or more, expected")
    t.assertStrContains(t.error_of(function() loop.slow = 1 end), "slow")
  end)
end

function TestSlowSteps:test_the_default_handler_writes_them_to_stderr()
  -- in words of its own, since the helper drops the usual ones
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local loop = asyncio.get_running_loop()
      local default = loop.default_exception_handler
      loop:set_exception_handler(function(_, context)
        context.message = "slow: " .. context.message:match "%d+%.%d+ s"
        default(loop, context)
      end)
      local deadline = os.clock() + 0.2 -- of a processor's time
      while os.clock() < deadline do end
    end)
    print "done"
  ]]
  t.assertEquals(out, "done\n")
  t.assertStrMatches(err, "asyncio: slow: %d+%.%d+ s\n.*")
end

TestDebug = {}

function TestDebug:test_can_be_switched()
  with_loop(function(loop)
    t.assertFalse(loop:get_debug())
    loop:set_debug(true)
    t.assertTrue(loop:get_debug())
    loop:set_debug(false)
    t.assertFalse(loop:get_debug())
  end)
end

t.finish()
