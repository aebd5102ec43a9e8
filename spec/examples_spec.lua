-- The examples, each as a program of its own, against peers that are not ours: nc and Python.
local t = require "helper"

local program = require "program"

local examples, lua, PATIENCE = program.examples, program.lua, program.PATIENCE
local content, file_with, shell = program.content, program.file_with, program.shell
local start, serve, nc, person = program.start, program.serve, program.nc, program.person
local python, needs_nc, needs_python = program.python, program.needs_nc, program.needs_python

local ECHO = "lecture/01_async_tcp_server.lua"

TestEchoServer = {}

function TestEchoServer:test_answers_nc_in_upper_case_and_tells_what_it_does()
  needs_nc()
  local server <close> = serve(ECHO)
  t.assertEquals(nc(server, "Hello\nWorld\n"), "HELLO\nWORLD\n")
  server:expect "^New connection!\nGot a line: Hello\nGot a line: World\nConnection closed!\n"
end

function TestEchoServer:test_ends_without_a_complaint_at_ctrl_c_with_idle_clients()
  needs_nc()
  local server <close> = serve(ECHO)
  local _ <close> = person(server)
  server:expect "New connection!\n"
  local output, status = server:interrupt()
  t.assertEquals({ output, status }, { "", 0 })
end

function TestEchoServer:test_answers_a_last_line_without_a_newline()
  needs_nc()
  local server <close> = serve(ECHO)
  t.assertEquals(nc(server, "one\ntwo"), "ONE\nTWO")
end

function TestEchoServer:test_answers_an_empty_connection_with_nothing()
  needs_nc()
  local server <close> = serve(ECHO)
  t.assertEquals(nc(server, ""), "")
  server:expect "^New connection!\nConnection closed!\n"
end

function TestEchoServer:test_gives_a_large_file_back_unchanged_in_length()
  needs_nc()
  local server <close> = serve(ECHO)
  local lines = {}
  for i = 1, t.count(100000) do
    lines[i] = ("%d: the quick brown fox jumps over the lazy dog\n"):format(i)
  end
  local text = table.concat(lines)
  t.assertTrue(nc(server, text) == text:upper())
end

function TestEchoServer:test_tells_of_a_line_that_is_too_long_and_goes_on()
  needs_nc()
  local server <close> = serve(ECHO)
  nc(server, ("x"):rep(1000000))
  server:expect "^New connection!\nException: [^\n]+\nConnection closed!\n"
  t.assertEquals(nc(server, "still there\n"), "STILL THERE\n")
end

function TestEchoServer:test_serves_pythons_asyncio()
  needs_python()
  local server <close> = serve(ECHO)
  t.assertEquals(python([[
import asyncio, sys

async def client(name):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    answers = []
    for i in range(3):
        writer.write(f"{name} {i}\n".encode())
        await writer.drain()
        answers.append((await reader.readline()).decode().strip())
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    return answers

async def main():
    for answers in await asyncio.gather(*(client(name) for name in ("ann", "bob"))):
        print(*answers, sep=", ")

asyncio.run(main())
]], server.port), "ANN 0, ANN 1, ANN 2\nBOB 0, BOB 1, BOB 2\n")
end

