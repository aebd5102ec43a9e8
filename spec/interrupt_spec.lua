-- Ctrl-C and other signals, each in a process of its own that asks a shell for them.
--
-- A line "kill -INT" that the program prints has the shell send it that signal; "kill -INT -INT"
-- sends two, the second once the first has been taken. Other lines are its output.
local t = require "helper"

TestInterrupt = {}
TestInterruptOfRunningCode = {}
TestInterruptThatIsSwallowed = {}
TestInterruptAtTheEnd = {}
TestInterruptWords = {}
TestInterruptAndOthers = {}
TestSignalHandler = {}
TestStopSignals = {}

local DRIVER = [==[
dir=$1; shift
mkfifo "$dir/pipe" || exit 99
taken() { # waits until no signal is on its way to $pid any more
  while grep -q '^\(SigPnd\|ShdPnd\):.*[1-9a-f]' "/proc/$pid/status" 2>/dev/null; do sleep 0.01; done
  sleep 0.1
}
{
  read -r pid
  while read -r word signals; do
    if [ "$word" = late ]; then word=kill; sleep 0.1; fi # once the step that asked for it is over
    if [ "$word" = kill ]; then
      for signal in $signals; do kill "$signal" "$pid"; taken; done
    else
      printf '%s\n' "$word${signals:+ $signals}"
    fi
  done
} <"$dir/pipe" >"$dir/out" 2>"$dir/shell" &
reset=; env --default-signal=INT true 2>/dev/null && reset='env --default-signal=INT'
$reset sh -c 'echo $$; exec "$@"' sh "$@" >"$dir/pipe" 2>"$dir/err" </dev/null
code=$?
wait
exit $code
]==]

local PRELUDE = [[
  io.stdout:setvbuf "line"
  local asyncio = require "asyncio"
  local function interrupt() print "kill -INT" end
  local function interrupt_late() print "late -INT" end
  local function interrupt_twice() print "kill -INT -INT" end
  local function spin() while true do end end
  --- Runs main and tells how run ended.
  local function run(main, ...)
    local results = table.pack(pcall(asyncio.run, main, ...))
    if results[1] then
      print("run returned", table.unpack(results, 2, results.n))
    else
      local interrupted = asyncio.isinstance(results[2], asyncio.KeyboardInterrupt)
      print("run raised", interrupted and "KeyboardInterrupt" or tostring(results[2]))
    end
  end
  local function on_close(fn) return setmetatable({}, { __close = fn }) end
  --- Starts a task whose cleaning up is interrupted, and takes long.
  local function leave_a_long_end()
    asyncio.create_task(function()
      local _ <close> = on_close(function()
        interrupt()
        asyncio.sleep(1000)
      end)
      asyncio.sleep(1000)
    end)
  end
]]

local function content(name)
  local file <close> = assert(io.open(name))
  return file:read "a"
end

local function write(name, text)
  local file <close> = assert(io.open(name, "w"))
  file:write(text)
end

--- Runs a program; its output, stderr, exit status (128 + n when a signal killed it).
local function run(source, interpreter)
  local dir = os.tmpname()
  os.remove(dir)
  assert(os.execute(("mkdir '%s'"):format(dir)))
  write(dir .. "/program.lua", PRELUDE .. source)
  write(dir .. "/driver", DRIVER)
  local lua = interpreter or os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  local _, _, code = os.execute(("timeout -k 5 60 sh '%s/driver' '%s' %s '%s/program.lua'"):format(dir, dir, lua, dir))
  local out, err = content(dir .. "/out"):gsub("\t", " "), t.unhurried(content(dir .. "/err"))
  t.assertEquals(content(dir .. "/shell"), "")
  os.execute(("rm -r '%s'"):format(dir))
  return out, err, code
end

--- A run that SIGTERM stops, too: `run_stoppable(main)` tells how it ended.
local STOPPABLE = [[
  local function term() print "kill -TERM" end
  local function run_stoppable(main)
    local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM", 1 } }
    local results = table.pack(pcall(runner.run, runner, main))
    if results[1] then return print("run returned", table.unpack(results, 2, results.n)) end
    local err = results[2]
    if not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then return print("run raised", err) end
    print("run raised KeyboardInterrupt", err.signal)
    print((err.message:gsub("[:;] .*", ""):gsub(" at .*", "")))
  end
]]

--- The program prints these lines, nothing on stderr, and ends well.
local function assert_prints(expected, source)
  local out, err, code = run(source)
  t.assertEquals({ out, err, code }, { expected, "", 0 })
end

local KILLED_BY_SIGINT = 128 + 2

-- a task that waits

function TestInterrupt:test_of_a_main_that_sleeps_raises_KeyboardInterrupt()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterrupt:test_of_a_main_that_waits_without_any_timer()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      loop:add_signal_handler("SIGUSR1", print) -- else nothing could come, and run would say so
      interrupt()
      asyncio.await(loop:create_future())
    end)
  ]])
end

function TestInterrupt:test_reaches_main_as_a_cancellation_at_its_wait()
  assert_prints("cleaned up true\nrun raised KeyboardInterrupt\n", [[
    run(function()
      local _ <close> = on_close(function(_, err)
        asyncio.sleep(0.01)
        print("cleaned up", asyncio.isinstance(err, asyncio.CancelledError))
      end)
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterrupt:test_of_a_main_that_is_busy_between_its_waits()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      interrupt()
      while true do
        for _ = 1, 1000 do end
        asyncio.sleep(0)
      end
    end)
  ]])
end

function TestInterrupt:test_cancels_the_other_tasks_at_the_end_of_run()
  assert_prints("main\nother\nrun raised KeyboardInterrupt\n", [[
    run(function()
      asyncio.create_task(function()
        local _ <close> = on_close(function()
          asyncio.sleep(0.001)
          print "other"
        end)
        asyncio.sleep(1000)
      end)
      local _ <close> = on_close(function() print "main" end)
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterrupt:test_goes_through_a_task_group_and_a_timeout()
  assert_prints("child\nrun raised KeyboardInterrupt\n", [[
    run(function()
      local limit <close> = asyncio.timeout(1000)
      local group <close> = asyncio.TaskGroup()
      group:create_task(function()
        local _ <close> = on_close(function() print "child" end)
        asyncio.sleep(1000)
      end)
      interrupt()
    end)
  ]])
end

function TestInterrupt:test_of_a_main_that_waits_inside_asyncio_coroutine()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      asyncio.coroutine.wrap(function()
        interrupt()
        asyncio.sleep(1000)
      end)()
    end)
  ]])
