-- peer_spec.lua - real programs at the other end: nc, socat, Python's asyncio; many clients, bad clients.
-- Each bad client is a test of `survives`: the server must serve the next one.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

--- Sends every line back in capitals.
local function shout(reader, writer)
  while true do
    local line = reader:readline()
    if not line then break end
    writer:write(line:upper())
    writer:drain()
  end
end

--- The same in pieces, for input of any kind.
local function shout_pieces(reader, writer)
  while true do
    local data = reader:read(65536)
    if not data then break end
    writer:send(data:upper())
  end
end

TestNc = {}

function TestNc:test_gets_its_lines_back()
  peers.need "nc"
  t.real(function()
    local server <close> = peers.serve(shout)
    local output, errors, status = peers.background(
      ("printf 'hello\\nwhat about this?\\n' | nc -N 127.0.0.1 %d"):format(peers.port(server)))()
    t.assertEquals(output, "HELLO\nWHAT ABOUT THIS?\n")
    t.assertEquals(errors, "")
    t.assertEquals(status, 0)
  end)
end

function TestNc:test_gets_a_last_line_without_newline_back()
  peers.need "nc"
  t.real(function()
    local server <close> = peers.serve(shout)
    local output = peers.background(("printf 'one\\ntwo' | nc -N 127.0.0.1 %d"):format(peers.port(server)))()
    t.assertEquals(output, "ONE\nTWO")
  end)
end

