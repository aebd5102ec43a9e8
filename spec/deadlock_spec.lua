-- DeadlockError: a loop that nothing can wake says so where main waits; and what counts as hope.
local t = require "helper"
local asyncio, core = t.asyncio, require "asyncio.core"
local DeadlockError = asyncio.DeadlockError

TestDeadlock = {}
TestWhatIsLeft = {}
TestHope = {}

local function never() asyncio.Event():wait() end

local function on_close(fn) return setmetatable({}, { __close = function(_, err) fn(err) end }) end

--- The error with which a run ends whose main is fn.
local function deadlock(fn) return t.assert_raises(DeadlockError, asyncio.run, fn) end

function TestDeadlock:test_says_what_each_task_waits_for()
  local err = deadlock(function()
    asyncio.create_task { function() asyncio.Queue():get() end, name = "eater" }
    asyncio.Event():wait()
  end)
  t.assertStrMatches(tostring(err), "DeadlockError: every task waits, and there is nothing that could wake one:\n.*")
  t.assertStrMatches(err.message, ".*\nTask 'Task%-%d+' waits %(event%)\n    .*deadlock_spec.lua:%d+: in .*")
  t.assertStrContains(err.message, "\nTask 'eater' waits (queue get)\n")
  t.assert_isinstance(err, asyncio.Error)
end

function TestDeadlock:test_is_raised_where_main_waits_and_can_be_caught()
  t.assertEquals(asyncio.run(function()
    for _ = 1, 3 do t.assert_raises(DeadlockError, never) end
    local task = asyncio.create_task(function() return "on" end)
    return asyncio.await(task)
  end), "on")
end

function TestDeadlock:test_counts_as_no_cancellation()
  asyncio.run(function()
    t.assert_raises(DeadlockError, never)
    t.assertEquals(asyncio.current_task():cancelling(), 0)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, never, 0.001)
  end)
end

function TestDeadlock:test_runs_close_handlers()
  local seen
  local err = deadlock(function()
    local _ <close> = on_close(function(why) seen = why end)
    never()
  end)
  t.assertTrue(rawequal(seen, err))
end