function TestEchoServer:test_survives_clients_that_reset_and_clients_that_never_read()
  needs_python()
  local server <close> = serve(ECHO)
  t.assertEquals(python([[
import socket, struct, sys
address = ("127.0.0.1", int(sys.argv[1]))

for _ in range(10):
    s = socket.create_connection(address)
    s.sendall(b"line\n" * 1000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()  # a reset

greedy = socket.create_connection(address)
greedy.settimeout(0.3)
sent = 0
try:
    while True: sent += greedy.send(b"nobody reads the answer to this line\n" * 1000)
except socket.timeout:
    pass  # the server has stopped reading, since we don't

s = socket.create_connection(address)
s.sendall(b"anybody there?\n")
print(s.makefile().readline(), end="")
]], server.port), "ANYBODY THERE?\n")
end

function TestEchoServer:test_serves_a_thousand_clients_at_once()
  local asyncio = t.asyncio
  local server <close> = serve(ECHO)
  local n = t.count(1000)
  t.real(function()
    local connected, all_here = 0, asyncio.get_running_loop():create_future()
    local function client(i)
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", tonumber(server.port))
      connected = connected + 1
      if connected == n then all_here:set_result() end
      asyncio.await(all_here)
      writer:write("client ", i, "\n")
      t.assertEquals(reader:readline(), "CLIENT " .. i .. "\n")
    end
    local group <close> = asyncio.TaskGroup()
    for i = 1, n do group:create_task(client, i) end
  end)
end

local CLIENT = examples .. "lecture/01_async_tcp_client.lua"

--- Runs the client with these arguments and this input; its output (both kinds) and exit status.
local function client(arguments, input)
  local name = file_with(input or "")
  local output, status = shell("timeout %d %s %s %s <%s 2>&1", PATIENCE, lua, CLIENT, arguments, name)
  os.remove(name)
  return output, status
end

TestEchoClient = {}

function TestEchoClient:test_prints_what_the_server_answers()
  local server <close> = serve(ECHO)
  local output, status = client("--server 127.0.0.1 --port " .. server.port, "hello\nworld")
  t.assertEquals(output, "server response > HELLO\nserver response > WORLD\nReader task terminated.\n")
  t.assertEquals(status, 0)
end

function TestEchoClient:test_takes_lines_one_by_one_as_they_are_typed()
  local server <close> = serve(ECHO)
  local user <close> = start("%s %s --port %s --server localhost", lua, CLIENT, server.port)
  user:type "one"
  user:expect "^server response > ONE\n"
  user:type "two"
  user:expect "^server response > TWO\n"
end

function TestEchoClient:test_ends_when_the_server_does_though_the_user_may_still_type()
  local server <close> = serve(ECHO)
  local user <close> = start("%s %s --server 127.0.0.1 --port %s", lua, CLIENT, server.port)
  user:type "hello"
  user:expect "^server response > HELLO\n"
  server:interrupt()
  user:expect "Reader task terminated.\n%[status 0%]"
end

function TestEchoClient:test_talks_to_a_server_of_pythons_asyncio()
  needs_python()
  local script = file_with [[
import asyncio

async def handle(reader, writer):
    while line := await reader.readline():
        writer.write(line[:-1][::-1] + b"\n")
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()

asyncio.run(main())
]]
  local server <close> = start("python3 %s", script)
  local port = server:expect "port (%d+)\n"
  os.remove(script)
  t.assertEquals((client("--server 127.0.0.1 --port " .. port, "abc\nxyz\n")),
    "server response > cba\nserver response > zyx\nReader task terminated.\n")
end

function TestEchoClient:test_explains_its_usage()
  local output, status = client "--help"
  t.assertStrContains(output, "usage: 01_async_tcp_client.lua [--help] --server ADDR --port PORT")
  t.assertEquals(status, 0)
end

function TestEchoClient:test_insists_on_both_options()
  for _, arguments in ipairs {
    "", "--server 127.0.0.1", "--port 1", "--port", "--server x --port y", "--what 1",
  } do
    local output, status = client(arguments)
    t.assertStrContains(output, "usage: ")
    t.assertEquals(status, 2, arguments)
  end
end

function TestEchoClient:test_tells_when_nobody_listens()
  local output, status = client "--server 127.0.0.1 --port 1"
  t.assertStrContains(output, "[ECONNREFUSED] connection refused: connect 127.0.0.1:1")
  t.assertEquals(status, 1)
end

TestMulticoreServer = {}

-- So many connections that each of two workers gets one, in all likelihood.
function TestMulticoreServer:test_serves_with_all_workers_and_ends_with_ctrl_c()
  local server <close> = start("%s %stcp/multicore_server.lua 127.0.0.1 0 2", lua, examples)
  local port = server:expect "Listening on 127.0.0.1:(%d+) with 2 workers\n"
  local function ask(text) return (shell("printf '%s\\n' | timeout %d nc -N 127.0.0.1 %s", text, PATIENCE, port)) end
  needs_nc()
  local seen = {}
  for i = 1, 40 do
    local worker, line = ask("line " .. i):match "^Hello from worker (%d): (line %d+)\n$"
    t.assertEquals(line, "line " .. i)
    seen[worker] = true
    if seen["1"] and seen["2"] then break end
  end
  t.assertEquals(seen, { ["1"] = true, ["2"] = true })
  server:type "Good morning"
  server:expect "Greeting: Good morning\n"
  local answer
  for _ = 1, PATIENCE * 10 do -- the workers are told at the same time, not at once
    answer = ask "again"
    if answer:find "Good morning" then break end
  end
  t.assertStrMatches(answer, "Good morning from worker %d: again\n")
  local idle <close> = start("nc 127.0.0.1 %s", port)
  idle:type "I stay"
  idle:expect "Good morning from worker %d: I stay\n"
  local output, status = server:interrupt()
  t.assertStrMatches(output, ".*Worker 1 served %d+ lines\nWorker 2 served %d+ lines\n.*")
  t.assertEquals(status, 0)
end

function TestMulticoreServer:test_tells_when_the_port_is_taken()
  local other <close> = serve "chat/1_chat.lua"
  local output, status = shell("timeout %d %s %stcp/multicore_server.lua 127.0.0.1 %s 2 2>&1 </dev/null", PATIENCE, lua,
    examples, other.port)
  t.assertStrContains(output, "EADDRINUSE")
  t.assertEquals(status, 1)
end

TestSystemdSocket = {}

-- What systemd does: a socket that listens is descriptor 3, and the environment says whose. argv: HOST or path, command
local LAUNCHER = [[
import os, socket, sys
unix = sys.argv[1].startswith("/")
s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
s.bind(sys.argv[1] if unix else (sys.argv[1], 0))
s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
]]

local IDLE = t.slow and 20 or 2 -- seconds

--- The example, launched with a socket at the host or path.
local function launch(where, idle)
  local script = program.file_with(LAUNCHER)
  return start("python3 %s %s %s %stcp/systemd_socket.lua %d", script, where, lua, examples, idle or IDLE), script
end

function TestSystemdSocket:test_serves_on_the_socket_and_ends_when_idle()
  needs_nc()
  local server <close>, script = launch "127.0.0.1"
  server.port = server:expect "serving on 127%.0%.0%.1:(%d+)\n"
  t.assertEquals(nc(server, "hello\n"), "HELLO\n")
  server:expect "idle: served 1 client\n%[status 0%]\n"
  os.remove(script)
end

function TestSystemdSocket:test_is_started_by_systemds_own_program_where_there_is_one()
  needs_nc()
  local path, server, script = os.tmpname(), nil, nil
  os.remove(path)
  if os.execute "command -v systemd-socket-activate >/dev/null" then
    local variables = "-E LUA_PATH -E LUA_CPATH -E ASAN_OPTIONS -E LSAN_OPTIONS" -- it passes no others on
    server = start("systemd-socket-activate %s -l %s %s %stcp/systemd_socket.lua %d", variables, path, lua, examples,
      IDLE)
    server:expect "Listening on "
  else
    server, script = launch(path)
    server:expect "serving on "
  end
  local _ <close> = server
  t.assertEquals((shell("printf 'hello\\n' | timeout %d nc -N -U %s", PATIENCE, path)), "HELLO\n")
  server:expect "idle: served 1 client\n"
  server:expect "%[status 0%]\n"
  os.remove(path)
  if script then os.remove(script) end
end

--- It is stopped until both are there: the question, and the signal.
function TestSystemdSocket:test_answers_what_it_was_asked_when_it_is_terminated()
  local asyncio = t.asyncio
  local server <close>, script = launch("127.0.0.1", 3600)
  local port = tonumber(server:expect "serving on 127%.0%.0%.1:(%d+)\n")
  t.real(function()
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", port)
    writer:send "one\n"
    t.assertEquals(reader:readline(), "ONE\n")
    os.execute("kill -STOP " .. server.pid)
    writer:send "two\nthree\n"
    asyncio.sleep(0) -- it has left
    os.execute(("kill -TERM %s; kill -CONT %s"):format(server.pid, server.pid))
    t.assertEquals({ reader:readline(), reader:readline(), reader:readline() }, { "TWO\n", "THREE\n" })
  end)
  server:expect "stopped: served 1 client\n%[status 0%]\n"
  os.remove(script)
end

function TestSystemdSocket:test_tells_when_it_was_handed_none()
  local run = "timeout %d env %s %s %stcp/systemd_socket.lua 2>&1 </dev/null"
  for _, variables in ipairs { "-u LISTEN_FDS", "LISTEN_FDS=1 LISTEN_PID=1" } do
    local output, status = shell(run, PATIENCE, variables, lua, examples)
    t.assertStrContains(output, "no sockets were handed over")
    t.assertEquals(status, 1)
  end
end

TestGraceful = {}

--- A client who asks, waits for the answer, and asks again, until the server ends. Each answer has to be whole and the
-- right one, and the end a clean one.
local function asks_one_by_one(port, answered)
  local asyncio = t.asyncio
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", port)
  for i = 1, math.huge do
    if not pcall(writer.send, writer, "request ", i, "\n") then return end
    local line = reader:readline()
    if not line then return end
    t.assertEquals(line, "REQUEST " .. i .. "\n")
    answered()
  end
end

--- One who asks all at once.
local function asks_ahead(port, answered, n)
  local reader, writer <close> = t.asyncio.open_connection("127.0.0.1", port)
  for i = 1, n do writer:write("request ", i, "\n") end
  writer:drain()
  for i = 1, n do
    t.assertEquals(reader:readline(), "REQUEST " .. i .. "\n")
    answered()
  end
  t.assertNil(reader:readline())
end

--- So many connections with so many requests in all; SIGTERM when a fifth has been answered.
local function terminated_under_load(behaviour, connections, requests)
  local asyncio = t.asyncio
  local server <close> = serve "tcp/graceful.lua"
  local n = 0
  t.real(function()
    local function answered()
      n = n + 1
      if n == requests // 5 then os.execute("kill -TERM " .. server.pid) end
    end
    local group <close> = asyncio.TaskGroup()
    for _ = 1, connections do
      group:create_task(behaviour, tonumber(server.port), answered, requests // connections)
    end
  end)
  server:expect(("Shutting down\nServed %d connections, aborted 0\n%%[status 0%%]"):format(connections))
  return n
end

function TestGraceful:test_loses_no_answer_when_it_is_terminated_under_load()
  local requests = t.count(10000)
  t.assertEquals(terminated_under_load(asks_ahead, 50, requests), requests // 50 * 50)
end

function TestGraceful:test_ends_each_connection_cleanly_after_its_last_answer()
  t.assertTrue(terminated_under_load(asks_one_by_one, 50, t.count(5000)) >= t.count(1000))
end

function TestGraceful:test_answers_who_has_asked_and_ends_at_ctrl_c()
  needs_nc()
  local server <close> = serve "tcp/graceful.lua"
  local ann <close> = person(server)
  ann:type "hello"
  ann:expect "^HELLO\n"
  local output, status = server:interrupt()
  t.assertEquals({ output, status }, { "Served 1 connections, aborted 0\n", 0 })
end

TestProxy = {}

--- One before a server.
local function proxy_to(port)
  local server = start("%s %stcp/proxy.lua 127.0.0.1 0 127.0.0.1 %s", lua, examples, port)
  server.port = server:expect "Listening on 127%.0%.0%.1:(%d+)\n"
  return server
end

function TestProxy:test_passes_on_both_ways_and_ends_each_half_by_itself()
  needs_nc()
  local echo <close> = serve(ECHO)
  local proxy <close> = proxy_to(echo.port)
  t.assertEquals(nc(proxy, "Hello\nWorld\n"), "HELLO\nWORLD\n") -- what comes after nc's end, too
  t.assertEquals(nc(proxy, ""), "")
  local output, status = proxy:interrupt()
  t.assertEquals({ output, status }, { "2 connections (0 broken, 0 refused), 12 bytes there, 12 back\n", 0 })
end

function TestProxy:test_passes_on_much_unchanged_for_many_at_once()
  local echo <close> = serve(ECHO)
  local proxy <close> = proxy_to(echo.port)
  local asyncio, text = t.asyncio, ("0123456789abcde\n"):rep(t.count(60000))
  t.real(function()
    local group <close> = asyncio.TaskGroup()
    for _ = 1, 5 do
      group:create_task(function()
        local reader, writer <close> = asyncio.open_connection("127.0.0.1", tonumber(proxy.port))
        local sending = asyncio.create_task(function()
          writer:send(text)
          writer:write_eof()
        end)
        t.assertTrue(reader:read() == text:upper())
        asyncio.await(sending)
      end)
    end
  end)
end

function TestProxy:test_tells_the_client_that_nobody_is_there()
  needs_nc()
  local gone = serve(ECHO)
  local port = gone.port
  gone:interrupt()
  gone:__close()
  local proxy <close> = proxy_to(port)
  t.assertStrMatches(nc(proxy, "Hello\n"), "proxy: .*connection refused.*\n")
  local output = proxy:interrupt()
  t.assertStrContains(output, "1 connections (0 broken, 1 refused), 0 bytes there, 0 back\n")
end

function TestProxy:test_tells_of_a_connection_that_broke_and_goes_on()
  program.needs_luasocket()
  needs_nc()
  local echo <close> = serve(ECHO)
  local proxy <close> = proxy_to(echo.port)
  local socket = assert(require("socket").connect("127.0.0.1", tonumber(proxy.port)))
  assert(socket:send "hello\n")
  assert(socket:receive "*l")
  socket:setoption("linger", { on = true, timeout = 0 })
  socket:close()
  proxy:expect "A connection broke: %[ECONNRESET%]"
  t.assertEquals(nc(proxy, "Hello\n"), "HELLO\n")
  t.assertStrContains(proxy:interrupt(), "2 connections (1 broken, 0 refused), ")
end

function TestProxy:test_ends_towards_the_client_when_the_server_does()
  local echo = serve(ECHO)
  local proxy <close> = proxy_to(echo.port)
  t.real(function()
    local reader, writer <close> = t.asyncio.open_connection("127.0.0.1", tonumber(proxy.port))
    writer:write "hello\n"
    t.assertEquals(reader:readline(), "HELLO\n")
    echo:interrupt()
    t.assertNil(reader:readline())
  end)
  echo:__close()
end

TestChat = {}

function TestChat:test_sends_every_line_to_all_others()
  needs_nc()
  local server <close> = serve "chat/1_chat.lua"
  local ann <close> = person(server)
  server:expect "Connected: [^\n]+\n"
  local bob <close> = person(server)
  server:expect "Connected: [^\n]+\n"
  local eve <close> = person(server)
  server:expect "Connected: [^\n]+\n"
  ann:type "hello, all"
  bob:expect "^hello, all\n"
  eve:expect "^hello, all\n"
  eve:type "hello, ann"
  ann:expect "^hello, ann\n" -- and not her own line before
  bob:expect "^hello, ann\n"
end

function TestChat:test_goes_on_when_somebody_leaves()
  needs_nc()
  local server <close> = serve "chat/1_chat.lua"
  local ann <close> = person(server)
  server:expect "Connected: [^\n]+\n"
  local bob <close> = person(server)
  server:expect "Connected: [^\n]+\n"
  do
    local eve <close> = person(server)
    server:expect "Connected: [^\n]+\n"
    eve:type "bye"
    bob:expect "^bye\n"
  end
  server:expect "Disconnected\n"
  ann:type "she has gone"
  bob:expect "^she has gone\n"
  local output, status = server:interrupt()
  t.assertEquals({ output, status }, { "", 0 })
end

function TestChat:test_drops_who_never_reads_and_goes_on()
  needs_python()
  local server <close> = serve "chat/1_chat.lua"
  t.assertEquals(python([[
import selectors, socket, sys
address = ("127.0.0.1", int(sys.argv[1]))
deaf = socket.socket()
deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
deaf.connect(address)
speaker, listener = socket.create_connection(address), socket.create_connection(address)
speaker.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(speaker, selectors.EVENT_WRITE)
selector.register(listener, selectors.EVENT_READ)
text = (b"blah " * 1000 + b"\n") * 6000 + b"end\n"  # more than the kernel takes for the deaf one
got = b""
while not got.endswith(b"end\n"):
    for key, _ in selector.select():
        if key.fileobj is listener:
            got += listener.recv(65536)
        elif text:
            text = text[speaker.send(text[:65536]):]
        else:
            selector.unregister(speaker)
print(len(got))

heard = 0  # what the kernel had taken for it already
try:
    while data := deaf.recv(65536): heard += len(data)
except ConnectionResetError:
    pass
print(heard < len(got))
]], server.port), "30006004\nTrue\n")
end

TestRooms = {}

local WELCOME = "Welcome! Enter a room with /join ROOM, then write what you like%.\n"

function TestRooms:test_sends_a_line_to_the_others_in_the_room_only()
  needs_nc()
  local server <close> = serve "chat/2_rooms.lua"
  local ann <close> = person(server, WELCOME)
  local bob <close> = person(server, WELCOME)
  local eve <close> = person(server, WELCOME)
  ann:type "/join kitchen"
  ann:expect "^You are in room kitchen now%.\n"
  bob:type "/join kitchen"
  bob:expect "^You are in room kitchen now%.\n"
  eve:type "/join cellar"
  eve:expect "^You are in room cellar now%.\n"
  ann:type "tea?"
  bob:expect "^tea%?\n"
  eve:type "/join kitchen"
  eve:expect "^You are in room kitchen now%.\n" -- and no tea before
  bob:type "yes"
  ann:expect "^yes\n"
  eve:expect "^yes\n"
end

function TestRooms:test_leaves_the_old_room_when_it_joins_another()
  needs_nc()
  local server <close> = serve "chat/2_rooms.lua"
  local ann <close> = person(server, WELCOME)
  local bob <close> = person(server, WELCOME)
  for _, one in ipairs { ann, bob } do
    one:type "/join kitchen"
    one:expect "kitchen now%.\n"
  end
  bob:type "/join cellar"
  bob:expect "cellar now%.\n"
  ann:type "nobody hears me"
  ann:type "/join cellar" -- answered after the line has been dealt with
  ann:expect "cellar now%.\n"
  ann:type "here I am"
  bob:expect "^here I am\n"
end

function TestRooms:test_explains_itself_to_who_is_lost()
  needs_nc()
  local server <close> = serve "chat/2_rooms.lua"
  local ann <close> = person(server, WELCOME)
  ann:type "hello?"
  ann:expect "^You are in no room yet: /join ROOM\n"
  ann:type "/dance"
  ann:expect "^Unknown command%. There is: /join ROOM\n"
end

TestNicknames = {}

function TestNicknames:test_shows_names_with_the_messages()
  needs_nc()
  local server <close> = serve "chat/3_nicknames.lua"
  local ann <close> = person(server, "Welcome, guest1!.-\n")
  local bob <close> = person(server, "Welcome, guest2!.-\n")
  ann:type "/nick ann"
  ann:expect "^You are ann now%.\n"
  bob:type "/nick ann"
  bob:expect "^That name is taken%.\n"
  ann:type "/join kitchen"
  ann:expect "^You are in room kitchen now%.\n"
  bob:type "/join kitchen"
  ann:expect "^%* guest2 joins\n"
  bob:type "/nick bob"
  ann:expect "^%* guest2 is now bob\n"
  bob:type "tea?"
  ann:expect "^bob: tea%?\n"
end

function TestNicknames:test_lists_the_others_in_the_room()
  needs_nc()
  local server <close> = serve "chat/3_nicknames.lua"
  local ann <close> = person(server, "Welcome.-\n")
  ann:type "/join kitchen"
  ann:expect "now%.\n"
  ann:type "/names"
  ann:expect "^Here are: nobody else\n"
  do
    local bob <close> = person(server, "Welcome.-\n")
    bob:type "/join kitchen"
    ann:expect "^%* guest2 joins\n"
    local eve <close> = person(server, "Welcome.-\n")
    eve:type "/join kitchen"
    ann:expect "^%* guest3 joins\n"
    ann:type "/names"
    ann:expect "^Here are: guest2, guest3\n"
  end
  ann:expect "%* guest%d leaves\n%* guest%d leaves\n"
  ann:type "/names"
  ann:expect "^Here are: nobody else\n"
end

TestServerInMemory = {}

function TestServerInMemory:test_lets_minutes_pass_in_milliseconds()
  local name = os.tmpname()
  local output, status = shell("timeout %d %s %stesting/server_in_memory.lua 2>%s", PATIENCE, lua, examples, name)
  local complaints = t.unhurried(content(name))
  os.remove(name)
  t.assertEquals({ complaints, status }, { "", 0 })
  local minutes, n = 0, 0
  for passed, ms in output:gmatch "ok %- [^\n]+: ([%d.]+) minutes in ([%d.]+) ms\n" do
    minutes, n = minutes + tonumber(passed), n + 1
    if not t.slow then t.assertTrue(tonumber(ms) < 1000, ms) end
  end
  t.assertEquals(n, 4)
  t.assertTrue(minutes >= 9, output)
end

TestTour = {}

function TestTour:test_ends_well_and_soon_and_shows_what_it_promises()
  local out, err = os.tmpname(), os.tmpname()
  local _, _, status = os.execute(("timeout %d %s %stour.lua >%s 2>%s"):format(
    PATIENCE, lua, examples, out, err))
  local output, complaints = content(out), content(err)
  os.remove(out)
  os.remove(err)
  t.assertEquals(t.unhurried(complaints), "")
  t.assertEquals(status, 0)
  local stations, seconds = output:match "That was the tour: (%d+) stations in ([%d.]+) s%."
  t.assertTrue(tonumber(stations) >= 8)
  if not t.slow then t.assertTrue(tonumber(seconds) <= 20, seconds .. " s") end
  for heading in ("%d. A function that waits;%d. The event loop;%d. Errors are not lost"):gmatch "[^;]+" do
    t.assertStrMatches(output, ".*\n" .. heading:gsub("%%d", "%%d+") .. "\n.*")
  end
  for _, line in ipairs {
    "done 7", "10000 tasks have ended; the last one returned 10000", "the value is 42",
    "the sleeper: tidied up", "the block ended well: false; errors in a task group: the milk is sour",
    "its error: nobody hears me", "BOB: GOOD BYE", "10000 lines went there and came back in capitals",
  } do
    t.assertStrContains(output, " s | " .. line .. "\n")
  end
end

function TestTour:test_measures_that_tasks_run_at_the_same_time()
  local out = shell("timeout %d %s %stour.lua", PATIENCE, lua, examples)
  local in_sequence = tonumber(out:match "([%d.]+) s | tea and coffee took 0.2 s %+ 0.3 s\n")
  local began = tonumber(out:match "([%d.]+) s | both tasks are there")
  local ended = tonumber(out:match "([%d.]+) s | tea and coffee took only as long as the slower one\n")
  t.assertTrue(in_sequence >= 0.5)
  t.assertTrue(ended - began < 0.9 * in_sequence, ("%g s"):format(ended - began))
end

TestPool = {}

function TestPool:test_every_request_is_answered_over_few_connections()
  local output, status = shell("timeout %d %s %spool/client.lua 2>&1", PATIENCE, lua, examples)
  local answers, tries = output:match "^(%d+) answers, (%d+) tries\n"
  t.assertEquals({ status, answers }, { 0, "60" }, output)
  t.assertTrue(tonumber(tries) > 60, "no request was tried anew")
  local made, gone, idle = output:match "\n(%d+) connections made, (%d+) thrown away, (%d+) idle\n$"
  t.assertEquals(tonumber(made) - tonumber(gone), tonumber(idle))
  t.assertTrue(tonumber(made) < tonumber(tries))
end

TestKitchen = {}

function TestKitchen:test_draws_who_waits_for_whom()
  local path = os.tmpname()
  os.remove(path)
  local output, status = shell("timeout %d %s %sseeing/kitchen.lua %s.json 2>&1", PATIENCE, lua, examples, path)
  t.assertEquals(status, 0, output)
  t.assertStrContains(output, "now look at " .. path .. ".json\n")
  local trace = require "json".decode(content(path .. ".json"))
  os.remove(path .. ".json")
  local names = {}
  for _, event in ipairs(trace.traceEvents) do
    if event.name == "thread_name" then names[event.args.name] = event.args.state end
  end
  t.assertEquals({ names["waiter"], names["tea's cook"] }, { "done", "done" })
end

TestTls = {}

--- The certificates and keys that the guide's commands make, by name: `dev` is the path of dev.pem.
local function made()
  local folder = os.tmpname()
  os.remove(folder)
  os.execute(("mkdir -m 700 '%s'"):format(folder))
  local guide = content(examples .. "../doc/tls.md")
  for commands in guide:gmatch "\n```sh run\n(.-)\n```" do
    local script = file_with("set -e\n" .. commands .. "\n")
    local output, status = shell("cd '%s' && sh %s 2>&1", folder, script)
    os.remove(script)
    t.assertEquals(status, 0, output)
  end
  return setmetatable({ folder = folder }, {
    __index = function(_, name) return folder .. "/" .. name .. (name:find "%." and "" or ".pem") end,
    __close = function() os.execute(("rm -rf '%s'"):format(folder)) end,
  })
end

function TestTls:setUp()
  if not pcall(require, "asyncio.openssl") then t.skip "asyncio.openssl is not built" end
end

--- Answers by path: with a length, in chunks, or with the connection's end.
local HTTPS_SERVER = [[
local asyncio, ssl = require "asyncio", require "asyncio.ssl"
io.stdout:setvbuf "line"

local CONTENT = ("0123456789"):rep(10000)

local function handle(reader, writer)
  local request = reader:readuntil "\r\n\r\n"
  local path = request:match "^GET (/%S*) HTTP/1.1\r\nHost: localhost\r\n"
  writer:write "HTTP/1.1 200 OK\r\n"
  if path == "/length" then
    writer:send("Content-Length: ", #CONTENT, "\r\n\r\n", CONTENT)
  elseif path == "/chunks" then
    writer:write "Transfer-Encoding: chunked\r\n\r\n"
    for i = 1, #CONTENT, 999 do
      local piece = CONTENT:sub(i, i + 998)
      writer:send(("%x\r\n"):format(#piece), piece, "\r\n")
    end
    writer:send "0\r\n\r\n"
  elseif path == "/short" then
    writer:send("Content-Length: ", #CONTENT + 1, "\r\n\r\n", CONTENT)
  else
    writer:send("\r\n", CONTENT)
  end
end

asyncio.run(function()
  local context = ssl.create_server_context { certfile = arg[1], keyfile = arg[2] }
  local server <close> = asyncio.start_server(handle, "localhost", 0, { ssl = context })
  print("Listening on port " .. server:sockets()[1].port)
  server:serve_forever()
end)
]]

--- What https_get prints, what it complains of, and its status.
local function https_get(arguments)
  local complaints = os.tmpname()
  local output, status = shell("timeout %d %s %stls/https_get.lua %s 2>%s", PATIENCE, lua, examples, arguments,
    complaints)
  local text = t.unhurried(content(complaints))
  os.remove(complaints)
  return output, text, status
end

function TestTls:test_https_get_takes_pages_however_their_end_is_told()
  local files <close> = made()
  local script = file_with(HTTPS_SERVER)
  local server <close> = start("%s %s %s %s", lua, script, files.dev, files["dev.key"])
  local url = "https://localhost:" .. server:expect "Listening on port (%d+)\n"
  os.remove(script)
  local page = ("0123456789"):rep(10000)
  for _, path in ipairs { "/length", "/chunks", "/end" } do
    local output, complaints, status = https_get(url .. path .. " " .. files.dev)
    t.assertEquals({ complaints, status }, { "TLSv1.3, TLS_AES_256_GCM_SHA384, CN=localhost\nHTTP/1.1 200 OK\n", 0 })
    t.assertTrue(output == page, path)
  end
  local _, complaints, status = https_get(url .. "/short " .. files.dev)
  t.assertStrMatches(complaints, ".*\nhttps_get.lua: [^\n]*100000 of 100001[^\n]*\n")
  t.assertEquals(status, 1)
end

function TestTls:test_https_get_verifies_whom_it_asks()
  local files <close> = made()
  local script = file_with(HTTPS_SERVER)
  local server <close> = start("%s %s %s %s", lua, script, files.shop, files["shop.key"])
  local url = "https://localhost:" .. server:expect "Listening on port (%d+)\n"
  os.remove(script)
  for cafile, why in pairs {
    [files.dev] = 'the certificate is for shop.example, not for "localhost"', [""] = "the issuer of the certificate",
  } do
    local output, complaints, status = https_get(url .. "/length " .. cafile)
    t.assertStrContains(complaints, "https_get.lua: certificate verify failed: " .. why)
    t.assertEquals({ output, status }, { "", 1 })
  end
  t.assertEquals({ https_get "http://localhost/" },
    { "", "https_get.lua: usage: https_get.lua https://HOST[:PORT]/PATH [CAFILE]\n", 1 })
end

function TestTls:test_https_get_takes_a_page_of_openssls_own_server()
  local files <close> = made()
  os.execute(("printf 'a page\\n' >'%s/page'"):format(files.folder))
  local server <close> = start("sh -c \"cd %s && exec openssl s_server -accept 0 -WWW -cert dev.pem -key dev.key\"",
    files.folder)
  local port = server:expect "ACCEPT [^\n]*:(%d+)\n"
  local output, complaints, status = https_get(("https://localhost:%s/page %s"):format(port, files.dev))
  t.assertEquals({ output, status }, { "a page\n", 0 }, complaints)
end

local function chat(files, port, name)
  local proof = name and (" %s %s"):format(files[name], files[name .. ".key"]) or ""
  return start("%s %stls/chat_client.lua localhost %s %s%s", lua, examples, port, files.dev, proof)
end

function TestTls:test_chat_shows_the_names_of_certificates_and_changes_its_own()
  local files <close> = made()
  os.execute(("cd '%s' && cp dev.pem now.pem && cp dev.key now.key"):format(files.folder))
  local server <close> = start("%s %stls/chat_server.lua localhost 0 %s %s", lua, examples, files.now, files["now.key"])
  local port = server:expect "Listening on [^\n]*:(%d+)\n"
  local ann <close> = chat(files, port, "ann")
  ann:expect "Connected to CN=localhost\n"
  server:expect "Connected: ann, TLSv1.3\n"
  local other <close> = chat(files, port)
  server:expect "Connected: somebody, TLSv1.3\n"
  ann:type "tea?"
  other:expect "\nann: tea%?\n"
  other:type "yes"
  ann:expect "^somebody: yes\n"

  os.execute(("echo nothing >%s; kill -HUP %s"):format(files.now, server.pid))
  server:expect "The old certificate stays: [^\n]+\n"
  os.execute(("cat %s >%s; cat %s >%s; kill -HUP %s"):format(files.shop, files.now, files["shop.key"],
    files["now.key"], server.pid))
  server:expect "New certificate\n"
  ann:type "still there?" -- who is connected notices nothing
  other:expect "^ann: still there%?\n"
  local late <close> = chat(files, port)
  late:expect 'chat_client.lua: [^\n]*shop.example, not for "localhost"[^\n]*\n%[status 1%]'

  local output, status = server:interrupt()
  t.assertEquals(status, 0, output)
  ann:expect "%[status 0%]" -- it was told that this was the end
end

function TestTls:test_chat_client_ends_when_its_user_does_and_explains_its_usage()
  local files <close> = made()
  local server <close> = start("%s %stls/chat_server.lua localhost 0 %s %s", lua, examples, files.dev, files["dev.key"])
  local port = server:expect "Listening on [^\n]*:(%d+)\n"
  local output, status = shell("echo 'one line' | timeout %d %s %stls/chat_client.lua localhost %s %s 2>&1", PATIENCE,
    lua, examples, port, files.dev)
  t.assertEquals({ output, status }, { "Connected to CN=localhost\n", 0 })
  server:expect "Disconnected: somebody\n"
  output, status = shell("timeout %d %s %stls/chat_client.lua localhost %s 2>&1", PATIENCE, lua, examples, port)
  t.assertEquals({ output, status }, { "usage: chat_client.lua HOST PORT CAFILE [CERTFILE KEYFILE]\n", 2 })
end

t.finish { sampled = true }
