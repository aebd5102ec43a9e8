-- handler_spec.lua - the tasks of a server's connections: how they are named, what they wait for, how they end.
local t = require "helper"
local peers = require "peers"

local asyncio = t.asyncio

local function nothing() end

--- Serves with a handler, connects n bare sockets to it, and calls fn(server, sockets, reports) when it has begun
-- for each.
local function with_clients(n, handler, fn)
  local socket = peers.luasocket()
  t.real(function(reports)
    local begun = 0
    local server <close> = peers.serve(function(...)
      begun = begun + 1
      return handler(...)
    end, { close_timeout = 0.2 })
    local sockets = {}
    for i = 1, n do sockets[i] = assert(socket.connect("127.0.0.1", peers.port(server))) end
    t.wait_until(function() return begun == n end)
    fn(server, sockets, reports)
    for _, client in ipairs(sockets) do client:close() end
  end)
end

local function reset_all(sockets)
  for _, client in ipairs(sockets) do peers.reset(client) end
end

--- Waits until all connections are gone; what became of them.
local function all_gone(server)
  t.wait_until(function() return server:stats().connections == 0 end)
  local stats = server:stats()
  return {
    connections = stats.connections, accepted = stats.accepted, failed = stats.failed, reset = stats.reset,
  }
end

local function read_line(reader) return reader:readline() end

TestBroken = {}

function TestBroken:test_connections_end_their_handlers_quietly_and_are_counted()
  with_clients(32, read_line, function(server, sockets)
    reset_all(sockets)
    t.assertEquals(all_gone(server), { connections = 0, accepted = 32, failed = 0, reset = 32 })
  end)
end

--- libuv takes a reset that comes together with the last bytes for the end of the stream.
function TestBroken:test_connections_whose_reset_comes_with_their_last_bytes_are_no_clean_end()
  local got = {}
  with_clients(1, function(reader)
    t.until_blocked() -- bytes and reset are there
    got[1] = reader:readline()
    got[2] = reader:readline()
    got[3] = "an end"
  end, function(server, sockets)
    sockets[1]:send "one\ntwo"
    reset_all(sockets)
    t.assertEquals(all_gone(server), { connections = 0, accepted = 1, failed = 0, reset = 1 })
    t.assertEquals(got, { "one\n" })
  end)
end

function TestBroken:test_while_they_are_written_to_end_their_handlers_quietly()
  with_clients(1, function(_, writer)
    while true do writer:send(("x"):rep(100000)) end
  end, function(server, sockets)
    reset_all(sockets)
    t.assertEquals(all_gone(server), { connections = 0, accepted = 1, failed = 0, reset = 1 })
  end)
end

function TestBroken:test_connections_may_be_noticed_by_another_task_than_the_handler()
  local handlers = {
    function(reader) asyncio.await(asyncio.create_task(reader.readline, reader)) end,
    function(reader) asyncio.gather(function() reader:readline() end, nothing) end,
    function(reader) asyncio.wait_for(function() return reader:readline() end, 3600) end,
    function(reader)
      local ok, err = pcall(reader.readline, reader)
      if not ok then error(err, 0) end
    end,
    function(reader) -- a group of nothing else
      local group <close> = asyncio.TaskGroup()
      group:create_task(reader.readline, reader)
    end,
    function(reader)
      local outer <close> = asyncio.TaskGroup()
      outer:create_task(function()
        local inner <close> = asyncio.TaskGroup()
        inner:create_task(reader.readline, reader)
      end)
    end,
  }
  for _, handler in ipairs(handlers) do
    with_clients(1, handler, function(server, sockets)
      t.until_blocked()
      reset_all(sockets)
      t.assertEquals(all_gone(server), { connections = 0, accepted = 1, failed = 0, reset = 1 })
    end)
  end
end