function TestDeadlock:test_ends_what_main_awaits_before_it()
  local order = {}
  deadlock(function()
    local _ <close> = on_close(function() order[#order + 1] = "main" end)
    asyncio.await(asyncio.create_task(function()
      local _ <close> = on_close(function(err) order[#order + 1] = tostring(err):match "^%a+" end)
      never()
    end))
  end)
  t.assertEquals(order, { "CancelledError", "main" })
end

function TestDeadlock:test_in_a_group_that_is_left_ends_its_tasks()
  local ended
  deadlock(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(function()
      local _ <close> = on_close(function() ended = true end)
      never()
    end)
  end)
  t.assertTrue(ended)
end

function TestDeadlock:test_comes_to_whoever_waits_for_several()
  for _, wait in ipairs {
    function(task) asyncio.gather(task, never) end, function(task) asyncio.wait { task } end,
    function(task) asyncio.race { task, never } end, function(task) asyncio.await(asyncio.shield(task)) end,
    function(task) for _ in asyncio.as_completed { task } do print "never" end end,
  } do
    deadlock(function() wait(asyncio.create_task(never)) end)
  end
end

function TestDeadlock:test_comes_through_shields()
  deadlock(function()
    local _ <close> = asyncio.shielded()
    never()
  end)
end

function TestDeadlock:test_of_tasks_that_wait_for_each_other()
  local err = deadlock(function()
    local to, fro = asyncio.Queue(), asyncio.Queue()
    local group <close> = asyncio.TaskGroup()
    group:create_task { function() fro:put(to:get()) end, name = "to" }
    group:create_task { function() to:put(fro:get()) end, name = "fro" }
  end)
  t.assertStrMatches(err.message, ".*'to' waits %(queue get%).*'fro' waits %(queue get%).*")
end

function TestDeadlock:test_of_a_future_that_is_run_until_it_is_done()
  local loop <close> = asyncio.new_event_loop()
  local future = loop:create_future()
  t.assert_raises(DeadlockError, loop.run_until_complete, loop, future)
  loop:call_soon(future.set_result, future, 1)
  t.assertEquals(loop:run_until_complete(future), 1)
end

function TestDeadlock:test_in_a_thread_is_that_threads()
  local words = asyncio.run(asyncio.to_thread, function()
    local here = require "asyncio"
    return tostring(select(2, pcall(here.run, function() here.Event():wait() end)))
  end)
  t.assertStrContains(words, "DeadlockError: every task waits")
end

function TestDeadlock:test_is_not_raised_in_run_once()
  local loop <close> = asyncio.new_event_loop()
  local task = loop:create_task(never)
  for _ = 1, 3 do t.assertTrue(loop:run_once()) end
  task:cancel()
  t.assertFalse(loop:run_once())
end

function TestDeadlock:test_is_one_on_the_virtual_clock_too()
  t.run(function()
    t.assert_raises(DeadlockError, never)
    local reader, writer, _, other = asyncio.stream_pair()
    t.assert_raises(DeadlockError, reader.read, reader)
    writer:close()
    other:close()
  end)
end

function TestDeadlock:test_of_many_tasks_is_told_in_short()
  local err = deadlock(function()
    for _ = 1, 1000 do asyncio.create_task(never) end
    never()
  end)
  t.assertStrMatches(err.message, ".*\n... %d+ more lines")
  t.assertTrue(#err.message < 50000)
end

function TestDeadlock:test_of_a_main_whose_condition_has_a_lock_that_nobody_releases_ends_the_run()
  local reports = {}
  local runner <close> = asyncio.Runner { cancel_timeout = 0.001 }
  runner:get_loop():set_exception_handler(function(_, context) reports[#reports + 1] = context.message end)
  t.assert_raises(DeadlockError, runner.run, runner, function()
    local condition = asyncio.Condition()
    asyncio.create_task(function()
      local _ <close> = asyncio.shielded()
      asyncio.sleep(0)
      local _ <close> = condition:acquire()
      asyncio.Event():wait()
    end)
    local _ <close> = condition:acquire()
    condition:wait()
  end)
  runner:close()
  t.assertStrContains(reports[1], "a task went on after it had been cancelled again and again")
end

-- What is done first about what nobody holds any more

function TestWhatIsLeft:test_a_stream_whose_other_end_is_garbage_ends()
  asyncio.run(function()
    local reader = asyncio.stream_pair()
    t.assertNil(reader:readline())
  end)
end

function TestWhatIsLeft:test_a_finaliser_may_still_wake_a_task()
  t.assertEquals(asyncio.run(function()
    local future = asyncio.get_running_loop():create_future()
    setmetatable({}, { __gc = function() future:set_result "woken" end })
    return asyncio.await(future)
  end), "woken")
end

-- Hope

--- Something that `open` makes is hope until it is closed.
local function is_hope(open)
  t.real(function()
    local loop = asyncio.get_running_loop()
    t.assertFalse(core.may_be_woken(loop))
    local close = open(loop)
    t.assertTrue(core.may_be_woken(loop))
    close()
    for _ = 1, 3 do asyncio.sleep(0.001) end
    t.collect()
    t.wait_until(function() return not core.may_be_woken(loop) end)
  end)
end

--- Starts a task that waits by `fn`; what cancels it.
local function waiting(fn, ...)
  local task = asyncio.create_task(fn, ...)
  asyncio.sleep(0)
  return function()
    task:cancel()
    asyncio.wait { task }
  end
end

function TestHope:test_is_no_sleep_without_end()
  t.real(function()
    local task <close> = asyncio.create_task(asyncio.sleep, math.huge) -- a timer
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, never, 0.001)
    t.assertFalse(task:done())
  end)
end

function TestHope:test_is_a_signal_handler()
  for _, signal in ipairs { "SIGUSR1", "SIGINT" } do
    is_hope(function(loop)
      loop:add_signal_handler(signal, print)
      return function() loop:remove_signal_handler(signal) end
    end)
  end
end

function TestHope:test_is_a_server()
  is_hope(function()
    local server = asyncio.start_server(print, "127.0.0.1", 0)
    return function() server:close() end
  end)
end

function TestHope:test_is_an_open_stream()
  is_hope(function()
    local server <close> = asyncio.start_server(function(_, writer) writer:close() end, "127.0.0.1", 0)
    local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    return function() writer:close() end
  end)
end

function TestHope:test_is_no_stream_in_memory()
  t.real(function()
    local reader, writer, _, other = asyncio.stream_pair()
    local close = waiting(reader.read, reader)
    t.assertFalse(core.may_be_woken(asyncio.get_running_loop()))
    close()
    writer:close()
    other:close()
  end)
end

function TestHope:test_is_a_datagram_endpoint()
  is_hope(function()
    local endpoint = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
    return function() endpoint:close() end
  end)
end

function TestHope:test_is_a_job_of_a_thread()
  is_hope(function()
    local channel = asyncio.Channel()
    local job = asyncio.create_task(asyncio.to_thread, function(c) c:get() end, channel)
    asyncio.sleep(0)
    return function()
      channel:put(1)
      asyncio.await(job)
      channel:close(true)
    end
  end)
end

function TestHope:test_is_a_channel_that_a_thread_has_and_no_other()
  t.real(function()
    local loop, channel, other = asyncio.get_running_loop(), asyncio.Channel(), asyncio.Channel()
    local close = waiting(channel.get, channel)
    local close_too = waiting(channel.get, channel)
    t.assertFalse(core.may_be_woken(loop))
    asyncio.to_thread(function(c) package.loaded.kept = c end, channel)
    t.assertTrue(core.may_be_woken(loop))
    asyncio.to_thread(function() package.loaded.kept = nil collectgarbage() collectgarbage() end)
    t.wait_until(function() return not core.may_be_woken(loop) end)
    close_too()
    close()
    other:put(channel)
    t.assertTrue(rawequal(type(other:get()), "userdata"))
  end)
end

function TestHope:test_is_a_remote_that_a_thread_has_and_no_other()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local remote, same = loop:remote(), loop:remote()
    t.assertFalse(core.may_be_woken(loop))
    asyncio.to_thread(function(r) package.loaded.kept = r end, remote)
    t.assertTrue(core.may_be_woken(loop))
    asyncio.to_thread(function() package.loaded.kept = nil collectgarbage() collectgarbage() end)
    t.wait_until(function() return not core.may_be_woken(loop) end)
    t.assertStrContains(tostring(same), "open")
  end)
end

function TestHope:test_is_a_program()
  is_hope(function()
    local process = asyncio.create_subprocess_exec("sleep", "1000")
    return function()
      process:kill()
      process:wait()
    end
  end)
end

function TestHope:test_is_a_watched_path()
  is_hope(function()
    local watch = asyncio.fs.watch "/tmp"
    return function() watch:close() end
  end)
end

function TestHope:test_is_a_watched_descriptor()
  is_hope(function(loop)
    local pipe = io.popen("cat >/dev/null", "w")
    local fd = t.fd_of(pipe)
    loop:add_reader(fd, print)
    return function()
      loop:remove_reader(fd)
      pipe:close()
    end
  end)
end

function TestHope:test_is_a_callback_that_others_have()
  is_hope(function() return waiting(asyncio.await_callback, function() end) end)
end

t.finish()
