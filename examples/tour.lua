-- tour.lua - a walk through the lecture on asynchronous I/O, in a few seconds. `make demo` runs it.
--
-- Each station is an ordinary function. Before it runs, its lines are shown as they stand in this
-- file, so what you read is what you get. Stations talk to each other through nothing: read them in
-- any order, change one, and run the tour again.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local began -- when the station began, on the loop's clock

-- Prints like `print`, with the time since the station began in front.
local function say(format, ...)
  local seconds = asyncio.get_running_loop():time() - began
  print(("  %5.2f s | " .. format):format(seconds, ...))
end

local tour = {} -- the stations: a heading, a sentence, a function

local function station(heading, sentence, fn) tour[#tour + 1] = { heading, sentence, fn } end

station("A function that waits", [[
In Python this would be `async def` and `await`. In Lua any function may wait, and calling it is
awaiting it. While it sleeps nothing is blocked: the loop is free to run others.]],
function()
  local function double_sleep(seconds)
    say "sleep for a moment"
    asyncio.sleep(seconds)
    say "sleep for another moment"
    asyncio.sleep(seconds)
    return "done", 7 -- as many values as you like
  end

  say("%s %d", double_sleep(0.1))
end)

station("One after the other, or at the same time", [[
Called in sequence, the times of two functions add up. As tasks they run at the same time: `await`
waits for the end of a task and gives what it returned.]],
function()
  local function brew(what, seconds)
    say("%s: start", what)
    asyncio.sleep(seconds)
    say("%s: ready", what)
    return what
  end

  local first, second = brew("tea", 0.2), brew("coffee", 0.3)
  say("%s and %s took 0.2 s + 0.3 s", first, second)

  local tea = asyncio.create_task(brew, "tea", 0.2)
  local coffee = asyncio.create_task(brew, "coffee", 0.3)
  say "both tasks are there; now wait for them"
  first, second = asyncio.await(tea), asyncio.await(coffee)
  say("%s and %s took only as long as the slower one", first, second)
end)

station("Tasks are cheap", [[
A task is a Lua coroutine, not a thread of the operating system. Here are ten thousand, each of
which sleeps 0.2 s.]],
function()
  local group = {}
  for i = 1, 10000 do group[i] = asyncio.create_task(asyncio.sleep, 0.2, i) end
  local results = asyncio.gather(group)
  say("%d tasks have ended; the last one returned %d", results.n, results[results.n])
end)

station("A future", [[
A box for a value that comes later. One task waits for it, another one fills it.]],
function()
  local future = asyncio.get_running_loop():create_future()
  asyncio.create_task(function()
    asyncio.sleep(0.2)
    future:set_result(42)
  end)
  say("is it done? %s. Waiting ...", future:done())
  say("the value is %d", asyncio.await(future))
  say("is it done? %s", future:done())
end)

station("The event loop", [[
It keeps the list of what is ready and the timers, and asks the operating system which connections
have something to say. `asyncio.run(main)` starts it. You can have it call plain functions, too.]],
function()
  local loop = asyncio.get_running_loop()
  loop:call_later(0.10, say, "called by the loop after %d ms", 100)
  loop:call_later(0.05, say, "called by the loop after %d ms", 50)
  loop:call_soon(say, "called at the loop's next turn")
  say "this function goes on until it waits ..."
  asyncio.sleep(0.15)
  say "... and here it goes on again"
end)

station("Cancelling, and deadlines", [[
Cancelling raises an error where the task waits, so everything on its way out is tidied up: `<close>`
variables are closed. A deadline is a cancellation by the clock.]],
function()
  local function tidy(name)
    return setmetatable({}, { __close = function() say("%s: tidied up", name) end })
  end

  local sleeper = asyncio.create_task(function()
    local _ <close> = tidy "the sleeper"
    asyncio.sleep(3600)
  end)
  asyncio.sleep(0.1)
  sleeper:cancel()
  local ok, err = pcall(asyncio.await, sleeper)
  say("the sleeper ended well: %s; %s", ok, err)

  ok, err = pcall(function()
    local _ <close> = asyncio.timeout(0.1)
    asyncio.sleep(3600)
  end)
  say("within 0.1 s: %s; is it a TimeoutError: %s", ok, asyncio.isinstance(err, asyncio.TimeoutError))
end)

station("A group of tasks", [[
Leaving the block waits for all of them. When one fails, the others are cancelled, and the errors
come out together: no task is forgotten, no error either.]],
function()
  local ok, err = pcall(function()
    local group <close> = asyncio.TaskGroup()
    group:create_task(asyncio.sleep, 3600) -- will not take an hour
    group:create_task(function()
      asyncio.sleep(0.1)
      error("the milk is sour", 0)
    end)
    say "two tasks are in the group"
  end)
  say("the block ended well: %s; %s: %s", ok, err.message, err.errors[1])
end)

station("Errors are not lost", [[
Nobody awaits this task, and it fails. The loop finds out and reports it, as it would on stderr; here
a handler of our own takes the report.]],
function()
  local loop = asyncio.get_running_loop()
  local reported = loop:create_future()
  loop:set_exception_handler(function(_, context) reported:set_result(context) end)
  asyncio.create_task { function() error("nobody hears me", 0) end, name = "the lonely one" }
  local context = asyncio.wait_for(reported, 3)
  loop:set_exception_handler(nil)
  say("%s", context.message)
  say("its error: %s", context.exception)
end)

station("Networking: an echo server and its clients", [[
The server calls `shout` in a new task for each connection. Server and clients are in this one
program, on 127.0.0.1, all waiting at the same time.]],
function()
  local function shout(reader, writer)
    for line in reader:lines() do writer:send(line:upper(), "\n") end
  end

  local server <close> = asyncio.start_server(shout, "127.0.0.1", 0)
  local address = server:sockets()[1]
  say("the server listens on %s", address)

  local function client(name, pause)
    local reader, writer <close> = asyncio.open_connection(address.host, address.port)
    for _, word in ipairs { "hello", "good bye" } do
      asyncio.sleep(pause)
      writer:send(name, ": ", word, "\n")
      say("%s", (reader:readline():gsub("\n", "")))
    end
  end

  asyncio.gather(
    function() client("alice", 0.10) end,
    function() client("bob", 0.16) end,
    function() client("carol", 0.05) end)
end)

station("Networking: two hundred clients at once", [[
The same server, and clients that each send fifty lines and wait for every answer.]],
function()
  local server <close> = asyncio.start_server(function(reader, writer)
    for line in reader:lines() do writer:send(line:upper(), "\n") end
  end, "127.0.0.1", 0, { backlog = 200 }) -- so many may knock at the same moment
  local address = server:sockets()[1]
  local answers = 0

  local function client(n)
    local reader, writer <close> = asyncio.open_connection(address.host, address.port)
    for i = 1, 50 do
      local line = ("client %d, line %d\n"):format(n, i)
      writer:write(line)
      assert(reader:readline() == line:upper())
      answers = answers + 1
    end
  end

  do
    local group <close> = asyncio.TaskGroup()
    for n = 1, 200 do group:create_task(client, n) end
  end
  say("%d lines went there and came back in capitals", answers)
end)

-- Shows the lines of a station's function, as they stand in this file.
local function show(fn, lines)
  local info = debug.getinfo(fn, "S")
  for i = info.linedefined + 1, info.lastlinedefined - 1 do
    print((("    " .. lines[i]:sub(3)):gsub("%s+$", "")))
  end
end

local function main()
  local loop = asyncio.get_running_loop()
  loop.slow_callback_duration = 1 -- a busy machine needs no mention here
  local start = loop:time()
  local bold, plain = "", ""
  if os.execute "test -t 1" and not os.getenv "NO_COLOR" then bold, plain = "\27[1m", "\27[0m" end
  local lines = {}
  for line in io.lines(arg[0]) do lines[#lines + 1] = line end

  print "A tour of asynchronous I/O in Lua. The code of each station is shown, then what it printed."
  for i, stop in ipairs(tour) do
    local heading, sentence, fn = table.unpack(stop)
    print(("\n%s%d. %s%s\n%s\n"):format(bold, i, heading, plain, sentence))
    show(fn, lines)
    print()
    began = loop:time()
    fn()
  end
  print(("\nThat was the tour: %d stations in %.1f s."):format(#tour, loop:time() - start))
  print "Go on with examples/lecture, examples/chat, and README.md for the way from Python to Lua."
end

asyncio.run(main)