function TestBroken:test_connections_are_reported_in_debug_mode()
  with_clients(1, read_line, function(server, sockets, reports)
    asyncio.get_running_loop():set_debug(true)
    reset_all(sockets)
    t.assertEquals(all_gone(server).reset, 1)
    local report = t.take_report(reports, "^a handler ended because its connection broke$")
    t.assert_isinstance(report.exception, asyncio.ConnectionResetError)
    t.assertStrContains(tostring(report.task), "'connection from 127.0.0.1:")
    t.assertStrContains(report.traceback, "readline")
  end)
end

TestServerCloses = {}

--- What a handler does with its connection after the server has closed that.
local USES = {
  write = function(_, writer) writer:send "x" end,
  read = function(reader) reader:readexactly(10) end,
  by_another_task = function(_, writer) asyncio.gather(function() writer:send "x" end) end,
  in_a_group = function(_, writer)
    local group <close> = asyncio.TaskGroup()
    group:create_task(writer.send, writer, "x")
  end,
}

--- Serves with a handler that sleeps, and uses its connection then; what became of it.
local function closed_meanwhile(close, use, fn)
  local stats
  t.run(function(reports)
    local server <close> = peers.serve(function(reader, writer)
      asyncio.sleep(1)
      use(reader, writer)
    end)
    local _, writer <close> = peers.connect(server)
    writer:send "abc"
    asyncio.sleep(0.5)
    server[close](server)
    asyncio.sleep(1)
    stats = server:stats()
    if fn then fn(reports) end
  end)
  return { failed = stats.failed, reset = stats.reset, aborted = stats.aborted }
end

function TestServerCloses:test_a_connection_whose_handler_goes_on_to_use_it_which_is_no_failure()
  for name, use in pairs(USES) do
    t.assertEquals(closed_meanwhile("close_clients", use), { failed = 0, reset = 1, aborted = 0 }, name)
    t.assertEquals(closed_meanwhile("abort_clients", use), { failed = 0, reset = 0, aborted = 1 }, name)
  end
end

function TestServerCloses:test_a_connection_in_the_middle_of_a_read_or_a_drain()
  for _, close in ipairs { "close_clients", "abort_clients" } do
    t.run(function()
      local server <close> = peers.serve(function(reader) reader:readexactly(10) end)
      local _, writer <close> = peers.connect(server)
      writer:send "abc"
      asyncio.sleep(0.5)
      server[close](server)
      asyncio.sleep(1)
      t.assertEquals(server:stats().failed, 0)
    end)
  end
  t.run(function()
    local server <close> = peers.serve(function(_, writer)
      while true do writer:send(("x"):rep(1000000)) end
    end)
    local _, writer <close> = peers.connect(server)
    asyncio.sleep(0.5)
    server:abort_clients()
    asyncio.sleep(1)
    t.assertEquals({ server:stats().failed, server:stats().aborted }, { 0, 1 })
    writer:abort()
  end)
end

function TestServerCloses:test_a_connection_that_is_reported_in_debug_mode()
  closed_meanwhile("close_clients", function(_, writer)
    asyncio.get_running_loop():set_debug(true)
    writer:send "x"
  end, function(reports)
    local report = t.take_report(reports, "^a handler ended because its server had closed its connection$")
    t.assert_isinstance(report.exception, asyncio.ClosedError)
    t.assertStrContains(report.traceback, "send")
    asyncio.get_running_loop():set_debug(false)
  end)
end

function TestServerCloses:test_a_connection_that_its_handler_has_closed_before()
  t.run(function(reports)
    local server <close> = peers.serve(function(_, writer)
      writer:close()
      asyncio.sleep(1)
      writer:send "x"
    end)
    local _, writer <close> = peers.connect(server)
    asyncio.sleep(0.5)
    server:close_clients()
    asyncio.sleep(1)
    t.assertEquals({ server:stats().failed, server:stats().reset }, { 1, 0 })
    t.assert_isinstance(t.take_report(reports, "handler failed").exception, asyncio.ClosedError)
    writer:abort()
  end)
end