end

function TestInterrupt:test_that_main_swallows_lets_run_return_normally()
  assert_prints("run returned fine 2\n", [[
    run(function()
      interrupt()
      pcall(asyncio.sleep, 1000)
      asyncio.sleep(0.01)
      return "fine", 2
    end)
  ]])
end

function TestInterrupt:test_comes_again_when_main_swallowed_the_first()
  assert_prints("swallowed\nrun raised KeyboardInterrupt\n", [[
    run(function()
      interrupt()
      pcall(asyncio.sleep, 1000)
      print "swallowed"
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterrupt:test_that_leads_to_another_error_leaves_that_one()
  assert_prints("run raised boom\n", [[
    run(function()
      interrupt()
      pcall(asyncio.sleep, 1000)
      error(setmetatable({}, { __tostring = function() return "boom" end }))
    end)
  ]])
end

function TestInterrupt:test_ends_a_script_with_an_error_and_status_1()
  local out, err, code = run [[
    asyncio.run(function()
      interrupt()
      asyncio.sleep(1000)
    end)
    print "not reached"
  ]]
  t.assertEquals({ out, code }, { "", 1 })
  t.assertStrContains(err, "KeyboardInterrupt")
end

function TestInterrupt:test_of_a_second_run_works_like_the_first()
  assert_prints("run raised KeyboardInterrupt\nrun raised KeyboardInterrupt\nrun returned x\n", [[
    for _ = 1, 2 do
      run(function()
        interrupt()
        asyncio.sleep(1000)
      end)
    end
    run(function() return "x" end)
  ]])
end

function TestInterrupt:test_of_a_Runner_leaves_it_usable()
  assert_prints("true\nx\n", [[
    local runner <close> = asyncio.Runner {}
    local ok, err = pcall(runner.run, runner, function()
      interrupt()
      asyncio.sleep(1000)
    end)
    print(not ok and asyncio.isinstance(err, asyncio.KeyboardInterrupt))
    print(runner:run(function()
      asyncio.sleep(0.001)
      return "x"
    end))
  ]])
end

-- code that spins

function TestInterruptOfRunningCode:test_in_debug_mode_whose_hook_stands_aside()
  assert_prints("false true\nnil\n", [[
    local runner <close> = asyncio.Runner { debug = true }
    local ok, err = pcall(runner.run, runner, function()
      runner:get_loop().slow_callback_duration = 1000
      asyncio.sleep(0)
      interrupt_twice()
      spin()
    end)
    print(ok, asyncio.isinstance(err, asyncio.KeyboardInterrupt))
    print((debug.gethook()))
  ]])
end

function TestInterruptOfRunningCode:test_the_second_breaks_an_endless_loop()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      interrupt_twice()
      spin()
    end)
  ]])
end

function TestInterruptOfRunningCode:test_the_first_alone_cancels_at_the_next_wait()
  assert_prints("waits\nrun raised KeyboardInterrupt\n", [[
    run(function()
      interrupt()
      local stop = os.clock() + 0.3
      while os.clock() < stop do end
      print "waits"
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterruptOfRunningCode:test_a_pcall_in_the_loop_does_not_swallow_it()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      interrupt_twice()
      while true do pcall(spin) end
    end)
  ]])
end

function TestInterruptOfRunningCode:test_an_asyncio_pcall_in_the_loop_does_not_swallow_it()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      interrupt_twice()
      while true do asyncio.pcall(spin) end
    end)
  ]])
end

function TestInterruptOfRunningCode:test_breaks_a_task_that_is_not_main_and_main_cleans_up()
  assert_prints("main cleans up\nrun raised KeyboardInterrupt\n", [[
    run(function()
      asyncio.create_task(function()
        interrupt_twice()
        spin()
      end)
      local _ <close> = on_close(function()
        asyncio.sleep(0.01)
        print "main cleans up"
      end)
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterruptOfRunningCode:test_breaks_a_callback()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      asyncio.get_running_loop():call_soon(function()
        interrupt_twice()
        while true do pcall(spin) end
      end)
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterruptOfRunningCode:test_breaks_a_loop_inside_asyncio_coroutine()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      asyncio.coroutine.wrap(function()
        asyncio.sleep(0)
        interrupt_twice()
        spin()
      end)()
    end)
  ]])
end

function TestInterruptOfRunningCode:test_breaks_a_loop_with_pcalls_on_both_sides_of_asyncio_coroutine()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      interrupt_twice()
      while true do
        local co = asyncio.coroutine.create(function() while true do pcall(spin) end end)
        asyncio.coroutine.resume(co)
      end
    end)
  ]])
end

function TestInterruptOfRunningCode:test_breaks_a_loop_in_nested_asyncio_coroutines()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      local wrap = asyncio.coroutine.wrap
      wrap(function()
        wrap(function()
          asyncio.sleep(0)
          interrupt_twice()
          while true do pcall(spin) end
        end)()
      end)()
    end)
  ]])
end

function TestInterruptOfRunningCode:test_takes_effect_when_a_standard_coroutine_returns_to_the_task()
  assert_prints("the coroutine ends\nrun raised KeyboardInterrupt\n", [[
    run(function()
      coroutine.wrap(function()
        interrupt_twice()
        local stop = os.clock() + 1
        while os.clock() < stop do end
        print "the coroutine ends"
      end)()
      spin()
    end)
  ]])
end

function TestInterruptOfRunningCode:test_runs_the_close_variables_on_its_way()
  assert_prints("run raised KeyboardInterrupt\nclosed file\n", [[
    local file
    run(function()
      file = io.tmpfile()
      interrupt_twice()
      local f <close> = file
      spin()
    end)
    print(io.type(file))
  ]])
