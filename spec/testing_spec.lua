-- asyncio.testing: what a test may leave and what not, the virtual clock, and how luaunit and busted see it.
local t = require "helper"
local asyncio, testing = t.asyncio, t.testing
local create_task, sleep = asyncio.create_task, asyncio.sleep

local function future() return asyncio.get_running_loop():create_future() end

-- The error with which the test ends; fails when it passes.
local function failure_of(fn, opts) return t.error_of(testing.async(fn, opts)) end

TestAsync = {}

function TestAsync:test_passes_arguments_and_results()
  local run = testing.async(function(...)
    sleep(0)
    return select("#", ...), ...
  end)
  t.assertEquals(table.pack(run(1, nil, false, nil)), { 4, 1, nil, false, nil, n = 5 })
end

function TestAsync:test_each_call_has_a_loop_of_its_own()
  local loops = {}
  local run = testing.async(function() loops[#loops + 1] = asyncio.get_running_loop() end)
  run()
  run()
  t.assertNotIs(loops[1], loops[2])
  t.assertTrue(loops[1]:is_closed())
end

function TestAsync:test_an_error_object_leaves_as_it_is()
  local err = { "mine" }
  t.assertIs(failure_of(function() error(err) end), err)
end

function TestAsync:test_a_string_error_is_told_with_the_traceback()
  local function culprit()
    sleep(0)
    error "it broke"
  end
  local err = failure_of(function() culprit() end)
  t.assertStrMatches(err, ".*testing_spec.lua:%d+: it broke\nstack traceback:.*")
  t.assertStrContains(err, "upvalue 'culprit'")
end

function TestAsync:test_too_long_fails_with_what_each_task_waits_for()
  local err = failure_of(function()
    create_task { sleep, 1000, name = "idler" }
    asyncio.await(future())
  end, { timeout = 0.05 })
  t.assertStrContains(err, "the test took longer than 0.05 s")
  t.assertStrContains(err, "'idler' waits (sleep)")
  t.assertStrContains(err, "'test' awaits")
  t.assertStrContains(err, "testing_spec.lua:")
end

function TestAsync:test_a_test_that_only_gives_way_is_ended_too()
  for _, clock in ipairs { "real", "virtual" } do
    local err = failure_of(function() while true do sleep(0) end end, { timeout = 0.05, clock = clock })
    t.assertStrContains(err, "longer than 0.05 s")
  end
end

function TestAsync:test_a_test_that_swallows_its_end_is_ended_too()
  local err = failure_of(function()
    for _ = 1, 3 do pcall(sleep, 1000) end
  end, { timeout = 0.05, clock = "real" })
  t.assertStrContains(err, "longer than 0.05 s")
end

function TestAsync:test_a_task_left_over_fails()
  local err = failure_of(function()
    create_task { sleep, 1000, name = "leftover" }
    sleep(0)
  end)
  t.assertStrContains(err, "the test left 1 task that had not ended")
  t.assertStrContains(err, "'leftover' waits (sleep)")
end

function TestAsync:test_an_open_handle_fails()
  local err = failure_of(function() asyncio.start_server(print, "127.0.0.1", 0) end)
  t.assertStrContains(err, "the test left 1 open handle")
end

function TestAsync:test_each_kind_of_open_handle_is_told_in_words()
  local loop_of = asyncio.get_running_loop
  local folder, kept = os.tmpname(), {}
  local pipe = assert(io.popen("cat", "w"))
  local function left(pattern, fn)
    local err = failure_of(fn)
    t.assertStrContains(err, "the test left 1 open handle:")
    t.assertStrMatches(err, ".*" .. pattern .. ".*")
  end
  left("process %d+ %(sleep 60%), opened at .*testing_spec.lua:%d+", function()
    kept[1] = asyncio.create_subprocess_exec("sleep", "60")
  end)
  left("a handler of signal 34, opened at .*testing_spec.lua:%d+", function()
    loop_of():add_signal_handler(34, print)
  end)
  left("1 watched descriptors %(add_reader, add_writer%)", function() loop_of():add_writer(t.fd_of(pipe), print) end)
  if io.open "/proc/self" then
    left("a watch of " .. folder:gsub("%p", "%%%0") .. ", opened at .*testing_spec.lua:%d+", function()
      kept[2] = asyncio.fs.watch(folder)
    end)
  end
  os.execute("kill " .. kept[1].pid)
  pipe:close()
  os.remove(folder)
end

function TestAsync:test_a_stream_that_is_being_closed_is_no_open_handle()
  local run = testing.async(function()
    local server <close> = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
    local _, writer = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    writer:close()
    return "ended"
  end)
  t.assertEquals(run(), "ended")
end

function TestAsync:test_an_error_nobody_looked_at_fails()
  local err = failure_of(function()
    create_task { error, "unseen", 0, name = "loser" }
    sleep(0)
    sleep(0)
  end)
  t.assertStrContains(err, "nobody looked at")
  t.assertStrContains(err, "unseen")
  t.assertStrContains(err, "'loser'")
end

function TestAsync:test_an_error_in_a_callback_fails()
  local err = failure_of(function()
    asyncio.get_running_loop():call_soon(error, "called back", 0)
    sleep(0)
  end)
  t.assertStrContains(err, "exception: called back")
end

function TestAsync:test_a_slow_step_is_no_failure()
  local run = testing.async(function()
    local loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 0.001
    local deadline = loop:time() + 0.01
    while loop:time() < deadline do end
    return "ended"
  end)
  t.assertEquals(run(), "ended")
end

function TestAsync:test_checks_its_arguments()
  t.assertStrContains(t.error_of(testing.async, 42), "bad argument #1 to 'async' (function expected, got number")
  t.assertStrContains(t.error_of(testing.async, print, { timeout = "long" }), "number of seconds")
  t.assertStrContains(t.error_of(testing.async, print, { timeout = 0 }), "seconds above 0 expected")
  t.assertStrContains(t.error_of(testing.async, print, { clock = "sundial" }), '"real" or "virtual" expected')
end

function TestAsync:test_raises_inside_a_loop()
  t.run(function()
    t.assertStrContains(tostring(t.error_of(testing.async(print))), "already running")
  end)
end

TestVirtualClock = {}

function TestVirtualClock:test_a_day_takes_no_time_and_is_exact()
  local began = os.time()
  testing.async(function()
    local loop = asyncio.get_running_loop()
    t.assertEquals(loop:time(), 0)
    sleep(86400)
    t.assertEquals(loop:time(), 86400)
    sleep(0.25)
    t.assertEquals(loop:time(), 86400.25)
  end, { clock = "virtual" })()
  t.assertTrue(os.time() - began < 3600)
end

function TestVirtualClock:test_wakes_in_the_order_of_the_deadlines()
  t.run(function()
    local log = {}
    local group <close> = asyncio.TaskGroup()
    for _, delay in ipairs { 3, 1, 2, 1.5 } do
      group:create_task(function()
        sleep(delay)
        log[#log + 1] = asyncio.get_running_loop():time()
        if #log == 4 then t.assertEquals(log, { 1, 1.5, 2, 3 }) end
      end)
    end
  end)
end

function TestVirtualClock:test_stands_still_while_a_task_can_run()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local timer = create_task(sleep, 0.001)
    for _ = 1, 1000 do sleep(0) end
    t.assertFalse(timer:done())
    t.assertEquals(loop:time(), 0)
    asyncio.await(timer)
  end)
end

function TestVirtualClock:test_timeouts_expire_by_it()
  t.run(function()
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, future(), 3600)
    t.assertEquals(asyncio.get_running_loop():time(), 3600)
    t.assertFalse(asyncio.move_on_after(10, sleep, 11))
    t.assertEquals({ asyncio.move_on_after(12, sleep, 11, "on time") }, { true, "on time" })
  end)
end

function TestVirtualClock:test_data_on_a_socket_comes_before_the_next_timer()
  t.run(function()
    local server <close> = asyncio.start_server(function(reader, writer)
      for line in reader:lines() do writer:send(line:upper(), "\n") end
    end, "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    for i = 1, 20 do
      writer:send("line ", i, "\n")
      t.assertEquals(asyncio.wait_for(function() return reader:readline() end, 5), "LINE " .. i .. "\n")
    end
    t.assertEquals(asyncio.get_running_loop():time(), 0)
  end)
end

function TestVirtualClock:test_waits_for_what_a_thread_does()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local addresses = asyncio.wait_for(function() return loop:getaddrinfo("localhost", 80) end, 0.001)
    t.assertTrue(#addresses > 0)
  end)
end

function TestVirtualClock:test_a_deadlock_fails_at_once()
  local began = os.time()
  local err = failure_of(function()
    local lock = asyncio.Lock()
    lock:acquire()
    local group <close> = asyncio.TaskGroup()
    group:create_task { function() lock:acquire() end, name = "starving" }
  end, { clock = "virtual", timeout = 3600 })
  t.assertTrue(os.time() - began < 1800)
  t.assertStrContains(err, "deadlock")
  t.assertStrContains(err, "'starving' waits (lock, which 'test' holds)")
end

TestBlocked = {}

function TestBlocked:test_waits_until_nobody_can_go_on()
  for _, clock in ipairs { "real", "virtual" } do
    testing.async(function()
      local steps = 0
      local busy = create_task(function()
        for _ = 1, 10 do
          sleep(0)
          steps = steps + 1
        end
        sleep(0.02)
        steps = -1
      end)
      testing.wait_all_tasks_blocked()
      t.assertEquals(steps, 10)
      asyncio.await(busy)
      t.assertEquals(steps, -1)
    end, { clock = clock, timeout = 60 })()
  end
end

function TestBlocked:test_lets_data_arrive_first()
  t.real(function()
    local got
    local server <close> = asyncio.start_server(function(reader) got = reader:readline() end, "127.0.0.1", 0)
    local _, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    testing.wait_all_tasks_blocked()
    writer:send "hello\n"
    testing.wait_all_tasks_blocked()
    t.assertEquals(got, "hello\n")
  end)
end

function TestBlocked:test_several_wait_together()
  t.run(function()
    local tasks = {}
    for i = 1, 3 do tasks[i] = create_task(testing.wait_all_tasks_blocked) end
    asyncio.gather(tasks[1], tasks[2], tasks[3])
    for i = 1, 3 do t.assertTrue(tasks[i]:done()) end
  end)
end

function TestBlocked:test_can_be_cancelled()
  t.run(function()
    local task = create_task(testing.wait_all_tasks_blocked)
    local other = create_task(function()
      sleep(0)
      task:cancel()
    end)
    asyncio.wait { task, other }
    t.assertTrue(task:cancelled())
  end)
end

-- The frameworks, each as a program: pass, fail, leak and timeout are told apart.

local TESTS = [[
  local function passes() asyncio.sleep(3600) end
  local function fails() asyncio.sleep(1) expect(1, 2) end
  local function breaks() asyncio.sleep(1) error "broken" end
  local function leaks() asyncio.create_task(asyncio.sleep, 60) end
  local function hangs() asyncio.sleep(3600) end
]]

TestFrameworks = {}

function TestFrameworks:test_luaunit()
  local out, _, code = t.lua([[
    local lu = require "luaunit"
    local asyncio, testing = require "asyncio", require "asyncio.testing"
    local expect = lu.assertEquals
  ]] .. TESTS .. [[
    TestIt = {
      test_1_passes = testing.async(passes, { clock = "virtual" }),
      test_2_fails = testing.async(fails, { clock = "virtual" }),
      test_3_breaks = testing.async(breaks, { clock = "virtual" }),
      test_4_leaks = testing.async(leaks),
      test_5_hangs = testing.async(hangs, { timeout = 0.05 }),
    }
    os.exit(lu.LuaUnit.run "-v")
  ]])
  t.assertEquals(code, 4) -- how many did not pass
  t.assertStrMatches(out, ".*test_1_passes %.%.%. Ok\n.*")
  t.assertStrMatches(out, ".*test_2_fails %.%.%. FAIL\n[^\n]*expected: 2, actual: 1\n.*")
  t.assertStrMatches(out, ".*test_3_breaks %.%.%. ERROR\n[^\n]*broken\n.*")
  t.assertStrMatches(out, ".*test_4_leaks %.%.%. ERROR\n[^\n]*the test left 1 task.*")
  t.assertStrMatches(out, ".*test_5_hangs %.%.%. ERROR\n[^\n]*the test took longer than 0.05 s.*")
  t.assertStrMatches(out, ".*Ran 5 tests in [^\n]*, 1 success, 1 failure, 3 errors\n.*")
end

function TestFrameworks:test_busted()
  if not pcall(require, "busted.runner") then t.skip "busted is not installed" end
  local tmp = os.tmpname()
  local name = tmp .. "_spec.lua"
  do
    local file <close> = assert(io.open(name, "w"))
    file:write([[
      local asyncio, testing = require "asyncio", require "asyncio.testing"
      local function expect(actual, expected) assert.are.equal(expected, actual) end
    ]], TESTS, [[
      describe("it", function()
        it("passes", testing.async(passes, { clock = "virtual" }))
        it("fails", testing.async(fails, { clock = "virtual" }))
        it("breaks", testing.async(breaks, { clock = "virtual" }))
        it("leaks", testing.async(leaks))
        it("hangs", testing.async(hangs, { timeout = 0.05 }))
      end)
    ]])
  end
  local out, _, code = t.lua([[
    arg = { [0] = "busted", "--output=plainTerminal", arg[1] }
    require "busted.runner" { standalone = false }
  ]], "'" .. name .. "'")
  os.remove(name)
  os.remove(tmp)
  t.assertEquals(code, 1)
  t.assertStrContains(out, "1 success / 1 failure / 3 errors")
  t.assertStrMatches(out, ".*Failure %-> [^\n]*\nit fails\n.*Passed in:.*Expected:.*")
  t.assertStrMatches(out, ".*Error %-> [^\n]*\nit breaks\n[^\n]*broken.*")
  t.assertStrMatches(out, ".*Error %-> [^\n]*\nit leaks\n[^\n]*the test left 1 task.*")
  t.assertStrMatches(out, ".*Error %-> [^\n]*\nit hangs\n[^\n]*the test took longer than 0.05 s.*")
end

t.finish()