function TestServerCloses:test_a_connection_as_its_handler_asks_it_to()
  t.run(function(reports)
    local server
    server = peers.serve(function(_, writer)
      server:close_clients()
      writer:send "x"
    end)
    local writer = select(2, peers.connect(server))
    asyncio.sleep(1)
    t.assertEquals({ server:stats().failed, server:stats().reset }, { 1, 0 })
    t.assert_isinstance(t.take_report(reports, "handler failed").exception, asyncio.ClosedError)
    writer:abort()
    server:close()
  end)
end

function TestServerCloses:test_a_connection_and_another_of_the_handlers_is_closed_too()
  t.run(function(reports)
    local other <close> = peers.serve(nothing)
    local server <close> = peers.serve(function()
      local _, writer = peers.connect(other)
      writer:close()
      asyncio.sleep(1)
      writer:send "x"
    end)
    local _, writer <close> = peers.connect(server)
    asyncio.sleep(0.5)
    server:abort_clients()
    asyncio.sleep(1)
    t.assertEquals({ server:stats().failed, server:stats().aborted }, { 1, 1 })
    t.take_report(reports, "handler failed")
    writer:abort()
  end)
end

TestNotOwn = {}

function TestNotOwn:test_a_connection_that_the_handler_has_made_is_reported()
  local upstream = peers.reserve_port()
  with_clients(1, function(reader)
    reader:readline()
    asyncio.open_connection("127.0.0.1", upstream)
  end, function(server, sockets, reports)
    sockets[1]:send "go\n"
    t.assertEquals(all_gone(server), { connections = 0, accepted = 1, failed = 1, reset = 0 })
    t.assert_isinstance(t.take_report(reports, "handler failed").exception, asyncio.ConnectionRefusedError)
  end)
end

function TestNotOwn:test_a_reset_of_a_connection_that_the_handler_has_made_is_reported()
  peers.luasocket()
  t.real(function(reports)
    peers.bare(function(far_reader, _, far) -- the handler's other connection
      local server <close> = peers.serve(function() return far_reader:readline() end)
      local reader, _ <close> = peers.connect(server)
      peers.reset(far)
      t.assertNil(reader:read(1))
      t.assertEquals(all_gone(server), { connections = 0, accepted = 1, failed = 1, reset = 0 })
      t.assert_isinstance(t.take_report(reports, "handler failed").exception, asyncio.ConnectionResetError)
    end)
  end)
end

function TestNotOwn:test_the_reset_of_another_client_is_reported()
  local other
  with_clients(2, function(reader)
    if not other then
      other = reader
      return asyncio.sleep(3600)
    end
    return other:readline()
  end, function(server, sockets, reports)
    t.until_blocked()
    reset_all { sockets[1] }
    t.wait_until(function() return server:stats().failed == 1 end)
    t.assert_isinstance(t.take_report(reports, "handler failed").exception, asyncio.ConnectionResetError)
    t.assertEquals(server:stats().reset, 0)
    server:close()
    for _, task in ipairs(asyncio.all_tasks()) do
      if task:get_name():find "^connection" then task:cancel() end
    end
  end)
end

function TestNotOwn:test_another_error_after_the_reset_is_reported()
  with_clients(1, function(reader)
    pcall(reader.readline, reader)
    error("a bug", 0)
  end, function(server, sockets, reports)
    reset_all(sockets)
    t.assertEquals(all_gone(server), { connections = 0, accepted = 1, failed = 1, reset = 0 })
    t.assertEquals(t.take_report(reports, "handler failed").exception, "a bug")
  end)
end

function TestNotOwn:test_an_error_like_it_is_reported()
  with_clients(1, function(reader)
    local _, err = pcall(reader.readline, reader)
    error(getmetatable(err) { message = err.message, code = err.code, address = err.address }, 0)
  end, function(server, sockets, reports)
    reset_all(sockets)
    t.assertEquals(all_gone(server).failed, 1)
    t.take_report(reports, "handler failed")
  end)
end