end

function TestInterruptOfRunningCode:test_breaks_a_main_that_swallowed_the_first_and_spins()
  assert_prints("swallowed\nrun raised KeyboardInterrupt\n", [[
    run(function()
      interrupt()
      pcall(asyncio.sleep, 1000)
      print "swallowed"
      interrupt()
      spin()
    end)
  ]])
end

function TestInterruptOfRunningCode:test_leaves_later_tasks_and_runs_undisturbed()
  assert_prints("other ends\nrun raised KeyboardInterrupt\nrun returned 1000\n", [[
    local function work()
      local n = 0
      for _ = 1, 1000 do n = n + 1 end
      return n
    end
    run(function()
      asyncio.create_task(function()
        local _ <close> = on_close(function()
          work()
          asyncio.sleep(0)
          print "other ends"
        end)
        asyncio.sleep(1000)
      end)
      asyncio.sleep(0)
      interrupt_twice()
      spin()
    end)
    run(function()
      asyncio.sleep(0)
      return work()
    end)
  ]])
end

-- asyncio.shielded

function TestInterrupt:test_the_first_waits_until_a_shielded_block_has_been_left()
  assert_prints("inside\nrun raised KeyboardInterrupt\n", [[
    run(function()
      do
        local _ <close> = asyncio.shielded()
        interrupt()
        asyncio.sleep(0.5)
        print "inside"
      end
      asyncio.sleep(1000)
    end)
  ]])
end

function TestInterrupt:test_the_second_breaks_a_shielded_block()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      local _ <close> = asyncio.shielded()
      interrupt_twice()
      asyncio.sleep(1000)
      print "never"
    end)
  ]])
end

--- Whether a block that is shielded when run ends, and the rest of its task, are run; `sent` sends a Ctrl-C or more.
local function assert_shielded_at_the_end(out, sent, main)
  assert_prints(out, ([[
    run(function()
      asyncio.create_task(function()
        local _ <close> = on_close(function()
          print("cleaned up", asyncio.current_task():cancelling(), pcall(asyncio.sleep, 0))
        end)
        do
          local _ <close> = asyncio.shielded()
          asyncio.get_running_loop():call_later(0.1, %s)
          asyncio.sleep(0.6)
          print "whole"
        end
        asyncio.sleep(1000)
      end)
      asyncio.sleep(0)
      %s
    end)
  ]]):format(sent, main or ""))
end

function TestInterrupt:test_the_first_at_the_end_of_run_waits_for_what_is_shielded()
  assert_shielded_at_the_end("whole\ncleaned up 1 true\nrun raised KeyboardInterrupt\n", "interrupt")
end

function TestInterrupt:test_the_second_at_the_end_of_run_gives_a_shielded_task_up()
  assert_shielded_at_the_end("run raised KeyboardInterrupt\n", "interrupt_twice")
end

function TestInterrupt:test_one_at_the_end_of_run_is_the_second_where_main_had_the_first()
  assert_shielded_at_the_end("run raised KeyboardInterrupt\n", "interrupt",
    "interrupt() pcall(asyncio.sleep, 0.5) error(asyncio.CancelledError())")
end

function TestInterruptOfRunningCode:test_the_third_one_ends_the_process()
  local out, _, code = run [[
    run(function()
      print "kill -INT -INT -INT"
      local text = ("a"):rep(100)
      string.find(text, ("a*"):rep(30) .. "b") -- years in one C function
    end)
  ]]
  t.assertEquals({ out, code }, { "", KILLED_BY_SIGINT })
end

-- a task that catches its cancellation and goes on: the second breaks it, however it waits

--- A loop that never ends by itself; each round asks for a Ctrl-C before it waits.
local function assert_broken(wait, setup)
  local out, err, code = run(([[
    local function main()
      %s
      for _ = 1, 5 do
        interrupt()
        %s
      end
      print "never broken"
    end
    local runner = asyncio.Runner { cancel_timeout = 0.01 }
    local ok, err = pcall(runner.run, runner, main)
    runner:close()
    print(not ok and asyncio.isinstance(err, asyncio.KeyboardInterrupt))
  ]]):format(setup or "", wait))
  t.assertEquals({ out, (err:gsub("asyncio: a task went on.*", "")), code }, { "true\n", "", 0 })
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_that_sleeps()
  assert_broken "pcall(asyncio.sleep, 1000)"
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_that_gives_way_for_ever()
  assert_broken "pcall(asyncio.sleep, 1000) interrupt() while true do pcall(asyncio.sleep, 0) end"
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_whose_handler_makes_words_of_it()
  assert_broken "xpcall(asyncio.sleep, debug.traceback, 1000)"
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_in_asyncio_coroutine()
  assert_broken "asyncio.coroutine.wrap(function() while true do pcall(asyncio.sleep, 1000) interrupt() end end)()"
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_that_awaits_a_task_that_swallows()
  assert_broken("pcall(asyncio.await, task)", [[
    local task = asyncio.create_task(function() while true do pcall(asyncio.sleep, 1000) end end)
    asyncio.create_task(function() asyncio.sleep(0.3) interrupt() end)
  ]])
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_that_gathers_tasks_that_swallow()
  assert_broken("pcall(asyncio.gather, task, function() asyncio.sleep(1000) end)", [[
    local task = asyncio.create_task(function() while true do pcall(asyncio.sleep, 1000) end end)
    asyncio.create_task(function() asyncio.sleep(0.3) interrupt() end)
  ]])
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_that_waits_for_its_group()
  assert_broken([[
    local group <close> = asyncio.TaskGroup()
    group:create_task(function()
      pcall(asyncio.sleep, 1000)
      interrupt()
      while true do pcall(asyncio.sleep, 1000) end
    end)
  ]])
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_in_a_timeout_that_holds_a_lock_without_a_report()
  assert_broken("pcall(asyncio.sleep, 1000)", [[
    local limit <close> = asyncio.timeout(1000)
    local lock = asyncio.Lock()
    local _ <close> = lock:acquire()
  ]])
end