function TestNc:test_that_says_all_and_then_listens_is_answered_after_its_end()
  peers.need "nc"
  t.real(function()
    local server <close> = peers.serve(function(reader, writer)
      local all = reader:read(-1) -- nc's half of the connection is closed now
      asyncio.sleep(0.01)
      writer:write(("%d bytes\n"):format(#all))
    end)
    local output = peers.background(("printf 'some words' | nc -N 127.0.0.1 %d"):format(peers.port(server)))()
    t.assertEquals(output, "10 bytes\n")
  end)
end

function TestNc:test_gets_a_file_back_in_capitals_unchanged_in_length()
  peers.need "nc"
  local line = "The quick brown fox jumps over the lazy dog.\n"
  local input <close> = peers.file(line:rep(t.count(20) * 22222))
  local output <close> = peers.file()
  t.real(function()
    local server <close> = peers.serve(shout)
    local _, errors, status = peers.background(("nc -N 127.0.0.1 %d <'%s' >'%s'"):format(
      peers.port(server), input.name, output.name))()
    t.assertEquals(errors, "")
    t.assertEquals(status, 0)
  end)
  local sent, got = peers.content(input.name), peers.content(output.name)
  t.assertEquals(#got, #sent)
  t.assertTrue(got == sent:upper())
end

function TestNc:test_gets_a_file_of_few_lines_back_unchanged()
  peers.need "nc"
  local input <close> = peers.file(peers.text(t.count(5) * 1000000))
  local output <close> = peers.file()
  t.real(function()
    local server <close> = peers.serve(shout_pieces)
    peers.background(("nc -N 127.0.0.1 %d <'%s' >'%s'"):format(peers.port(server), input.name, output.name))()
  end)
  t.assertTrue(peers.content(output.name) == peers.content(input.name):upper())
end

function TestNc:test_as_the_server_hears_our_client()
  peers.need "nc"
  local output <close> = peers.file()
  t.real(function()
    local port = peers.reserve_port()
    local listening = "printf 'from nc\\n' | nc -l -N 127.0.0.1 %s >'%s'"
    local wait = peers.background(listening:format(port, output.name))
    local reader, writer
    t.wait_until(function()
      local ok
      ok, reader, writer = pcall(asyncio.open_connection, "127.0.0.1", port)
      return ok
    end)
    t.assertEquals(reader:readline(), "from nc\n")
    writer:write "from us\n"
    writer:close()
    wait()
  end)
  t.assertEquals(peers.content(output.name), "from us\n")
end

TestSocat = {}

--- A path where there is no file, for the scope: place.path
local function free_path()
  local name = os.tmpname()
  os.remove(name)
  return setmetatable({ path = name }, { __close = function() os.remove(name) end })
end

--- Waits until a connection can be made, and returns it.
local function eventually(open, ...)
  for _ = 1, 1000 do
    local ok, reader, writer = pcall(open, ...)
    if ok then return reader, writer end
    asyncio.sleep(0.005)
  end
  return open(...)
end

function TestSocat:test_as_a_client_gets_everything_back_over_tcp_and_unix()
  peers.need "socat"
  local input <close> = peers.file(peers.text(t.count(3) * 1000000))
  local place <close> = free_path()
  t.real(function()
    local tcp <close> = peers.serve(shout_pieces)
    local _ <close> = asyncio.start_unix_server(shout_pieces, place.path)
    local expected = peers.content(input.name):upper()
    for _, address in ipairs { "TCP4:127.0.0.1:" .. peers.port(tcp), "UNIX-CONNECT:" .. place.path } do
      local output <close> = peers.file()
      local _, errors, status = peers.background(("socat -t 30 STDIO %s <'%s' >'%s'"):format(
        address, input.name, output.name))()
      t.assertEquals(errors, "")
      t.assertEquals(status, 0)
      t.assertTrue(peers.content(output.name) == expected, address)
    end
  end)
end

function TestSocat:test_as_an_echo_server_on_a_unix_socket()
  peers.need "socat"
  local place <close> = free_path()
  t.real(function()
    local wait = peers.background(("socat UNIX-LISTEN:%s EXEC:cat"):format(place.path))
    local reader, writer <close> = eventually(asyncio.open_unix_connection, place.path)
    local text = peers.text(t.count(3) * 1000000)
    local sender = asyncio.create_task(function()
      writer:send(text)
      writer:write_eof()
    end)
    t.assertTrue(reader:read(-1) == text)
    asyncio.await(sender)
    writer:close()
    t.assertEquals(select(2, wait()), "")
  end)
end

function TestSocat:test_joins_our_tcp_client_to_our_unix_server()
  peers.need "socat"
  local place <close> = free_path()
  t.real(function()
    local _ <close> = asyncio.start_unix_server(shout, place.path)
    local port = peers.reserve_port()
    local wait = peers.background(("socat TCP4-LISTEN:%s,bind=127.0.0.1,reuseaddr UNIX-CONNECT:%s"):format(
      port, place.path))
    local reader, writer <close> = eventually(asyncio.open_connection, "127.0.0.1", port)
    writer:write "through two\nkinds\n"
    writer:write_eof()
    t.assertEquals(reader:read(-1), "THROUGH TWO\nKINDS\n")
    writer:close()
    wait()
  end)
end

function TestSocat:test_that_resets_is_told_as_such()
  peers.need "socat"
  t.real(function()
    local port = peers.reserve_port()
    local wait = peers.background(("socat -u OPEN:/dev/null TCP4-LISTEN:%s,bind=127.0.0.1,reuseaddr,linger=0")
      :format(port))
    local function attempt() -- it serves once: a reset while we connect is what we came for, too
      local ok, reader, writer = pcall(asyncio.open_connection, "127.0.0.1", port)
      if ok then
        local _ <close> = writer
        ok, reader = pcall(reader.read, reader, 1)
        if ok then return reader end
      end
      -- Linux says EPIPE when the end of the stream was there before the reset.
      for _, class in ipairs { asyncio.ConnectionResetError, asyncio.BrokenPipeError } do
        if asyncio.isinstance(reader, class) then return nil end
      end
      error(reader, 0)
    end
    t.assertNil(eventually(attempt))
    wait()
  end)
end

TestPython = {}

--- Runs a Python program in the background. %PORT% in it is the port.
local function python(source, port)
  peers.need "python3"
  local file = peers.file((source:gsub("%%PORT%%", tostring(port))))
  local wait = peers.background(("exec python3 '%s'"):format(file.name))
  return function()
    local output, errors, status = wait()
    os.remove(file.name)
    t.assertEquals(errors, "")
    t.assertEquals(status, 0)
    return output
  end
end

function TestPython:test_asyncio_as_the_client()
  t.real(function()
    local server <close> = peers.serve(shout)
    local output = python([[
import asyncio
async def main():
    reader, writer = await asyncio.open_connection("127.0.0.1", %PORT%)
    for word in ("hello", "to", "lua"):
        writer.write(word.encode() + b"\n")
        await writer.drain()
        print((await reader.readline()).decode(), end="")
    writer.write(b"the end")
    writer.write_eof()
    print((await reader.read()).decode())
    writer.close()
    await writer.wait_closed()
asyncio.run(main())
]], peers.port(server))()
    t.assertEquals(output, "HELLO\nTO\nLUA\nTHE END\n")
  end)
end

function TestPython:test_many_asyncio_clients_at_once()
  t.real(function()
    local server <close> = peers.serve(shout, { backlog = 512 })
    local output = python([[
import asyncio
async def client(i):
    reader, writer = await asyncio.open_connection("127.0.0.1", %PORT%)
    good = 0
    for k in range(20):
        line = f"client {i} line {k}\n".encode()
        writer.write(line)
        good += await reader.readline() == line.upper()
    writer.close()
    return good
async def main():
    print(sum(await asyncio.gather(*(client(i) for i in range(100)))))
asyncio.run(main())
]], peers.port(server))()
    t.assertEquals(output, "2000\n")
  end)
end

function TestPython:test_asyncio_as_the_server()
  peers.need "python3"
  t.real(function()
    local address <close> = peers.file()
    local wait = python(([[
import asyncio
async def shout(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
    done.set()
async def main():
    global done
    done = asyncio.Event()
    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    with open("%s", "w") as f:
        f.write(str(server.sockets[0].getsockname()[1]) + "\n")
    await done.wait()
    server.close()
asyncio.run(main())
]]):format(address.name), 0)
    local port
    t.wait_until(function()
      port = tonumber(peers.content(address.name):match "^(%d+)\n")
      return port
    end)
    local reader, writer = asyncio.open_connection("127.0.0.1", port)
    local text = ("a line\n"):rep(t.count(200000))
    writer:write(text)
    writer:write_eof()
    t.assertTrue(reader:read(-1) == text:upper())
    writer:close()
    wait()
  end)
end

function TestPython:test_asyncio_as_client_and_server_on_unix_sockets()
  peers.need "python3"
  local ours <close> = free_path()
  local theirs <close> = free_path()
  t.real(function()
    local _ <close> = asyncio.start_unix_server(shout, ours.path)
    local wait = python(([[
import asyncio
async def shout(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    done.set()
async def main():
    global done
    done = asyncio.Event()
    server = await asyncio.start_unix_server(shout, "%s")
    reader, writer = await asyncio.open_unix_connection("%s")
    writer.write(b"hello\nfrom python")
    writer.write_eof()
    print((await reader.read()).decode())
    writer.close()
    await done.wait()
    server.close()
asyncio.run(main())
]]):format(theirs.path, ours.path), 0)
    local reader, writer <close> = eventually(asyncio.open_unix_connection, theirs.path)
    local text = ("a line\n"):rep(t.count(50000))
    writer:write(text)
    writer:write_eof()
    t.assertTrue(reader:read(-1) == text:upper())
    writer:close()
    t.assertEquals((wait()), "HELLO\nFROM PYTHON\n")
  end)
end

function TestPython:test_asyncio_client_that_is_cut_off_sees_the_reset_and_ours_serves_on()
  peers.need "python3"
  t.real(function()
    local server <close> = peers.serve(function(reader, writer)
      reader:readline()
      writer:abort()
    end)
    for _ = 1, 2 do
      local output = python([[
import asyncio
async def main():
    reader, writer = await asyncio.open_connection("127.0.0.1", %PORT%)
    writer.write(b"x\n" + 100000 * b"y")
    try:
        print(await reader.read())
    except ConnectionResetError:
        print("reset")
asyncio.run(main())
]], peers.port(server))()
      t.assertTrue(output == "reset\n" or output == "b''\n", output)
    end
  end)
end

TestThousandClients = {}

function TestThousandClients:test_at_once_are_all_served()
  local n = t.count(1000)
  local room = "ulimit -n 4096 2>/dev/null || ulimit -n $(ulimit -H -n);"
  local port, wait = peers.program(([[
    local asyncio = require "asyncio"
    local open, most, ended = 0, 0, 0
    asyncio.run(function()
      local all_ended = asyncio.get_running_loop():create_future()
      local server <close> = asyncio.start_server(function(reader, writer)
        open = open + 1
        most = math.max(most, open)
        for line in reader:lines() do writer:send(line:upper(), "\n") end
        open, ended = open - 1, ended + 1
        if ended == %d then all_ended:set_result() end
      end, "127.0.0.1", 0, { backlog = 1024 })
      print(server:sockets()[1].port)
      io.stdout:flush()
      asyncio.await(all_ended)
    end)
    print(most, ended, open)
  ]]):format(n), room)
  local command, file = peers.lua_command(([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local n, connected, good = %d, 0, 0
      local all = asyncio.get_running_loop():create_future()
      local tasks = {}
      for i = 1, n do
        tasks[i] = asyncio.create_task(function()
          local reader, writer <close> = asyncio.open_connection("127.0.0.1", %d)
          local function ask(line)
            writer:write(line, "\n")
            if reader:readline() == line:upper() .. "\n" then good = good + 1 end
          end
          ask("first " .. i)
          connected = connected + 1
          if connected == n then all:set_result() end
          asyncio.await(asyncio.shield(all)) -- all are there at the same time
          for k = 1, 3 do ask(("client %%d line %%d"):format(i, k)) end
        end)
      end
      for _, task in ipairs(tasks) do asyncio.await(task) end
      print(good)
    end)
  ]]):format(n, port))
  local _ <close> = file
  local pipe = io.popen(("%s timeout 60 %s 2>&1"):format(room, command))
  t.assertEquals(t.unhurried(pipe:read "a"), ("%d\n"):format(4 * n))
  pipe:close()
  t.assertEquals((wait()), ("\n%d\t%d\t0\n"):format(n, n))
end

TestBadClients = {}

--- Runs fn(server, socket) with a server that answers in capitals and sees to it that the server
-- serves on afterwards. Handlers may fail with their broken connection, which is not reported.
local function survives(fn, handler)
  local socket = peers.luasocket()
  t.real(function()
    local server <close> = peers.serve(handler or shout, { close_timeout = 0.2 })
    local function connected()
      local client = assert(socket.connect("127.0.0.1", peers.port(server)))
      client:settimeout(5)
      return client
    end
    fn(connected)
    local reader, writer <close> = peers.connect(server)
    writer:write "still there?\n"
    t.assertEquals(reader:readline(), "STILL THERE?\n")
    writer:close()
    server:close()
    server:wait_closed()
  end)
end

function TestBadClients:test_that_reset_at_once()
  survives(function(connected)
    for _ = 1, 20 do peers.reset(connected()) end
    t.until_blocked()
  end)
end

function TestBadClients:test_that_reset_after_half_a_line()
  survives(function(connected)
    for i = 1, 20 do
      local client = connected()
      client:send "half a li"
      if i % 2 == 0 then asyncio.sleep(0.002) end
      peers.reset(client)
    end
    t.until_blocked()
  end)
end

function TestBadClients:test_that_reset_while_they_are_answered()
  survives(function(connected)
    for _ = 1, 5 do
      local client = connected()
      client:settimeout(0)
      for _ = 1, 100 do
        client:send(("many lines\n"):rep(2000))
        asyncio.sleep(0)
      end
      peers.reset(client)
    end
    t.until_blocked()
  end)
end

function TestBadClients:test_that_half_close_get_every_answer()
  survives(function(connected)
    local client = connected()
    client:send "one\ntwo\nno newline"
    client:shutdown "send"
    local answer = ""
    t.wait_until(function()
      client:settimeout(0)
      local data, err, partial = client:receive "*a"
      answer = answer .. (data or partial)
      return data or err == "closed"
    end)
    t.assertEquals(answer, "ONE\nTWO\nNO NEWLINE")
    client:close()
  end)
end

function TestBadClients:test_that_send_no_newline_and_vanish()
  survives(function(connected)
    for _ = 1, 5 do
      local client = connected()
      client:send "no newline"
      client:close()
    end
    t.until_blocked()
  end)
end

function TestBadClients:test_that_send_a_line_without_end_are_told_off()
  local overruns = 0
  survives(function(connected)
    local client = connected()
    client:settimeout(0)
    t.wait_until(function()
      client:send(("x"):rep(10000))
      return overruns > 0
    end)
    client:close()
  end, function(reader, writer)
    local ok, err = pcall(shout, reader, writer)
    if ok then return end
    t.assert_isinstance(err, asyncio.LimitOverrunError)
    overruns = overruns + 1
  end)
end

function TestBadClients:test_that_never_read_hold_up_nobody_else()
  survives(function(connected)
    local client = connected()
    client:settimeout(0)
    local line, sent, still = ("many words in a line\n"):rep(5000), 0, 0
    while still < 50 do -- until the server takes no more: its answers wait for this client
      local last, _, partial = client:send(line)
      local n = last or partial
      sent = sent + n
      still = n == 0 and still + 1 or 0
      asyncio.sleep(0.001)
    end
    t.assertTrue(sent > 0)
    peers.reset(client)
  end)
end

function TestBadClients:test_that_say_nothing_hold_up_nobody_else()
  survives(function(connected)
    local silent = {}
    for i = 1, 20 do silent[i] = connected() end
    asyncio.sleep(0.01)
    for _, client in ipairs(silent) do client:close() end
  end)
end

t.finish { sampled = true }