function TestNotOwn:test_a_group_with_another_error_is_reported()
  with_clients(1, function(reader)
    local group <close> = asyncio.TaskGroup()
    group:create_task(function()
      local ok, err = pcall(reader.readline, reader)
      if not ok then
        group:create_task(function() error("a bug", 0) end)
        asyncio.pcall(asyncio.sleep, 0)
        error(err, 0)
      end
    end)
  end, function(server, sockets, reports)
    reset_all(sockets)
    t.assertEquals(all_gone(server).failed, 1)
    t.assert_isinstance(t.take_report(reports, "handler failed").exception, asyncio.ExceptionGroup)
  end)
end

TestDisconnect = {}

function TestDisconnect:test_of_a_client_is_seen_by_a_handler_that_does_not_read()
  local seen
  with_clients(1, function(reader)
    seen = { reader:at_eof() }
    t.wait_until(function() return reader:at_eof() end)
    seen[2] = true
  end, function(server, sockets)
    t.until_blocked()
    sockets[1]:close()
    all_gone(server)
    t.assertEquals(seen, { false, true })
  end)
end

TestName = {}

function TestName:test_of_a_handler_is_its_clients_address_and_stays_so()
  local handler
  with_clients(1, function(reader)
    handler = asyncio.current_task()
    reader:read()
  end, function(server, sockets)
    local host, port = sockets[1]:getsockname()
    local name = ("connection from %s:%d"):format(host, port)
    t.assertEquals(handler:get_name(), name)
    t.until_blocked()
    local address = ("%s:%d"):format(host, port)
    t.assertStrContains(tostring(handler), ("asyncio.Task '%s': waits (read, %s), function at"):format(name, address))
    t.assertStrContains(asyncio.format_call_graph(handler), "Task '" .. name .. "' waits (read, " .. address .. ")\n")
    sockets[1]:close()
    all_gone(server)
    t.collect()
    t.assertEquals(handler:get_name(), name)
    t.assertStrContains(tostring(handler), "asyncio.Task '" .. name .. "': done")
  end)
end

function TestName:test_can_be_set()
  local handler
  with_clients(1, function(reader)
    handler = asyncio.current_task()
    handler:set_name "mine"
    reader:read()
  end, function(_, sockets)
    t.assertEquals(handler:get_name(), "mine")
    sockets[1]:shutdown "send"
  end)
end

function TestName:test_of_an_ipv6_client()
  t.real(function()
    local ok, server = pcall(asyncio.start_server, function(_, writer)
      writer:send(asyncio.current_task():get_name())
    end, "::1", 0)
    if not ok then t.skip "no IPv6 here" end
    local _ <close> = server
    local reader, writer <close> = peers.connect(server)
    local port = writer:get_extra_info("sockname").port
    t.assertEquals(reader:read(), ("connection from [::1]:%d"):format(port))
  end)
end

function TestName:test_of_a_unix_sockets_client_is_where_it_came_to()
  t.real(function()
    local path = os.tmpname()
    os.remove(path)
    for name, shown in pairs { [path] = path, ["\0asyncio" .. path] = "@asyncio" .. path } do
      local handler
      local server <close> = asyncio.start_unix_server(function(reader)
        handler = asyncio.current_task()
        reader:readline()
      end, name)
      local reader, writer <close> = asyncio.open_unix_connection(name)
      t.wait_until(function() return handler end)
      t.until_blocked()
      t.assertEquals(handler:get_name(), "connection to " .. shown)
      t.assertStrContains(tostring(handler), "waits (readline, " .. shown .. ")")
      local reading = asyncio.create_task(reader.read, reader)
      t.until_blocked()
      t.assertStrContains(tostring(reading), "waits (read, " .. shown .. ")")
      writer:close()
      asyncio.await(reading)
      server:close()
      all_gone(server)
      t.assertEquals(handler:get_name(), "connection to " .. shown)
    end
  end)
end

function TestName:test_stands_in_the_error_of_a_second_reader()
  local shared
  with_clients(1, function(reader)
    shared = reader
    reader:read()
  end, function(_, sockets)
    t.until_blocked()
    local err = t.assert_raises(asyncio.BusyError, shared.read, shared)
    local host, port = sockets[1]:getsockname()
    t.assertStrContains(tostring(err), ("task 'connection from %s:%d'"):format(host, port))
  end)