function TestInterruptThatIsSwallowed:test_breaks_a_main_that_waits_for_a_condition()
  assert_broken("pcall(condition.wait, condition)", [[
    asyncio.create_task(asyncio.sleep, 1000)
    local condition = asyncio.Condition()
    condition:acquire()
  ]])
end

function TestInterruptThatIsSwallowed:test_breaks_cleaning_up_that_waits()
  assert_prints("cleans up\nrun raised KeyboardInterrupt\n", [[
    run(function()
      local _ <close> = on_close(function()
        print "cleans up"
        interrupt()
        asyncio.sleep(1000)
        print "not reached"
      end)
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

--- A child that a broken main leaves behind is cancelled once, and cleans up; `start` starts it.
local function assert_child_cleans_up(start)
  assert_prints("child cleaned up 1 true\nrun raised KeyboardInterrupt\n", ([[
    local function child()
      local _ <close> = on_close(function()
        local whole = pcall(asyncio.sleep, 0.05)
        print("child cleaned up", asyncio.current_task():cancelling(), whole)
      end)
      asyncio.sleep(1000)
    end
    run(function()
      %s
    end)
  ]]):format(start))
end

function TestInterruptThatIsSwallowed:test_leaves_the_children_of_its_group_their_cleaning_up()
  assert_child_cleans_up [[
    local group <close> = asyncio.TaskGroup()
    group:create_task(child)
    local _ <close> = asyncio.shielded()
    interrupt_twice()
    asyncio.sleep(1000)
  ]]
end

function TestInterruptThatIsSwallowed:test_leaves_a_task_that_is_a_close_variable_its_cleaning_up()
  assert_child_cleans_up [[
    local task <close> = asyncio.create_task(child)
    local _ <close> = asyncio.shielded()
    interrupt_twice()
    asyncio.sleep(1000)
  ]]
end

function TestInterruptThatIsSwallowed:test_leaves_the_handlers_of_a_server_their_cleaning_up()
  assert_child_cleans_up [[
    local server <close> = asyncio.start_server(child, { host = "127.0.0.1", port = 0, stop_grace = 60 })
    local address = server:sockets()[1]
    local reader, writer = asyncio.open_connection(address.host, address.port)
    asyncio.get_running_loop():call_later(0.1, interrupt_twice)
    server:serve_forever()
  ]]
end

function TestInterruptThatIsSwallowed:test_of_a_main_that_calls_uncancel_is_the_first_again()
  assert_prints("caught\ncaught\ncaught\nrun returned 3\n", [[
    run(function()
      local me, n = asyncio.current_task(), 0
      repeat
        interrupt()
        pcall(asyncio.sleep, 1000)
        print "caught"
        me:uncancel()
        n = n + 1
      until n == 3
      return n
    end)
  ]])
end

function TestInterruptThatIsSwallowed:test_ends_the_process_at_the_third_though_the_loop_turns()
  local out, err, code = run [[
    run(function()
      local condition = asyncio.Condition()
      condition:acquire()
      asyncio.create_task(function()
        condition:acquire()
        for _ = 1, 5 do
          asyncio.sleep(0.5)
          interrupt_late() -- one that comes while this task runs would break it
        end
      end)
      condition:wait() -- does not leave without its lock
    end)
  ]]
  t.assertEquals({ out, err, code }, { "", "", KILLED_BY_SIGINT })
end

-- the end of run

function TestInterruptAtTheEnd:test_ends_the_waiting_for_a_thread_and_reports_nothing()
  assert_prints("run raised KeyboardInterrupt\nat once true\n", [[
    local began = os.time()
    run(function()
      asyncio.get_running_loop():run_in_executor(nil, asyncio.blocking_sleep, 8)
      asyncio.get_running_loop():call_later(0.1, interrupt)
      return "result"
    end)
    print("at once", os.time() - began < 5)
  ]])
end

function TestInterruptAtTheEnd:test_ends_the_waiting_for_a_task_that_cleans_up()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      asyncio.create_task(function()
        local _ <close> = on_close(function()
          interrupt()
          asyncio.sleep(1000)
          print "not reached"
        end)
        asyncio.sleep(1000)
      end)
      asyncio.sleep(0)
    end)
  ]])
end

function TestInterruptAtTheEnd:test_ends_the_waiting_in_close_of_a_Runner()
  assert_prints("true\nclosed true\n", [[
    local runner = asyncio.Runner {}
    runner:run(function()
      leave_a_long_end()
      asyncio.sleep(0)
    end)
    local loop = runner:get_loop()
    local ok, err = pcall(runner.close, runner)
    print(not ok and asyncio.isinstance(err, asyncio.KeyboardInterrupt))
    print("closed", loop:is_closed())
  ]])
end

function TestInterruptAtTheEnd:test_tells_of_the_error_that_main_had_ended_with()
  assert_prints("true true boom\n", [[
    local ok, err = pcall(asyncio.run, function()
      leave_a_long_end()
      asyncio.sleep(0)
      error("boom", 0)
    end)
    print(asyncio.isinstance(err, asyncio.KeyboardInterrupt), tostring(err):find("boom", 1, true) ~= nil,
      err.context)
  ]])
end

function TestInterruptAtTheEnd:test_leaves_the_first_one_as_what_run_raises()
  assert_prints("true\n", [[
    local ok, err = pcall(asyncio.run, function()
      leave_a_long_end()
      interrupt()
      asyncio.sleep(1000)
    end)
    print(err.message:match "main waited %(sleep%)" ~= nil)
  ]])
end

-- what the person is told

function TestInterruptWords:test_say_where_main_waited()
  assert_prints("interrupted by Ctrl-C: main waited (queue get) at program.lua\ntrue\n", [[
    local ok, err = pcall(asyncio.run, function()
      local queue = asyncio.Queue()
      asyncio.create_task(asyncio.sleep, 1000)
      interrupt()
      queue:get()
    end)
    print((err.message:gsub("/%S*/", ""):gsub(":%d+$", "")))
    print(err.traceback:find(err.message:match ":%d+$" .. ": in function") ~= nil)
  ]])
end

