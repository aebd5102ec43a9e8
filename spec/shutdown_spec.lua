-- shutdown_spec.lua - a server's end in good order: shutdown, stop_grace; and max_connections, stats.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local CAN_KEEP_OUT = io.open("/proc/self/stat") ~= nil -- Linux: new clients are told from those on their way

--- Answers each line, when the work for it is done.
local function worker(reader, writer)
  for line in reader:lines() do
    asyncio.sleep(0.1)
    writer:send("done: ", line, "\n")
  end
end

--- A handler that waits for an end, and notes how its read ended.
local function noting(ends)
  return function(reader)
    local ok, data = pcall(reader.read, reader, 1)
    ends[#ends + 1] = not ok and "cancelled" or data or "end"
    if not ok then error(data, 0) end
  end
end

local function stubborn(reader)
  reader:read(1)
  asyncio.sleep(1000)
end

--- n clients, whose handlers run; they are dropped with the scope.
local function clients(server, n)
  local list = setmetatable({}, { __close = function(self)
    for _, client in ipairs(self) do client.writer:abort() end
  end })
  for i = 1, n do
    local reader, writer = peers.connect(server)
    list[i] = { reader = reader, writer = writer }
  end
  t.wait_until(function() return server:stats().accepted >= n end)
  t.until_blocked()
  return list
end

local function now() return asyncio.get_running_loop():time() end

local function assert_took(start, seconds) t.assertAlmostEquals(now() - start, seconds, 0.01) end

TestShutdown = {}

function TestShutdown:test_wakes_the_handlers_of_idle_clients_at_once_with_an_end()
  t.run(function()
    local ends = {}
    local server <close> = peers.serve(noting(ends))
    local idle <close> = clients(server, 5)
    asyncio.sleep(1)
    local start = now()
    local task = asyncio.create_task(server.shutdown, server)
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertEquals(ends, { "end", "end", "end", "end", "end" })
    t.assertEquals(now(), start)
    t.assertEquals(asyncio.await(task), 0)
    for _, client in ipairs(idle) do t.assertNil(client.reader:read(1)) end
  end)
end

function TestShutdown:test_lets_a_handler_send_the_answer_it_owes()
  t.real(function()
    local server <close> = peers.serve(worker)
    local list <close> = clients(server, 3)
    for _, client in ipairs(list) do client.writer:send "one\n" end
    t.until_blocked()
    t.assertEquals(server:shutdown(), 0)
    for _, client in ipairs(list) do t.assertEquals(client.reader:read(), "done: one\n") end
    t.assertEquals(server:stats().connections, 0)
  end)
end

--- A server whose handler reads lines once the gate is open, and whose streams take next to nothing ahead.
local function with_gate(fn)
  t.real(function()
    local gate, lines = asyncio.Event(), {}
    local server <close> = peers.serve(function(reader)
      gate:wait()
      for line in reader:lines() do lines[#lines + 1] = line end
    end, { limit = 16 })
    local list <close> = clients(server, 1)
    fn(server, list[1].writer, gate, lines)
  end)
end

function TestShutdown:test_takes_what_the_kernel_holds_first()
  with_gate(function(server, writer, gate, lines)
    writer:send(("request\n"):rep(5000))
    t.until_blocked()
    local task = asyncio.create_task(server.shutdown, server)
    t.until_blocked()
    gate:set()
    t.assertEquals(asyncio.await(task), 0)
    t.assertEquals(#lines, 5000)
  end)
end

function TestShutdown:test_takes_so_much_and_no_more()
  with_gate(function(server, writer, gate, lines)
    writer:write(("request\n"):rep(20000))
    t.until_blocked()
    local task = asyncio.create_task(server.shutdown, server)
    t.until_blocked()
    gate:set()
    t.assertEquals(asyncio.await(task), 0)
    t.assertTrue(#lines >= 65536 // 8, #lines)
    t.assertTrue(#lines < 20000)
  end)
end

function TestShutdown:test_in_the_middle_of_a_message_ends_the_handler_quietly_and_counts_it()
  t.real(function()
    local how, got = 0, {}
    local calls = {
      function(reader) return reader:readexactly(100) end,
      function(reader) return reader:readuntil "." end,
      function(reader) return reader:readline() end,
      function(reader) for line in reader:lines() do got[#got + 1] = line end end,
    }
    local server <close> = peers.serve(function(reader)
      how = how + 1
      got[#got + 1] = calls[how](reader)
    end)
    local list <close> = clients(server, #calls)
    for _, client in ipairs(list) do client.writer:send "half" end
    t.until_blocked()
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(got, {})
    local stats = server:stats()
    t.assertEquals({ stats.cut, stats.failed, stats.reset, stats.aborted }, { #calls, 0, 0, 0 })
    for _, client in ipairs(list) do t.assertNil(client.reader:readline()) end
  end)
end

function TestShutdown:test_gives_a_cut_message_with_its_error()
  t.real(function()
    local err, rest
    local server <close> = peers.serve(function(reader)
      err = t.error_of(reader.readline, reader)
      rest = { reader:readline(), reader:read(5), reader:read(), reader:at_eof() }
    end)
    local list <close> = clients(server, 1)
    list[1].writer:send "half"
    t.until_blocked()
    server:shutdown()
    t.assert_isinstance(err, asyncio.IncompleteReadError)
    t.assertEquals(err.partial, "half")
    t.assertEquals(rest, { nil, nil, "", true })
  end)
end

function TestShutdown:test_in_the_middle_of_a_message_is_reported_in_debug_mode()
  t.real(function(reports)
    asyncio.get_running_loop():set_debug(true)
    local server <close> = peers.serve(function(reader) reader:readexactly(10) end)
    local list <close> = clients(server, 1)
    list[1].writer:send "half"
    t.until_blocked()
    server:shutdown()
    t.take_report(reports, "its server was shut down in the middle of a message")
    asyncio.get_running_loop():set_debug(false)
  end)
end

function TestShutdown:test_excuses_no_message_that_another_connection_has_cut()
  t.real(function(reports)
    local other <close> = peers.serve(function(_, writer) writer:send "half" end)
    local server <close> = peers.serve(function(reader)
      reader:read(1)
      local far, writer <close> = peers.connect(other) -- luacheck: ignore
      far:readexactly(10)
    end)
    local list <close> = clients(server, 1)
    list[1].writer:send "x"
    t.until_blocked()
    server:shutdown()
    t.take_report(reports, "handler failed")
    t.assertEquals({ server:stats().cut, server:stats().failed }, { 0, 1 })
  end)
end

function TestShutdown:test_leaves_what_a_peer_has_cut_a_failure()
  t.real(function(reports)
    local server <close> = peers.serve(function(reader) reader:readexactly(10) end)
    local list <close> = clients(server, 1)
    list[1].writer:send "half"
    list[1].writer:write_eof()
    t.until_blocked()
    server:shutdown()
    t.take_report(reports, "handler failed")
    t.assertEquals(server:stats().cut, 0)
  end)
end

function TestShutdown:test_wakes_who_waits_for_the_end()
  t.real(function()
    local ended = 0
    local server <close> = peers.serve(function(reader)
      reader:readline()
      reader:wait_eof()
      ended = ended + 1
    end)
    local list <close> = clients(server, 2)
    for _, client in ipairs(list) do client.writer:send "one\ntwo" end
    t.until_blocked()
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(ended, 2)
  end)
end

function TestShutdown:test_lets_a_copy_end()
  t.real(function()
    local server <close> = peers.serve(function(reader, writer) asyncio.copy(reader, writer) end)
    local list <close> = clients(server, 1)
    list[1].writer:send "there and back"
    t.until_blocked()
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(list[1].reader:read(), "there and back")
  end)
end

function TestShutdown:test_leaves_writers_open()
  t.real(function()
    local text = peers.text(3000000)
    local server <close> = peers.serve(function(reader, writer)
      reader:read()
      writer:send(text)
      writer:drain()
      writer:write_eof()
      t.assertFalse(writer:is_closing())
    end)
    local list <close> = clients(server, 1)
    local task = asyncio.create_task(server.shutdown, server)
    t.assertTrue(list[1].reader:read() == text)
    t.assertEquals(asyncio.await(task), 0)
  end)
end

function TestShutdown:test_aborts_what_is_left_after_its_grace_and_waits_for_the_handlers()
  t.run(function()
    local cleaned = 0
    local server <close> = peers.serve(function(reader)
      local _ <close> = setmetatable({}, { __close = function()
        asyncio.sleep(1)
        cleaned = cleaned + 1
      end })
      stubborn(reader)
    end)
    local list <close> = clients(server, 3)
    local start = now()
    t.assertEquals(server:shutdown(10), 3)
    assert_took(start, 11)
    t.assertEquals(cleaned, 3)
    t.assertEquals(server:stats().aborted, 3)
    for _, client in ipairs(list) do t.assertNil(client.reader:read(1)) end
  end)
end

function TestShutdown:test_has_thirty_seconds_unless_told()
  t.run(function()
    local server <close> = peers.serve(stubborn)
    local list <close> = clients(server, 1) -- luacheck: ignore
    local start = now()
    t.assertEquals(server:shutdown(), 1)
    assert_took(start, 30)
  end)
end

function TestShutdown:test_without_grace_aborts_at_once()
  t.run(function()
    local ends = {}
    local server <close> = peers.serve(noting(ends))
    local list <close> = clients(server, 2) -- luacheck: ignore
    local start = now()
    t.assertEquals(server:shutdown(0), 2)
    t.assertEquals(now(), start)
    t.assertEquals(#ends, 2)
  end)
end

function TestShutdown:test_waits_as_long_as_it_takes_with_a_grace_without_end()
  t.run(function()
    local server <close> = peers.serve(stubborn)
    local list <close> = clients(server, 1) -- luacheck: ignore
    asyncio.sleep(1)
    local start = now()
    t.assertEquals(server:shutdown(math.huge), 0)
    assert_took(start, 1000)
  end)
end

function TestShutdown:test_aborts_a_client_that_takes_nothing()
  t.real(function()
    local server <close> = peers.serve(function(_, writer) writer:write(("x"):rep(50000000)) end)
    local list <close> = clients(server, 1) -- luacheck: ignore
    t.assertEquals(server:shutdown(0.2), 1)
  end)
end

function TestShutdown:test_tells_only_after_its_grace_for_whom_it_waits()
  t.run(function(reports)
    local server <close> = peers.serve(function(reader)
      pcall(stubborn, reader)
      pcall(asyncio.sleep, 100) -- goes on when it is cancelled
    end)
    local list <close> = clients(server, 1) -- luacheck: ignore
    local waiting = asyncio.create_task(server.wait_closed, server)
    local task = asyncio.create_task(server.shutdown, server, 60)
    asyncio.sleep(59)
    t.assertEquals(reports, {})
    t.assertStrContains(tostring(task), "waits (shutdown, 1 connection)")
    asyncio.sleep(20)
    t.take_report(reports, "has waited 5 s for 1 connection to end")
    t.assertEquals(asyncio.await(task), 1)
    asyncio.await(waiting)
  end)
end

function TestShutdown:test_serves_those_who_wait_in_the_backlog()
  local socket = peers.luasocket()
  t.real(function()
    local server <close> = peers.serve(worker, { backlog = 100 })
    local list = {}
    for i = 1, 70 do
      list[i] = assert(socket.connect("127.0.0.1", peers.port(server)))
      list[i]:send(("request %d\n"):format(i))
    end
    t.assertEquals(server:stats().accepted, 0)
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(server:stats().accepted, 70)
    for i, client in ipairs(list) do
      client:settimeout(5)
      t.assertEquals(client:receive "*a", ("done: request %d\n"):format(i))
      client:close()
    end
  end)
end

function TestShutdown:test_hears_out_those_who_have_just_come()
  local socket = peers.luasocket()
  t.real(function()
    local server <close> = peers.serve(worker)
    local client = assert(socket.connect("127.0.0.1", peers.port(server)))
    local task = asyncio.create_task(server.shutdown, server)
    asyncio.sleep(0.01)
    client:send "late\n"
    t.assertEquals(asyncio.await(task), 0)
    client:settimeout(5)
    t.assertEquals(client:receive "*a", "done: late\n")
    client:close()
  end)
end

function TestShutdown:test_hears_out_those_who_have_just_been_accepted()
  t.real(function()
    local server <close> = peers.serve(worker)
    local list <close> = clients(server, 2)
    local task = asyncio.create_task(server.shutdown, server)
    asyncio.sleep(0.01)
    list[1].writer:send "late\n"
    t.assertEquals(asyncio.await(task), 0)
    t.assertEquals(list[1].reader:read(), "done: late\n")
    t.assertNil(list[2].reader:readline())
  end)
end

function TestShutdown:test_waits_a_moment_only_for_those_who_say_nothing()
  local socket = peers.luasocket()
  t.run(function()
    local server <close> = peers.serve(worker)
    local client = assert(socket.connect("127.0.0.1", peers.port(server)))
    local start = now()
    t.assertEquals(server:shutdown(), 0)
    t.assertAlmostEquals(now() - start, 0.05, 1e-6)
    client:close()
  end)
end

function TestShutdown:test_accepts_no_more()
  t.real(function()
    local server <close> = peers.serve(worker)
    local address = server:sockets()[1]
    local list <close> = clients(server, 1)
    list[1].writer:send "one\n"
    t.until_blocked()
    local task = asyncio.create_task(server.shutdown, server)
    asyncio.sleep(0)
    t.assertFalse(server:is_serving())
    t.assertEquals(server:sockets(), {})
    t.assert_raises(asyncio.ClosedError, server.start_serving, server)
    t.assert_raises(asyncio.ConnectionRefusedError, asyncio.open_connection, address.host, address.port)
    t.assertEquals(asyncio.await(task), 0)
    t.assertEquals(server:stats().accepted, 1)
  end)
end

function TestShutdown:test_keeps_new_clients_out_while_it_waits_for_those_on_their_way()
  local socket = peers.luasocket()
  if not CAN_KEEP_OUT then t.skip "the system can't" end
  t.run(function()
    local server <close> = peers.serve(worker)
    local port = peers.port(server)
    local task = asyncio.create_task(server.shutdown, server)
    asyncio.sleep(0)
    local client = socket.tcp4()
    client:settimeout(0.2)
    t.assertNil(client:connect("127.0.0.1", port))
    client:close()
    t.assertEquals(asyncio.await(task), 0)
    t.assertEquals(server:stats().accepted, 0)
  end)
end

function TestShutdown:test_of_a_server_that_does_not_serve_serves_nobody()
  local socket = peers.luasocket()
  t.run(function()
    local server <close> = peers.serve(worker, { start_serving = false })
    local client = assert(socket.connect("127.0.0.1", peers.port(server)))
    client:send "one\n"
    local start = now()
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(now(), start)
    t.assertEquals(server:stats().accepted, 0)
    client:close()
  end)
end

function TestShutdown:test_that_is_cancelled_raises_and_may_be_called_again()
  t.run(function()
    local server <close> = peers.serve(stubborn)
    local list <close> = clients(server, 2) -- luacheck: ignore
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() server:shutdown() end, 5)
    t.assertFalse(server:is_serving())
    t.assertEquals(server:stats().connections, 2)
    local start = now()
    t.assertEquals(server:shutdown(7), 2)
    assert_took(start, 7)
    t.assertEquals(server:shutdown(7), 0)
  end)
end

function TestShutdown:test_may_be_called_by_several_and_the_shortest_grace_counts()
  t.run(function()
    local server <close> = peers.serve(stubborn)
    local list <close> = clients(server, 2) -- luacheck: ignore
    local start = now()
    t.assertEquals({ asyncio.gather(
      function() return server:shutdown(20) end, function() return server:shutdown(5) end) }, { 2, 2 })
    assert_took(start, 5)
  end)
end

--- Woken by the end and, before it has run, due.
function TestShutdown:test_whose_grace_is_over_as_the_last_handler_ends_counts_none()
  t.real(function()
    local gate = asyncio.Event()
    local server <close> = peers.serve(function(_, writer)
      writer:close()
      writer:wait_closed()
      gate:wait()
    end)
    local list <close> = clients(server, 1) -- luacheck: ignore
    local deadline = now() + 0.05
    local blocker = asyncio.create_task(function()
      gate:wait()
      while now() < deadline + 0.01 do end -- luacheck: ignore
    end)
    local task = asyncio.create_task(server.shutdown, server, 0.05)
    asyncio.sleep(0.02)
    gate:set()
    t.assertEquals(asyncio.await(task), 0)
    asyncio.await(blocker)
  end)
end

function TestShutdown:test_goes_on_when_another_is_cancelled()
  t.run(function()
    local server <close> = peers.serve(stubborn)
    local list <close> = clients(server, 1) -- luacheck: ignore
    local forever = asyncio.create_task(server.serve_forever, server)
    t.until_blocked()
    local long = asyncio.create_task(server.shutdown, server, 20)
    local short = asyncio.create_task(server.shutdown, server, 5)
    asyncio.sleep(1)
    short:cancel()
    asyncio.wait { short }
    asyncio.sleep(0)
    t.assertFalse(forever:done())
    t.assertEquals(asyncio.await(long), 1)
    asyncio.await(forever)
  end)
end

function TestShutdown:test_after_close_ends_the_readers_of_those_who_are_left()
  t.real(function()
    local ends = {}
    local server <close> = peers.serve(noting(ends))
    local list <close> = clients(server, 2) -- luacheck: ignore
    server:close()
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(ends, { "end", "end" })
  end)
end

function TestShutdown:test_of_a_server_without_clients_returns_0()
  t.real(function()
    local server = peers.serve(worker)
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(server:shutdown(), 0)
    server:wait_closed()
  end)
end

function TestShutdown:test_is_refused_in_a_handler_of_the_server()
  t.real(function()
    local err, server
    server = peers.serve(function() err = t.error_of(server.shutdown, server) end)
    local _ <close> = server
    local list <close> = clients(server, 1) -- luacheck: ignore
    t.assert_isinstance(err, asyncio.Error)
    t.assertStrContains(err.message, "a handler cannot shut its own server down: it would wait for itself")
    t.assertTrue(server:is_serving())
  end)
end

function TestShutdown:test_may_be_called_in_a_handler_of_another_server()
  t.real(function()
    local first <close> = peers.serve(worker)
    local aborted
    local second <close> = peers.serve(function() aborted = first:shutdown() end)
    local list <close> = clients(second, 1) -- luacheck: ignore
    t.wait_until(function() return aborted end)
    t.assertEquals(aborted, 0)
  end)
end

function TestShutdown:test_does_nothing_where_nothing_can_wait()
  t.real(function()
    local server <close> = peers.serve(worker)
    local err
    asyncio.get_running_loop():call_soon(function() err = t.error_of(server.shutdown, server) end)
    asyncio.sleep(0.1)
    t.assertStrContains(tostring(err), "cannot wait")
    t.assertTrue(server:is_serving())
  end)
end

function TestShutdown:test_refuses_wrong_arguments_and_does_nothing_then()
  t.real(function()
    local server <close> = peers.serve(worker)
    for _, grace in ipairs { "5", -1, 0 / 0, {}, true } do
      t.assertErrorMsgContains("bad argument #1 to 'shutdown'", function()
        server:shutdown(grace)
      end)
    end
    t.assertTrue(server:is_serving())
  end)
end

function TestShutdown:test_of_a_loop_that_is_closed_returns_0()
  local server
  asyncio.run(function() server = peers.serve(worker) end)
  t.real(function() t.assertEquals(server:shutdown(), 0) end)
end

function TestShutdown:test_lets_serve_forever_return_when_it_has_ended()
  t.real(function()
    local server <close> = peers.serve(worker)
    local list <close> = clients(server, 1)
    local forever = asyncio.create_task(server.serve_forever, server)
    list[1].writer:send "one\n"
    t.until_blocked()
    local task = asyncio.create_task(server.shutdown, server)
    t.until_blocked()
    t.assertFalse(forever:done())
    asyncio.await(forever)
    t.assertEquals(server:stats().connections, 0)
    t.assertEquals(asyncio.await(task), 0)
  end)
end

function TestShutdown:test_that_is_cancelled_lets_serve_forever_return()
  t.run(function()
    local server <close> = peers.serve(stubborn)
    local list <close> = clients(server, 1) -- luacheck: ignore
    local forever = asyncio.create_task(server.serve_forever, server)
    t.until_blocked()
    local task = asyncio.create_task(server.shutdown, server)
    asyncio.sleep(1)
    task:cancel()
    asyncio.await(forever)
    server:abort_clients()
    server:shutdown(0)
  end)
end

function TestShutdown:test_may_be_what_a_signal_handler_starts()
  t.real(function()
    local loop, ppid = asyncio.get_running_loop(), io.popen("echo $PPID"):read "n"
    local server <close> = peers.serve(worker)
    local list <close> = clients(server, 1)
    list[1].writer:send "one\n"
    loop:add_signal_handler("SIGTERM", function() asyncio.create_task(server.shutdown, server) end)
    os.execute("kill -TERM " .. ppid)
    server:serve_forever()
    loop:remove_signal_handler "SIGTERM"
    t.assertEquals(list[1].reader:read(), "done: one\n")
  end)
end

--- A client that speaks while it is hung up on: the end comes before the reset.
function TestShutdown:test_gives_a_client_that_goes_on_speaking_a_clean_end()
  t.real(function()
    for _ = 1, t.count(20) do
      local server <close> = peers.serve(function(reader, writer)
        for line in reader:lines() do writer:write(line, "\n") end
      end)
      local list <close> = clients(server, 1)
      local reader, writer = list[1].reader, list[1].writer
      local talking = asyncio.create_task(function()
        while pcall(writer.send, writer, "more\n") do asyncio.sleep(0) end
      end)
      asyncio.sleep(0.002)
      t.assertEquals(server:shutdown(), 0)
      while true do
        local line = reader:readline()
        if not line then break end
        t.assertEquals(line, "more\n")
      end
      talking:cancel()
      asyncio.wait { talking }
    end
  end)
end

function TestShutdown:test_of_a_socket_that_was_made_elsewhere_leaves_that_as_it_was()
  local socket = peers.luasocket()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  local other <close> = assert(io.popen("cat", "w")) -- luacheck: ignore (it has the socket, too)
  t.real(function()
    local server <close> = asyncio.start_server(worker, { fd = listener:getfd() })
    listener:setfd(-1)
    local client = assert(socket.connect("127.0.0.1", tonumber(port)))
    client:send "one\n"
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(client:receive "*a", "done: one\n")
    client:close()
    assert(socket.connect("127.0.0.1", tonumber(port))):close() -- another could serve it
  end)
end

function TestShutdown:test_of_a_unix_server()
  local path = os.tmpname()
  os.remove(path)
  for _, name in ipairs { path, "\0asyncio" .. path } do
    t.run(function()
      local server <close> = asyncio.start_unix_server(worker, name)
      local reader, writer <close> = asyncio.open_unix_connection(name)
      local idle, other = asyncio.open_unix_connection(name)
      local _ <close> = other
      writer:send "one\n"
      t.until_blocked()
      local late, third <close> = asyncio.open_unix_connection(name)
      third:send "two\n"
      local task = asyncio.create_task(server.shutdown, server)
      asyncio.sleep(0)
      t.assertNil(io.open(path))
      t.assertEquals(reader:read(), "done: one\n")
      t.assertNil(idle:read(1))
      t.assertEquals(late:read(), "done: two\n")
      t.assertEquals(asyncio.await(task), 0)
    end)
  end
end

TestStopGrace = {}

--- Runs main as a task, with a client who has asked something; both, and the server.
local function with_asked(handler, opts, main, fn)
  t.run(function(reports)
    local server
    local task = asyncio.create_task { function()
      local mine <close> = peers.serve(handler, opts)
      server = mine
      main(server)
    end, name = "main" }
    t.wait_until(function() return server end)
    local list <close> = clients(server, 1)
    list[1].writer:send "one\n"
    t.until_blocked()
    fn(task, server, list[1], reports)
  end)
end

local function forever(server) server:serve_forever() end
local function elsewhere() asyncio.sleep(1000) end

function TestStopGrace:test_makes_a_shutdown_of_a_cancellation()
  for _, main in ipairs { forever, elsewhere } do
    with_asked(worker, { stop_grace = 10 }, main, function(task, server, client)
      task:cancel "for a reason"
      local err = t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      t.assertEquals(err.message, "for a reason")
      t.assertEquals(client.reader:read(), "done: one\n")
      t.assertEquals(server:stats().aborted, 0)
    end)
  end
end

function TestStopGrace:test_aborts_what_is_left_after_it()
  for _, main in ipairs { forever, elsewhere } do
    with_asked(stubborn, { stop_grace = 10 }, main, function(task, server)
      local start = now()
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      assert_took(start, 10)
      t.assertEquals(server:stats().aborted, 1)
    end)
  end
end

function TestStopGrace:test_is_broken_off_by_a_second_cancellation()
  for _, main in ipairs { forever, elsewhere } do
    with_asked(stubborn, { stop_grace = 10 }, main, function(task, server)
      local start = now()
      task:cancel()
      asyncio.sleep(1)
      t.assertStrContains(tostring(task), "waits (shutdown, 1 connection)")
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      assert_took(start, 1)
      t.until_blocked()
      t.assertEquals(server:stats().connections, 0)
      t.assertEquals(server:stats().aborted, 1)
    end)
  end
end

function TestStopGrace:test_is_for_nothing_when_two_cancellations_come_at_once()
  for _, main in ipairs { forever, elsewhere } do
    with_asked(stubborn, { stop_grace = 10 }, main, function(task)
      local start = now()
      task:cancel()
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      t.assertEquals(now(), start)
      asyncio.sleep(0.01)
    end)
  end
end

function TestStopGrace:test_is_not_for_errors()
  with_asked(stubborn, { stop_grace = 10 }, function()
    asyncio.sleep(5)
    error "the body's own fault"
  end, function(task, server)
    local start = now()
    t.assertErrorMsgContains("the body's own fault", asyncio.await, task)
    assert_took(start, 5)
    t.assertEquals(server:stats().aborted, 1)
  end)
end

function TestStopGrace:test_is_none_by_default()
  for _, main in ipairs { forever, elsewhere } do
    with_asked(worker, {}, main, function(task, server, client)
      local start = now()
      task:cancel()
      t.assert_raises(asyncio.CancelledError, asyncio.await, task)
      t.assertEquals(now(), start)
      t.assertNil(client.reader:read(1))
      t.assertEquals(server:stats().aborted, 1)
    end)
  end
end

function TestStopGrace:test_is_for_the_wait_at_a_blocks_end_too()
  with_asked(stubborn, { stop_grace = 10 }, function() asyncio.sleep(1) end, function(task, server)
    asyncio.sleep(2)
    t.assertFalse(server:is_serving())
    local start = now()
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    assert_took(start, 10)
    t.assertEquals(server:stats().aborted, 1)
  end)
end

function TestStopGrace:test_is_had_within_a_timeout_that_is_over()
  with_asked(worker, { stop_grace = 10 }, function(server)
    t.assert_raises(asyncio.TimeoutError, function()
      local _ <close> = asyncio.timeout(1)
      server:serve_forever()
    end)
    t.assertEquals(server:stats().connections, 0)
  end, function(task, _, client)
    asyncio.await(task)
    t.assertEquals(client.reader:read(), "done: one\n")
  end)
end

function TestStopGrace:test_joins_a_shutdown_that_is_under_way()
  with_asked(stubborn, { stop_grace = 5 }, forever, function(task, server)
    local long = asyncio.create_task(server.shutdown, server, 60)
    asyncio.sleep(1)
    local start = now()
    task:cancel()
    t.assertEquals(asyncio.await(long), 1)
    assert_took(start, 5)
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
  end)
end

function TestStopGrace:test_of_a_task_that_serves_beside_the_block()
  t.real(function()
    local server <close> = peers.serve(worker, { stop_grace = 10 })
    local list <close> = clients(server, 1)
    local serving = asyncio.create_task(server.serve_forever, server)
    list[1].writer:send "one\n"
    t.until_blocked()
    serving:cancel()
    asyncio.wait { serving }
    t.assertTrue(serving:cancelled())
    t.assertEquals(list[1].reader:read(), "done: one\n")
  end)
end

function TestStopGrace:test_of_a_unix_server()
  local path = os.tmpname()
  os.remove(path)
  t.real(function()
    local task = asyncio.create_task(function()
      local server <close> = asyncio.start_unix_server(worker, path, { stop_grace = 10 })
      server:serve_forever()
    end)
    t.until_blocked()
    local reader, writer <close> = asyncio.open_unix_connection(path)
    writer:send "one\n"
    t.until_blocked()
    task:cancel()
    t.assertEquals(reader:read(), "done: one\n")
    asyncio.wait { task }
  end)
end

--- A server with stop_grace, which answers after these seconds, a client of its own, and what a stop signal makes of
-- it: so many times, 0.2 s apart.
local function interrupted(times, signal, seconds)
  return t.lua(([[
    local asyncio = require "asyncio"
    local runner = asyncio.Runner { stop_signals = { "SIGTERM" } }
    local ok, err = pcall(runner.run, runner, function()
      local server <close> = asyncio.start_server(function(reader, writer)
        for line in reader:lines() do
          asyncio.sleep(%d)
          writer:send("done: ", line, "\n")
        end
      end, "127.0.0.1", 0, { stop_grace = 20 })
      local client = asyncio.create_task(function()
        local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
        writer:send "one\n"
        asyncio.sleep(0.2)
        for _ = 1, %d do
          -- os.execute would be deaf to it; and it comes when all wait, not while this is still starting it
          local sh <close> = asyncio.create_subprocess_exec("sh", "-c", "read _; kill -%s $PPID", { stdin = "pipe" })
          sh.stdin:send "\n"
          sh:wait()
          asyncio.sleep(0.2)
        end
        print(pcall(reader.readline, reader))
      end)
      server:serve_forever()
    end)
    runner:close()
    print(asyncio.isinstance(err, asyncio.KeyboardInterrupt))
  ]]):format(seconds, times, signal))
end

function TestStopGrace:test_is_what_ctrl_c_and_stop_signals_give()
  for _, signal in ipairs { "INT", "TERM" } do
    local out, err, code = interrupted(1, signal, 1)
    t.assertEquals({ out, err, code }, { "true\tdone: one\n\ntrue\n", "", 0 })
  end
end

function TestStopGrace:test_is_broken_off_by_a_second_ctrl_c()
  local out, _, code = interrupted(2, "INT", 15)
  t.assertNotStrContains(out, "done: one")
  t.assertStrMatches(out, ".*true\n")
  t.assertEquals(code, 0)
end

TestMaxConnections = {}

--- Answers one line, and notes how many were served at the same time.
local function counting(count)
  count.now, count.most = 0, 0
  return function(reader, writer)
    count.now = count.now + 1
    count.most = math.max(count.most, count.now)
    local line = reader:readline()
    asyncio.sleep(0.01)
    count.now = count.now - 1
    if line then writer:send(line) end
    if line == "fail\n" then error "the handler's own fault" end
  end
end

local function ask(server, line)
  local reader, writer <close> = peers.connect(server)
  writer:send(line, "\n")
  return reader:readline()
end

function TestMaxConnections:test_are_never_exceeded_and_nobody_is_lost()
  for _, max in ipairs { 1, 3, 40 } do
    t.real(function()
      local count = {}
      local server <close> = peers.serve(counting(count), { max_connections = max })
      local tasks = {}
      for i = 1, 100 do tasks[i] = asyncio.create_task(ask, server, "line " .. i) end
      for i, task in ipairs(tasks) do t.assertEquals(asyncio.await(task), "line " .. i .. "\n") end
      t.assertTrue(count.most <= max, count.most)
      t.assertEquals(server:stats().accepted, 100)
    end)
  end
end

function TestMaxConnections:test_pause_accepting_until_one_has_ended()
  t.run(function()
    local ends = {}
    local server <close> = peers.serve(noting(ends), { max_connections = 2 })
    local list <close> = clients(server, 2)
    t.assertTrue(server:stats().paused)
    local reader, writer <close> = peers.connect(server)
    writer:send "x"
    asyncio.sleep(10)
    t.assertEquals({ server:stats().accepted, #ends }, { 2, 0 })
    list[1].writer:close()
    t.assertNil(reader:read(1))
    t.assertEquals(ends, { "end", "x" })
    t.wait_until(function() return not server:stats().paused end)
    t.assertEquals(server:stats().connections, 1)
  end)
end

function TestMaxConnections:test_go_on_after_handlers_that_fail()
  t.real(function(reports)
    local server <close> = peers.serve(counting {}, { max_connections = 1 })
    for _ = 1, 5 do t.assertEquals(ask(server, "fail"), "fail\n") end
    t.assertEquals(ask(server, "well"), "well\n")
    for _ = 1, 5 do t.take_report(reports, "handler failed") end
  end)
end

function TestMaxConnections:test_hold_for_a_server_that_begins_to_serve_later_and_twice()
  t.real(function()
    local count = {}
    local server <close> = peers.serve(counting(count), { max_connections = 1, start_serving = false })
    local tasks = {}
    for i = 1, 10 do tasks[i] = asyncio.create_task(ask, server, "x") end
    t.until_blocked()
    server:start_serving()
    asyncio.sleep(0.005)
    server:start_serving()
    for _, task in ipairs(tasks) do t.assertEquals(asyncio.await(task), "x\n") end
    t.assertEquals(count.most, 1)
  end)
end

function TestMaxConnections:test_hold_in_a_shutdown_that_serves_those_who_wait()
  t.real(function()
    local count = {}
    local server <close> = peers.serve(counting(count), { max_connections = 2 })
    local tasks = {}
    for i = 1, 20 do tasks[i] = asyncio.create_task(ask, server, "line " .. i) end
    t.wait_until(function() return count.now == 2 end)
    t.until_blocked()
    t.assertEquals(server:shutdown(), 0)
    for i, task in ipairs(tasks) do t.assertEquals(asyncio.await(task), "line " .. i .. "\n") end
    t.assertEquals(count.most, 2)
  end)
end

function TestMaxConnections:test_who_waits_when_the_grace_is_over_is_aborted()
  t.run(function()
    local server <close> = peers.serve(stubborn, { max_connections = 2 })
    local list <close> = clients(server, 2) -- luacheck: ignore
    local writers = {}
    for i = 1, 3 do writers[i] = select(2, peers.connect(server)) end
    t.until_blocked()
    t.assertEquals(server:shutdown(5), 5)
    t.assertEquals(server:stats().accepted, 2)
    for _, writer in ipairs(writers) do writer:abort() end
  end)
end

function TestMaxConnections:test_of_a_unix_server()
  local path = os.tmpname()
  os.remove(path)
  t.real(function()
    local count = {}
    local server <close> = asyncio.start_unix_server(counting(count), path, { max_connections = 2 })
    local tasks = {}
    for i = 1, 30 do
      tasks[i] = asyncio.create_task(function()
        local reader, writer <close> = asyncio.open_unix_connection(path)
        writer:send "x\n"
        t.assertEquals(reader:readline(), "x\n")
      end)
    end
    for _, task in ipairs(tasks) do asyncio.await(task) end
    t.assertEquals(count.most, 2)
    t.assertEquals(server:stats().accepted, 30)
  end)
end

TestStats = {}

function TestStats:test_tell_what_has_become_of_the_connections()
  t.real(function(reports)
    local server <close> = peers.serve(function(reader)
      if reader:readline() == "fail\n" then error "the handler's own fault" end
    end)
    local zero = { accepted = 0, connections = 0, failed = 0, reset = 0, cut = 0, aborted = 0, paused = false }
    t.assertEquals(server:stats(), zero)
    local list <close> = clients(server, 3)
    list[1].writer:send "fail\n"
    list[2].writer:send "well\n"
    t.wait_until(function() return server:stats().connections == 1 end)
    t.take_report(reports, "handler failed")
    server:abort_clients()
    server:abort_clients()
    t.wait_until(function() return server:stats().connections == 0 end)
    local now_ = { accepted = 3, connections = 0, failed = 1, reset = 0, cut = 0, aborted = 1, paused = false }
    t.assertEquals(server:stats(), now_)
  end)
end

t.finish { sampled = true }