end

TestPeer = {}

function TestPeer:test_is_what_a_task_waits_on()
  t.real(function()
    local server <close> = peers.serve(function(_, writer)
      writer:set_write_buffer_limits { high = 0 }
      pcall(writer.send, writer, ("x"):rep(20000000))
    end)
    local serving = asyncio.create_task(server.serve_forever, server)
    local reader, writer <close> = peers.connect(server, { limit = 100 })
    local peer = "127.0.0.1:" .. peers.port(server)
    local reading = asyncio.create_task(reader.readexactly, reader, 100000000)
    asyncio.sleep(0)
    t.assertStrContains(tostring(reading), ("waits (readexactly, %s)"):format(peer))
    reading:cancel()
    t.assertStrContains(tostring(serving), "waits (serve, " .. peer .. ")")
    t.wait_until(function()
      return asyncio.format_call_graph "all":find("waits (drain, 127.0.0.1:", 1, true)
    end)
    writer:abort()
    serving:cancel()
  end)
end

TestWaitForOneself = {}

--- What fn(server) raises in a handler of the server.
local function in_handler(fn)
  local err
  t.real(function()
    local server
    server = peers.serve(function() err = t.error_of(fn, server) end)
    local reader, _ <close> = peers.connect(server)
    t.assertNil(reader:read(1))
    server:close()
    server:wait_closed()
  end)
  return err
end

local WORDS = "a handler cannot wait until its own server has no connections: it would wait for itself"

function TestWaitForOneself:test_is_refused_to_a_handler_that_waits_for_its_server()
  for _, close in ipairs { nothing, function(server) server:close() end } do
    local err = in_handler(function(server)
      close(server)
      server:wait_closed()
    end)
    t.assert_isinstance(err, asyncio.Error)
    t.assertStrContains(tostring(err), WORDS)
    t.assertStrContains(tostring(err), "handler_spec.lua")
  end
end

function TestWaitForOneself:test_is_refused_to_a_handler_that_leaves_its_servers_block()
  local err = in_handler(function(server) local _ <close> = server end)
  t.assertStrContains(tostring(err), WORDS)
end

function TestWaitForOneself:test_hides_no_error_that_leaves_the_block()
  local err = in_handler(function(server)
    local _ <close> = server
    error("the first", 0)
  end)
  t.assertEquals(err, "the first")
end

function TestWaitForOneself:test_is_refused_inside_a_coroutine_of_the_handler_too()
  local err = in_handler(function(server)
    asyncio.coroutine.wrap(function() server:wait_closed() end)()
  end)
  t.assertStrContains(tostring(err), WORDS)
end

function TestWaitForOneself:test_is_none_where_a_handler_waits_for_another_server()
  t.real(function()
    local other = peers.serve(nothing)
    local server <close> = peers.serve(function(_, writer)
      other:close()
      other:wait_closed()
      writer:write "closed"
    end)
    local reader, _ <close> = peers.connect(server)
    t.assertEquals(reader:read(), "closed")
  end)
end

function TestWaitForOneself:test_is_none_where_a_handler_serves_until_the_server_is_closed()
  t.real(function()
    local server
    server = peers.serve(function(_, writer)
      server:serve_forever()
      writer:write "over"
    end)
    local reader, _ <close> = peers.connect(server)
    t.until_blocked()
    server:close()
    t.assertEquals(reader:read(), "over")
    server:wait_closed()
  end)
end

TestPatience = {}

--- Serves n clients that do nothing, and calls fn(server, writers, reports) on the virtual clock.
local function with_idle(n, fn, handler)
  t.run(function(reports)
    local begun = 0
    local server = peers.serve(function(...)
      begun = begun + 1
      return (handler or read_line)(...)
    end)
    local writers = {}
    for i = 1, n do writers[i] = select(2, peers.connect(server)) end
    while begun < n do asyncio.sleep(0) end
    fn(server, writers, reports)
    for _, writer in ipairs(writers) do writer:abort() end
    server:close()
    server:abort_clients()
    server:wait_closed()
  end)