function TestInterruptWords:test_lead_through_the_tasks_that_are_awaited()
  assert_prints("true\n", [[
    local function inner()
      asyncio.create_task(asyncio.sleep, 1000)
      interrupt()
      asyncio.Event():wait()
    end
    local ok, err = pcall(asyncio.run, function() asyncio.await(asyncio.create_task(inner)) end)
    print(err.traceback:find "program.lua:%d+: in .*\n'Task%-1' awaits it:\n.*program.lua:%d+: in " ~= nil)
  ]])
end

function TestInterruptWords:test_have_the_call_graph_in_debug_mode()
  assert_prints("true\ntrue\n", [[
    local runner <close> = asyncio.Runner { debug = true }
    local ok, err = pcall(runner.run, runner, function()
      local _ = asyncio.create_task { asyncio.sleep, 1000, name = "the other" }
      asyncio.sleep(0)
      interrupt()
      asyncio.Event():wait()
    end)
    print(err.traceback:find "all tasks:\n.*Task 'the other' waits %(sleep%)" ~= nil)
    print(tostring(err):find(err.traceback, 1, true) ~= nil) -- what plain lua shows
  ]])
end

function TestInterruptWords:test_say_where_a_task_was_broken_not_what_that_broke_off()
  assert_prints("true\n", [[
    local ok, err = pcall(asyncio.run, function()
      local limit <close> = asyncio.timeout(1000)
      for _ = 1, 5 do
        interrupt()
        pcall(asyncio.sleep, 1000)
      end
    end)
    print(err.message:match "at %S*program.lua:%d+$" ~= nil)
  ]])
end

function TestInterruptWords:test_say_where_spinning_code_was_broken()
  assert_prints("true true\n", [[
    local ok, err = pcall(asyncio.run, function()
      interrupt_twice()
      spin()
    end)
    print(err.message:match "^interrupted by Ctrl%-C at .*program.lua:%d+$" ~= nil,
      err.traceback:find "in .*'spin'" ~= nil)
  ]])
end

-- what was there before

function TestInterruptAndOthers:test_a_debug_hook_is_as_before()
  assert_prints("run raised KeyboardInterrupt\ntrue count 1000\nhook ran\n", [[
    local calls = 0
    local function hook() calls = calls + 1 end
    debug.sethook(hook, "", 1000)
    run(function()
      interrupt_twice()
      spin()
    end)
    local h, mask, count = debug.gethook()
    print(h == hook, "count" .. mask, count)
    calls = 0
    for _ = 1, 100000 do end
    print(calls > 0 and "hook ran" or "no hook")
  ]])
end

function TestInterruptAndOthers:test_a_debug_hook_is_as_before_when_a_callback_spins()
  assert_prints("run raised KeyboardInterrupt\ntrue count 1000\n", [[
    local function hook() end
    debug.sethook(hook, "", 1000)
    run(function()
      asyncio.get_running_loop():call_soon(function()
        interrupt_twice()
        spin()
      end)
      asyncio.sleep(1000)
    end)
    local h, mask, count = debug.gethook()
    print(h == hook, "count" .. mask, count)
  ]])
end

function TestInterruptAndOthers:test_a_debug_hook_in_the_task_is_as_before()
  assert_prints("true\ntrue count 500\n", [[
    local function hook() end
    local runner <close> = asyncio.Runner {}
    local co
    print(not pcall(runner.run, runner, function()
      co = coroutine.running()
      debug.sethook(hook, "", 500)
      interrupt_twice()
      pcall(spin)
      spin()
    end))
    local h, mask, count = debug.gethook(co)
    print(h == hook, "count" .. mask, count)
  ]])
end

function TestInterruptAndOthers:test_without_a_debug_hook_leaves_none()
  assert_prints("nil nil\n", [[
    local runner <close> = asyncio.Runner {}
    local co
    pcall(runner.run, runner, function()
      co = coroutine.running()
      interrupt_twice()
      spin()
    end)
    print((debug.gethook()), (debug.gethook(co)))
  ]])
end

function TestInterruptAndOthers:test_a_hook_in_an_asyncio_coroutine_is_as_before()
  assert_prints("true\ntrue count 500\nnil\n", [[
    local function hook() end
    local runner <close> = asyncio.Runner {}
    local co, task
    print(not pcall(runner.run, runner, function()
      task = coroutine.running()
      co = asyncio.coroutine.create(function()
        debug.sethook(hook, "", 500)
        interrupt_twice()
        spin()
      end)
      asyncio.coroutine.resume(co)
      spin()
    end))
    local h, mask, count = debug.gethook(co)
    print(h == hook, "count" .. mask, count)
    print((debug.gethook(task)))
  ]])
end

function TestInterruptAndOthers:test_the_handler_of_the_interpreter_is_back_after_run()
  local out, err, code = run [[
    run(function() asyncio.sleep(0) end)
    interrupt()
    spin()
  ]]
  t.assertEquals({ out, code }, { "run returned\n", 1 })
  t.assertStrContains(err, "interrupted!") -- as lua says it
end

function TestInterruptAndOthers:test_the_handler_of_the_interpreter_is_back_after_an_interrupt()
  local out, err, code = run [[
    run(function()
      interrupt_twice()
      spin()
    end)
    interrupt()
    spin()
  ]]
  t.assertEquals({ out, code }, { "run raised KeyboardInterrupt\n", 1 })
  t.assertStrContains(err, "interrupted!")
end

function TestInterruptAndOthers:test_the_handler_of_the_interpreter_stays_without_run()
  local _, err, code = run [[
    local loop = asyncio.new_event_loop()
    loop:run_until_complete(function() asyncio.sleep(0) end)
    interrupt()
    spin()
  ]]
  t.assertEquals(code, 1)
  t.assertStrContains(err, "interrupted!")
end

--- A host that ignores SIGINT, as under nohup; the standalone lua never does.
local HOST = [[
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  struct sigaction now;
  (void)argc;
  signal(SIGINT, SIG_IGN);
  luaL_openlibs(L);
  int failed = luaL_dofile(L, argv[1]);
  if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  sigaction(SIGINT, NULL, &now);
  return failed ? 1 : now.sa_handler == SIG_IGN ? 0 : 2;
}
]]

