-- The lecture's programs and solutions: what they print, in which order, and how long they take.
-- Those that only wait run here, on the virtual clock: sleeping takes no time, and durations are exact.
-- Those with sockets or threads run as programs.
local t = require "helper"
local program = require "program"

local asyncio = t.asyncio
local lecture = program.examples .. "lecture/"

local tried = {} -- the programs that a test has run

local function path_of(name)
  tried[name] = true
  return lecture .. name .. ".lua"
end

--- As asyncio.run, on the virtual clock: what main leaves is cancelled. Returns the seconds it took.
local function run_virtually(main, ...)
  return t.run(function(_, ...)
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    main(...)
    local ended = loop:time()
    for _, task in ipairs(asyncio.all_tasks()) do
      if task ~= asyncio.current_task() then task:cancel() end
    end
    asyncio.sleep(0)
    return ended - began
  end, ...)
end

--- Runs a program that way: its lines, and the seconds it took.
local function run(name, ...)
  local lines, seconds = {}, nil
  local function run_main(...) seconds = run_virtually(...) end
  local module = setmetatable({ run = run_main }, { __index = asyncio })
  local env = setmetatable({
    arg = { [0] = name, ... },
    print = function(line) lines[#lines + 1] = tostring(line) end,
    require = function(what) return what == "asyncio" and module or require(what) end,
  }, { __index = _G })
  assert(loadfile(path_of(name), "t", env))()
  return lines, seconds
end

--- The lines of a text.
local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

--- The program prints these lines and takes so many seconds.
local function expect(name, seconds, text, ...)
  local lines, took = run(name, ...)
  t.assertEquals(lines, lines_of(text))
  t.assertAlmostEquals(took, seconds, 1e-6)
end

TestAwait = {}

function TestAwait:test_a_coroutine_runs_when_it_is_awaited()
  expect("11_async_function", 0, "thread\nHello!\nresult = 7")
end

function TestAwait:test_sleep()
  expect("12_sleep", 2, "Going to sleep...\nAwake again!")
end

function TestAwait:test_functions_that_wait_call_each_other()
  expect("13_double_sleep", 2, "Sleep for a moment.\nSleep for another moment.\nDone!")
end

TestTasks = {}

function TestTasks:test_calls_in_a_row_take_their_times_together()
  expect("21_one_after_the_other", 3, [[
asyncFunction1() start
asyncFunction1() end
asyncFunction2() start
asyncFunction2() end
Duration to complete all tasks: 3.000s]])
end

function TestTasks:test_tasks_take_as_long_as_the_slowest()
  expect("22_create_task", 2, [[
asyncio.Task
asyncFunction1() start
asyncFunction2() start
asyncFunction1() end
asyncFunction2() end
Duration to complete all tasks: 2.000s]])
end

TestLoop = {}

function TestLoop:test_run()
  expect("31_run", 1, "Wait...\nDone!")
end

function TestLoop:test_the_running_loop()
  local lines = run "32_running_loop"
  t.assertEquals(#lines, 1)
  t.assertStrMatches(lines[1], "asyncio%.Loop: running %(0x%x+%)")
end

function TestLoop:test_a_future()
  expect("33_future", 6, [[
Type of the future is asyncio.Future
Is the future already done? false
Wait for future...
Value of future:  42
Is the future already done? true
Task completed.]])
end

TestTogether = {}

function TestTogether:test_a_queue_of_one_makes_who_puts_wait()
  expect("51_queue", 6, [[
Message is in the queue now.
Got a message from the queue: message 1
Message is in the queue now.
Got a message from the queue: {message, 2, is, a, list}
Message is in the queue now.
Got a message from the queue: nil
Stopping consumer task.
Done]])
end

function TestTogether:test_an_event()
  expect("61_event", 3, "Waiting for event...\nTrigger the event.\n... event arrived!")
end

function TestTogether:test_lines_mix_without_a_lock()
  expect("71_without_lock", 5, [[
Starting slow_print...
|
Starting slow_print...
-
|
-
|
-
-
task1 is done!
-
task2 is done!]])
end

function TestTogether:test_lines_stay_together_with_a_lock()
  expect("72_lock", 8, [[
Starting slow_print...
Enter critical section.
|
Starting slow_print...
|
|
Exit critical section.
Enter critical section.
-
task1 is done!
-
-
-
-
Exit critical section.
task2 is done!]])
end

function TestTogether:test_a_semaphore_lets_two_in()
  expect("73_semaphore", 2, [[
ann: start
bob: start
ann: end
bob: end
carol: start
dave: start
carol: end
dave: end
Duration to complete all tasks: 2.000s]])
end

TestSolutions = {}

function TestSolutions:test_a_countdown()
  expect("solutions/mu1_count_down", 5, [[
Countdown A: 5 s
Countdown A: 4 s
Countdown A: 3 s
Countdown A: 2 s
Countdown A: 1 s
Countdown A elapsed!]])
end

local TWO_COUNTDOWNS = [[
Countdown A: 5 s
Countdown B: 10 s
Countdown A: 4 s
Countdown B: 9 s
Countdown A: 3 s
Countdown B: 8 s
Countdown A: 2 s
Countdown B: 7 s
Countdown A: 1 s
Countdown B: 6 s
Countdown A elapsed!
Countdown B: 5 s
Countdown B: 4 s
Countdown B: 3 s
Countdown B: 2 s
Countdown B: 1 s
Countdown B elapsed!
]]

function TestSolutions:test_two_countdowns_at_once()
  expect("solutions/mu2_in_parallel", 10, TWO_COUNTDOWNS .. "Duration: 10.0s")
end

function TestSolutions:test_a_countdown_for_each_argument()
  expect("solutions/mu3_script", 10, TWO_COUNTDOWNS)
  expect("solutions/mu3_script", 2, [[
Countdown A: 1 s
Countdown B: 2 s
Countdown A elapsed!
Countdown B: 1 s
Countdown B elapsed!]], "1", "2")
end

function TestSolutions:test_ping_pong()
  expect("solutions/mu5_ping_pong", 11.5, ("ping\npong\n"):rep(5))
end

TestAsPrograms = {}

function TestAsPrograms:test_they_run_by_themselves()
  for name, expected in pairs {
    ["11_async_function"] = "thread\nHello!\nresult = 7\n",
    ["solutions/mu3_script"] = "Countdown A elapsed!\n",
  } do
    local output, status = program.shell("%s %s 0 2>&1", program.lua, path_of(name))
    t.assertEquals(output, expected)
    t.assertEquals(status, 0)
  end
end

--- A server of the lecture on a free port. LuaSocket is not ours to check: the plain interpreter.
local function serve_with_luasocket(name, port)
  local path = path_of(name)
  program.needs_luasocket()
  local server = program.start("%s %s localhost %s", program.plain_lua, path, port or 0)
  server.port = server:expect "on 127%.0%.0%.1:(%d+)[^\n]*\n"
  return server
end

--- What a client prints; it must end well.
local function client(lua, name, server)
  local output, status = program.shell("timeout %d %s %s 127.0.0.1 %s 2>&1", program.PATIENCE, lua,
    path_of(name), server.port)
  t.assertEquals(status, 0, output)
  return output
end

TestSockets = {}

function TestSockets:test_the_old_server_greets_and_listens_one_client_after_the_other()
  local server <close> = serve_with_luasocket "00_tcp_socket_server"
  t.assertEquals(client(program.plain_lua, "82_socket_hello", server),
    "Data from server:\nHello! I'm the server!\n\n")
  server:expect("^New connection from 127%.0%.0%.1:%d+\nData from client:\nHi, I'm the client!\n\nWaiting ")
  t.assertEquals(client(program.lua, "91_asyncio_client", server),
    "Received: Hello! I'm the server!\n\nClose the connection\n")
  server:expect("Data from client:\nHello, I'm the client using asyncio!\nWaiting ")
end

function TestSockets:test_the_old_server_survives_a_client_that_says_nothing()
  program.needs_nc()
  local server <close> = serve_with_luasocket "00_tcp_socket_server"
  t.assertEquals(program.nc(server, ""), "Hello! I'm the server!\n")
  server:expect "Data from client:\n\nWaiting "
  t.assertEquals(program.nc(server, "x"), "Hello! I'm the server!\n")
end

function TestSockets:test_the_old_server_can_be_started_again_at_once()
  local port
  do
    local server <close> = serve_with_luasocket "00_tcp_socket_server"
    port = server.port
    client(program.plain_lua, "82_socket_hello", server) -- the server closes first: its port stays in use for a while
    server:expect "Data from client:\nHi, I'm the client!\n\nWaiting "
  end
  local again <close> = serve_with_luasocket("00_tcp_socket_server", port)
  t.assertEquals(again.port, port)
end

function TestSockets:test_the_old_way_keeps_the_second_client_waiting()
  program.needs_nc()
  local server <close> = serve_with_luasocket "83_one_at_a_time"
  local second
  do
    local first <close> = program.person(server)
    first:type "first"
    first:expect "^first\n"
    second = program.person(server)
    second:type "second"
    first:type "first again" -- answered later than the second could have been
    first:expect "^first again\n"
    t.assertEquals(second:rest(), "")
  end
  local _ <close> = second
  second:expect "^second\n"
end

function TestSockets:test_the_asyncio_server_does_not()
  program.needs_nc()
  local server <close> = program.serve "lecture/92_minimal_server.lua"
  tried["92_minimal_server"] = true
  local silent <close> = program.person(server)
  for _ = 1, 3 do t.assertEquals(program.nc(server, "hello\n"), "hello\n") end
  silent:type "so long"
  silent:expect "^so long\n"
  t.assertEquals(program.nc(server, ""), "") -- one that says nothing
  t.assertNotStrContains(server:interrupt(), "failed")
end

function TestSockets:test_the_old_client_asks_for_a_page()
  tried["81_socket_client"], tried["82_socket_hello"] = true, true
  program.needs_luasocket()
  local server <close> = program.serve "lecture/92_minimal_server.lua" -- it sends back what it gets
  t.assertEquals(client(program.plain_lua, "81_socket_client", server),
    "Server response:\nGET /index.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n\n")
end

TestThreads = {}

--- A copy of a program in which a second is shorter.
local function hurried(name, second)
  local source = program.content(path_of(name))
  return program.file_with("io.stdout:setvbuf 'line'\n" .. source:gsub("sleep%((%d+)%)", function(n)
    return ("sleep(%g)"):format(n * second)
  end))
end

-- Two threads print at once, and a newline goes by itself: it may stand behind the other's line.
local HEAVY = "^(Starting heavy computation 'task%d'\n?Starting heavy computation 'task%d'\n\n?)"
  .. "This is the result of 'task1': We want this to be printed first.\n"
  .. "This is the result of 'task2': We want this to be printed second.\n"
  .. "Total duration: ([%d.]+)s\n$"

function TestThreads:test_two_heavy_computations_take_as_long_as_one()
  local script = hurried("41_executor", 0.2)
  local duration
  for _ = 1, 5 do -- one of these times the machine will have two cores for us
    local output = program.shell("timeout %d %s %s 2>&1", program.PATIENCE, program.lua, script)
    t.assertStrMatches(output, HEAVY)
    duration = tonumber((select(2, output:match(HEAVY))))
    if duration < 1.1 then break end
  end
  os.remove(script)
  t.assertTrue(duration >= 0.5 and duration < 1.1, duration .. " s")
end

--- Starts a copy of a program for a user, and calls fn with it.
local function with_user(name, second, fn)
  local script = hurried(name, second)
  do
    local user <close> = program.start("%s %s", program.lua, script)
    fn(user)
  end
  os.remove(script)
end

function TestThreads:test_a_line_of_the_user()
  with_user("solutions/mu4_user_input", 1, function(user)
    user:expect "^Enter something:\n"
    user:type "hello"
    user:expect "^User input is: hello\n%[status 0%]\n"
  end)
end

function TestThreads:test_no_line()
  local output = program.shell("%s %s </dev/null 2>&1", program.lua, path_of "solutions/mu4_user_input")
  t.assertEquals(output, "Enter something:\nUser input is: nil\n")
end

function TestThreads:test_a_countdown_that_numbers_make_longer()
  with_user("solutions/exercise_0_countdown", 0.1, function(user)
    user:type "3\nsoon\n-1"
    user:expect "^Type a number and Enter to get more time%.\nCountdown A: 10 s\n"
    local output = user:expect "^(.-)Countdown A elapsed!\n%[status 0%]\n" -- though the user may still type
    local answers, seconds = 0, 1
    for line in output:gmatch "[^\n]+" do
      if line == "A whole number of seconds, please." then
        answers = answers + 1
      else
        t.assertStrMatches(line, "Countdown A: %d+ s")
        seconds = seconds + 1
      end
    end
    t.assertEquals({ answers, seconds }, { 1, 12 })
  end)
end

TestWholeFolder = {}

--- The programs in a folder of the lecture.
local function programs(folder)
  local output = program.shell("cd %s && ls %s*.lua", lecture, folder)
  return lines_of((output:gsub("%.lua", "")))
end

function TestWholeFolder:test_every_program_is_tried_somewhere()
  program.needs_luasocket() -- some are tried with its help only
  if os.getenv "SPEC_SAMPLE_ALL" then t.skip "only a part of the tests has run" end
  local elsewhere = program.content(program.examples .. "../spec/examples_spec.lua")
  for _, folder in ipairs { "", "solutions/" } do
    for _, name in ipairs(programs(folder)) do
      local known = tried[name] or elsewhere:find("lecture/" .. name .. ".lua", 1, true)
      t.assertTrue(known and true or false, name .. " is tried by no test")
    end
  end
end

function TestWholeFolder:test_the_companion_has_every_program()
  local text = program.content(lecture .. "README.md")
  for _, folder in ipairs { "", "solutions/" } do
    for _, name in ipairs(programs(folder)) do t.assertStrContains(text, "](" .. name .. ".lua)") end
  end
end

t.finish()