end

local function address_of(writer) return tostring(writer:get_extra_info "sockname") end

function TestPatience:test_that_runs_out_tells_for_whom_a_server_waits()
  with_idle(2, function(server, writers, reports)
    local loop = asyncio.get_running_loop()
    local main = asyncio.create_task { function() local _ <close> = server end, name = "main" }
    asyncio.sleep(4.9)
    t.assertEquals(reports, {})
    asyncio.sleep(0.2)
    local report = t.take_report(reports, "^a server that is closed %(127.0.0.1:%d+%) has waited 5 s for 2 connections")
    local lines = {}
    for line in report.message:gmatch "[^\n]+" do lines[#lines + 1] = line end
    t.assertEquals(#lines, 3)
    for i = 1, 2 do
      local peer = address_of(writers[i])
      t.assertEquals(lines[i + 1], ("  'connection from %s' waits (readline, %s)"):format(peer, peer))
    end
    t.assertIs(report.task, main)
    t.assertStrContains(tostring(main), "'main': waits (wait_closed, 2 connections)")
    local before = loop:time()
    asyncio.sleep(3600) -- once is enough
    t.assertTrue(loop:time() - before >= 3600)
    t.assertEquals(reports, {})
    server:abort_clients()
    asyncio.await(main)
  end)
end

function TestPatience:test_is_not_needed_while_the_server_is_open()
  with_idle(1, function(server, _, reports)
    local waiting = asyncio.create_task(server.wait_closed, server)
    asyncio.sleep(3600)
    t.assertEquals(reports, {})
    t.assertStrContains(tostring(waiting), "waits (wait_closed, 1 connection, not closed yet)")
    server:close()
    asyncio.sleep(4)
    t.assertEquals(reports, {})
    asyncio.sleep(2)
    t.take_report(reports, "5 s for 1 connection to end")
    server:abort_clients()
    asyncio.await(waiting)
  end)
end

function TestPatience:test_is_not_tried_by_a_wait_that_is_over_or_given_up()
  with_idle(1, function(server, writers, reports)
    server:close()
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() server:wait_closed() end, 1)
    asyncio.sleep(3600)
    local waiting = asyncio.create_task(server.wait_closed, server)
    asyncio.sleep(1)
    writers[1]:abort()
    asyncio.await(waiting)
    asyncio.sleep(3600)
    t.assertEquals(reports, {})
  end)
end

function TestPatience:test_of_a_second_wait_runs_out_again()
  with_idle(1, function(server, _, reports)
    server:close()
    for _ = 1, 2 do
      t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() server:wait_closed() end, 60)
      t.take_report(reports, "5 s for 1 connection to end")
      t.assertEquals(reports, {})
    end
  end)
end

function TestPatience:test_that_runs_out_with_many_connections_tells_of_some()
  with_idle(13, function(server, _, reports)
    server:close()
    pcall(asyncio.wait_for, function() server:wait_closed() end, 6)
    local report = t.take_report(reports, "5 s for 13 connections to end")
    t.assertEquals(select(2, report.message:gsub("waits %(readline", "")), 10)
    t.assertStrContains(report.message, "\n  and 3 more")
  end)
end

function TestPatience:test_that_runs_out_tells_what_has_not_been_sent()
  with_idle(1, function(server, writers, reports)
    server:close()
    pcall(asyncio.wait_for, function() server:wait_closed() end, 6)
    local report = t.take_report(reports, "5 s for 1 connection to end")
    local peer = address_of(writers[1]):gsub("%p", "%%%0")
    t.assertStrMatches(report.message, ".*\n  " .. peer .. ": its handler has ended, %d+ bytes are not sent yet")
  end, function(_, writer) writer:write(("x"):rep(20000000)) end)
end

t.finish()