local function build_host()
  local name = os.tmpname()
  write(name .. ".c", HOST)
  local built = os.execute(("%s -o '%s' '%s.c' %s %s >/dev/null 2>&1"):format(
    os.getenv "CC" or "cc", name, name, t.cflags, t.libs))
  os.remove(name .. ".c")
  if not built then os.remove(name) end
  return built and name
end

function TestInterruptAndOthers:test_that_was_ignored_stays_ignored()
  local host = build_host()
  if not host then t.skip "no compiler for a host in C" end
  local out, err, code = run([[
    run(function()
      interrupt()
      asyncio.sleep(0.5)
      return "went on"
    end)
  ]], ((os.getenv "SPEC_LUA" or "lua5.4"):gsub("%S+$", host))) -- under what the specs run under
  os.remove(host)
  t.assertEquals({ out, err, code }, { "run returned went on\n", "", 0 })
end

-- add_signal_handler

function TestSignalHandler:test_is_called_in_the_loop_with_its_arguments()
  assert_prints("true a nil 3\nrun returned on\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      local done = loop:create_future()
      loop:add_signal_handler("SIGTERM", function(...)
        print(asyncio.get_running_loop() == loop, ...)
        done:set_result()
      end, "a", nil, 3)
      print "kill -TERM"
      asyncio.await(done)
      return "on"
    end)
  ]])
end

function TestSignalHandler:test_takes_a_number()
  assert_prints("run returned 15\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      local done = loop:create_future()
      loop:add_signal_handler(15, function() done:set_result(15) end)
      print "kill -TERM"
      return asyncio.await(done)
    end)
  ]])
end

function TestSignalHandler:test_is_called_for_each_signal()
  assert_prints("1\n2\n3\nrun returned\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      local done, n = loop:create_future(), 0
      loop:add_signal_handler("SIGUSR1", function()
        n = n + 1
        print(n)
        if n == 3 then done:set_result() end
      end)
      print "kill -USR1 -USR1 -USR1"
      asyncio.await(done)
    end)
  ]])
end

function TestSignalHandler:test_set_again_replaces_the_first()
  assert_prints("run returned second\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      local done = loop:create_future()
      loop:add_signal_handler("SIGTERM", function() done:set_result "first" end)
      loop:add_signal_handler("SIGTERM", function() done:set_result "second" end)
      print "kill -TERM"
      return asyncio.await(done)
    end)
  ]])
end

function TestSignalHandler:test_that_fails_is_reported_and_the_loop_goes_on()
  assert_prints("reported boom\nrun returned\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      local done = loop:create_future()
      loop:set_exception_handler(function(_, context)
        print("reported", context.exception:match "boom")
        done:set_result()
      end)
      loop:add_signal_handler("SIGTERM", function() error "boom" end)
      print "kill -TERM"
      asyncio.await(done)
    end)
  ]])
end

function TestSignalHandler:test_removed_lets_the_signal_do_what_it_did()
  local out, _, code = run [[
    run(function()
      local loop = asyncio.get_running_loop()
      loop:add_signal_handler("SIGTERM", function() print "handled" end)
      print(loop:remove_signal_handler "SIGTERM")
      print(loop:remove_signal_handler "SIGTERM")
      asyncio.sleep(0.01)
      print "kill -TERM"
      asyncio.sleep(1000)
    end)
  ]]
  t.assertEquals({ out, code }, { "true\nfalse\n", 128 + 15 })
end

function TestSignalHandler:test_ends_with_its_run()
  local out, _, code = run [[
    run(function() asyncio.get_running_loop():add_signal_handler("SIGTERM", function() print "handled" end) end)
    print "kill -TERM"
    spin()
  ]]
  t.assertEquals({ out, code }, { "run returned\n", 128 + 15 })
end

function TestSignalHandler:test_of_SIGINT_takes_the_place_of_the_cancellation()
  assert_prints("handled x\nhandled x\nrun returned on 0\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      local done, n = loop:create_future(), 0
      loop:add_signal_handler("SIGINT", function(x)
        n = n + 1
        print("handled", x)
        if n == 2 then done:set_result() end
      end, "x")
      interrupt_twice()
      asyncio.await(done)
      return "on", asyncio.current_task():cancelling()
    end)
  ]])
end

function TestSignalHandler:test_of_SIGINT_removed_gives_the_cancellation_back()
  assert_prints("true\nfalse\nrun raised KeyboardInterrupt\n", [[
    run(function()
      local loop = asyncio.get_running_loop()
      loop:add_signal_handler("SIGINT", function() print "handled" end)
      print(loop:remove_signal_handler "SIGINT")
      print(loop:remove_signal_handler "SIGINT")
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestSignalHandler:test_of_SIGINT_still_lets_the_second_break_an_endless_loop()
  assert_prints("run raised KeyboardInterrupt\n", [[
    run(function()
      asyncio.get_running_loop():add_signal_handler("SIGINT", function() end)
      interrupt_twice()
      spin()
    end)
  ]])
end

function TestSignalHandler:test_of_SIGINT_set_before_the_run_is_called_too()
  assert_prints("handled\non\n", [[
    local runner <close> = asyncio.Runner {}
    local loop = runner:get_loop()
    local done = loop:create_future()
    loop:add_signal_handler("SIGINT", function()
      print "handled"
      done:set_result()
    end)
    print(runner:run(function()
      interrupt()
      asyncio.await(done)
      return "on"
    end))
  ]])
end

function TestSignalHandler:test_of_SIGINT_holds_in_the_next_run_of_a_Runner()
  assert_prints("handled\non\n", [[
    local runner <close> = asyncio.Runner {}
    local done = runner:get_loop():create_future()
    runner:run(function()
      asyncio.get_running_loop():add_signal_handler("SIGINT", function()
        print "handled"
        done:set_result()
      end)
    end)
    print(runner:run(function()
      interrupt()
      asyncio.await(done)
      return "on"
    end))
  ]])
end

function TestSignalHandler:test_of_SIGINT_works_in_a_loop_without_run()
  assert_prints("handled\nend\n", [[
    local loop = asyncio.new_event_loop()
    local done = loop:create_future()
    loop:add_signal_handler("SIGINT", function()
      print "handled"
      done:set_result()
    end)
    loop:run_until_complete(function()
      interrupt()
      asyncio.await(done)
    end)
    loop:close()
    print "end"
  ]])
end

function TestSignalHandler:test_of_something_else_is_an_argument_error()
  t.real(function()
    local loop = t.asyncio.get_running_loop()
    for _, signal in ipairs { "SIGNOTHING", "", 0, -1, 1000, 1.5, {}, true } do
      t.assertStrContains(t.error_of(loop.add_signal_handler, loop, signal, print), "bad argument")
      t.assertStrContains(t.error_of(loop.remove_signal_handler, loop, signal), "bad argument")
    end
    t.assertStrContains(t.error_of(loop.add_signal_handler, loop, "SIGTERM"), "bad argument")
  end)
end

function TestSignalHandler:test_of_a_signal_that_cannot_be_caught_is_an_error()
  t.real(function()
    local loop = t.asyncio.get_running_loop()
    t.assertFalse((pcall(loop.add_signal_handler, loop, 9, print))) -- SIGKILL
    t.assertFalse(loop:remove_signal_handler(9))
  end)
end


--- Runs a program with STOPPABLE before it; what it prints on stdout.
local function assert_stoppable_prints(expected, source) assert_prints(expected, STOPPABLE .. source) end

function TestStopSignals:test_one_cancels_main_and_the_error_says_which_it_was()
  assert_stoppable_prints("cleaned up\nrun raised KeyboardInterrupt SIGTERM\ninterrupted by SIGTERM\n", [[
    run_stoppable(function()
      local _ <close> = on_close(function()
        asyncio.sleep(0.001)
        print "cleaned up"
      end)
      term()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestStopSignals:test_by_its_number()
  assert_stoppable_prints("run raised KeyboardInterrupt SIGHUP\ninterrupted by SIGHUP\n", [[
    run_stoppable(function()
      print "kill -HUP"
      asyncio.sleep(1000)
    end)
  ]])
end

function TestStopSignals:test_Ctrl_C_is_as_before_and_says_so()
  assert_stoppable_prints("run raised KeyboardInterrupt SIGINT\ninterrupted by Ctrl-C\n", [[
    run_stoppable(function()
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestStopSignals:test_the_error_says_where_main_waited()
  local out = run(STOPPABLE .. [[
    local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
    local ok, err = pcall(runner.run, runner, function()
      term()
      asyncio.sleep(1000)
    end)
    print(err.message)
  ]])
  t.assertStrMatches(out, "interrupted by SIGTERM: main waited .*sleep.*\n")
end

function TestStopSignals:test_a_second_breaks_what_swallows_the_first()
  assert_stoppable_prints("swallowed\nrun raised KeyboardInterrupt SIGTERM\ninterrupted by SIGTERM\n", [[
    run_stoppable(function()
      term()
      pcall(asyncio.sleep, 1000)
      print "swallowed"
      term()
      while true do pcall(asyncio.sleep, 1000) end
    end)
  ]])
end

function TestStopSignals:test_a_second_breaks_an_endless_loop()
  assert_stoppable_prints("run raised KeyboardInterrupt SIGTERM\ninterrupted by SIGTERM\n", [[
    run_stoppable(function()
      print "kill -TERM -TERM"
      spin()
    end)
  ]])
end

function TestStopSignals:test_they_are_counted_together_with_Ctrl_C()
  assert_stoppable_prints("run raised KeyboardInterrupt SIGINT\ninterrupted by Ctrl-C\n", [[
    run_stoppable(function()
      print "kill -TERM -INT"
      spin()
    end)
  ]])
end

function TestStopSignals:test_a_third_ends_the_process()
  local out, _, code = run(STOPPABLE .. [[
    run_stoppable(function()
      print "kill -INT -TERM -TERM"
      string.find(("a"):rep(100), ("a*"):rep(30) .. "b") -- years in one C function
    end)
  ]])
  t.assertEquals({ out, code }, { "", 128 + 15 })
end

function TestStopSignals:test_one_ends_the_waiting_for_a_long_cleaning_up()
  assert_stoppable_prints("SIGTERM\ninterrupted by SIGTERM as the run cleaned up\n", [[
    local runner = asyncio.Runner { stop_signals = { "SIGTERM" } }
    runner:run(function()
      asyncio.create_task(function()
        local _ <close> = on_close(function()
          term()
          asyncio.sleep(1000)
        end)
        asyncio.sleep(1000)
      end)
      asyncio.sleep(0)
    end)
    local ok, err = pcall(runner.close, runner)
    print(err.signal)
    print(err.message)
  ]])
end

function TestStopSignals:test_each_does_after_the_run_what_it_did_before()
  for name, number in pairs { TERM = 15, HUP = 1 } do
    local out, _, code = run(STOPPABLE .. ([[
      run_stoppable(function() return "well" end)
      print "kill -%s"
      spin()
    ]]):format(name))
    t.assertEquals({ out, code }, { "run returned well\n", 128 + number })
  end
end

function TestStopSignals:test_without_being_asked_for_one_ends_the_process()
  local out, _, code = run [[
    run(function()
      print "kill -TERM"
      asyncio.sleep(1000)
    end)
  ]]
  t.assertEquals({ out, code }, { "", 128 + 15 })
end

function TestStopSignals:test_a_handler_of_the_users_goes_first_until_it_is_removed()
  assert_stoppable_prints("handled x\nhandled x\ntrue false\nrun raised KeyboardInterrupt SIGTERM\n" ..
    "interrupted by SIGTERM\n", [[
    run_stoppable(function()
      local loop = asyncio.get_running_loop()
      local done, n = loop:create_future(), 0
      loop:add_signal_handler("SIGTERM", function(x)
        n = n + 1
        print("handled", x)
        if n == 2 then done:set_result() end
      end, "x")
      print "kill -TERM -TERM"
      asyncio.await(done)
      print(loop:remove_signal_handler "SIGTERM", loop:remove_signal_handler "SIGTERM")
      term()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestStopSignals:test_a_handler_for_one_leaves_the_others()
  assert_stoppable_prints("run raised KeyboardInterrupt SIGINT\ninterrupted by Ctrl-C\n", [[
    run_stoppable(function()
      asyncio.get_running_loop():add_signal_handler("SIGTERM", function() print "never" end)
      interrupt()
      asyncio.sleep(1000)
    end)
  ]])
end

function TestStopSignals:test_a_handler_that_was_there_before_the_run_stays()
  assert_stoppable_prints("handled\nrun returned on\n", [[
    local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
    local loop = runner:get_loop()
    local done = loop:create_future()
    loop:add_signal_handler("SIGTERM", function()
      print "handled"
      done:set_result()
    end)
    print("run returned", runner:run(function()
      term()
      asyncio.await(done)
      return "on"
    end))
  ]])
end

function TestStopSignals:test_one_that_is_ignored_stays_ignored()
  if not os.execute "env --ignore-signal=TERM true 2>/dev/null" then t.skip "env cannot ignore a signal" end
  local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
  local out, err, code = run(STOPPABLE .. [[
    run_stoppable(function()
      term()
      asyncio.sleep(0.3)
      interrupt()
      asyncio.sleep(1000)
    end)
  ]], "env --ignore-signal=TERM " .. lua)
  t.assertEquals({ out, err, code }, { "run raised KeyboardInterrupt SIGINT\ninterrupted by Ctrl-C\n", "", 0 })
end

function TestStopSignals:test_the_second_run_of_a_Runner_has_them_too()
  assert_stoppable_prints("false SIGTERM\nfalse SIGTERM\n", [[
    local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
    for _ = 1, 2 do
      local ok, err = pcall(runner.run, runner, function()
        term()
        asyncio.sleep(1000)
      end)
      print(ok, err.signal)
    end
  ]])
end

--- Two that wait when the process goes on, so that both come before its loop turns.
local AT_ONCE = [[
  local stat <close> = io.open "/proc/self/stat"
  local pid = stat:read "n"
  local function at_once(...)
    local kills = { "sleep 0.1" }
    for _, signal in ipairs { "STOP", ... } do table.insert(kills, ("kill -%s %d"):format(signal, pid)) end
    -- system() ignores SIGINT, for as long as it takes
    io.popen(("(%s; kill -CONT %d) >/dev/null 2>&1 &"):format(table.concat(kills, "; "), pid)):close()
  end
]]

function TestStopSignals:test_two_before_the_loop_turns_are_two()
  assert_stoppable_prints("run raised KeyboardInterrupt SIGTERM\ninterrupted by SIGTERM\n", AT_ONCE .. [[
    run_stoppable(function()
      at_once("INT", "TERM")
      while true do pcall(asyncio.sleep, 1000) end
    end)
  ]])
end

function TestStopSignals:test_two_before_the_loop_turns_have_each_its_handler_called()
  assert_stoppable_prints("INT\nTERM\nrun returned\n", AT_ONCE .. [[
    run_stoppable(function()
      local loop, left, done = asyncio.get_running_loop(), 2, asyncio.Event()
      for _, name in ipairs { "INT", "TERM" } do
        loop:add_signal_handler("SIG" .. name, function()
          print(name)
          left = left - 1
          if left == 0 then done:set() end
        end)
      end
      at_once("INT", "TERM")
      done:wait()
    end)
  ]])
end

function TestStopSignals:test_what_is_none_or_cannot_be_caught_is_refused()
  local function refused(signal, words)
    local err = t.error_of(t.asyncio.Runner, { stop_signals = { "SIGTERM", signal } })
    t.assertStrContains(err, "bad argument #1 to 'Runner' ('stop_signals': " .. words)
  end
  local none = 'signal expected, a name like "SIGTERM" or a number, got '
  refused("SIGNOTHING", none .. '"SIGNOTHING"')
  refused("TERM", none .. '"TERM"')
  refused(0, none .. "0")
  refused(65, none .. "65")
  refused(1.5, none .. "1.5")
  refused({}, none .. "table")
  refused(true, none .. "boolean")
  local unfit = "a signal that a program can catch expected, got "
  for _, signal in ipairs { "SIGKILL", "SIGSTOP" } do refused(signal, unfit .. '"' .. signal .. '"') end
  for _, number in ipairs { 9, 11, 32, 33 } do refused(number, unfit .. number) end -- libc has 32 and 33
  t.assertStrContains(t.error_of(t.asyncio.Runner, { stop_signals = "SIGTERM" }), "list expected, got string")
end

function TestStopSignals:test_a_table_that_is_no_list_is_refused()
  local function refused(list, words)
    local err = t.error_of(t.asyncio.Runner, { stop_signals = list })
    t.assertStrContains(err, "bad argument #1 to 'Runner' ('stop_signals': list of signals expected")
    t.assertStrContains(err, "got a table with " .. words .. ")")
  end
  refused({ SIGTERM = true }, 'the key "SIGTERM"')
  refused({ "SIGTERM", n = 1 }, 'the key "n"')
  refused({ [0] = "SIGTERM" }, "the key 0")
  refused({ [1.5] = "SIGTERM" }, "the key 1.5")
  refused({ [true] = "SIGTERM" }, "the key boolean")
  refused({ "SIGTERM", nil, "SIGHUP" }, "nothing at 2")
  refused({ nil, "SIGHUP" }, "nothing at 1")
  t.asyncio.Runner { stop_signals = {} }:close()
end

function TestStopSignals:test_the_list_is_taken_when_the_runner_is_made()
  assert_stoppable_prints("SIGTERM\n", [[
    local list = { "SIGTERM", "SIGTERM", "SIGINT" }
    local runner <close> = asyncio.Runner { stop_signals = list }
    list[1], list[2] = nil, nil
    local _, err = pcall(runner.run, runner, function()
      term()
      asyncio.sleep(1000)
    end)
    print(err.signal)
  ]])
end

t.finish { sampled = true }
