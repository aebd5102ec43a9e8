-- start_tls_spec.lua - writer:start_tls: a plain connection that goes on encrypted, on either side.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio = t.asyncio

--- Both ends of a plain connection: in memory, or of sockets.
local KINDS = { memory = function(fn)
  t.run(function(reports)
    local reader, writer <close>, peer_reader, peer_writer = asyncio.stream_pair()
    local _ <close> = peer_writer
    fn(reader, writer, peer_reader, peer_writer, reports)
    writer:abort()
    peer_writer:abort()
  end)
end, sockets = function(fn)
  t.real(function(reports)
    peers.pair(function(reader, writer, peer_reader, peer_writer)
      fn(reader, writer, peer_reader, peer_writer, reports)
    end)
  end)
end }

local SERVER_SIDE = { server_side = true }

TestClosedStream = {}

function TestClosedStream:test_is_closed_also_if_it_was_one_of_tls()
  t.run(function()
    secure.memory(function(_, writer)
      writer:close()
      t.assert_raises(asyncio.ClosedError, writer.start_tls, writer, secure.client_context(),
        { server_hostname = "localhost" })
    end)
  end)
end

TestStartTls = {}

for kind, paired in pairs(KINDS) do
  TestStartTls["test_goes_on_with_the_same_objects_in_" .. kind] = function()
    paired(function(reader, writer, peer_reader, peer_writer)
      local served = asyncio.create_task(function()
        t.assertEquals(peer_reader:readline(), "STARTTLS\n")
        peer_writer:write "ready\n" -- which leaves before the handshake, in plain
        peer_writer:start_tls(secure.server_context(), SERVER_SIDE)
        peer_writer:send(peer_reader:readline():upper())
      end)
      writer:write "STARTTLS\n"
      t.assertEquals(reader:readline(), "ready\n")
      writer:start_tls(secure.client_context(), { server_hostname = "localhost" })
      t.assertEquals(writer:get_extra_info "tls_version", "TLSv1.3")
      writer:write "hello\n"
      t.assertEquals(reader:readline(), "HELLO\n")
      asyncio.await(served)
    end)
  end

  TestStartTls["test_takes_what_lies_unread_as_the_peers_first_bytes_in_" .. kind] = function()
    paired(function(reader, writer, peer_reader, peer_writer)
      local client = asyncio.create_task(function()
        writer:send "PROXY\n"
        writer:start_tls(secure.client_context(), { server_hostname = "localhost" })
        writer:send "hello\n"
      end)
      t.until_blocked() -- the hello has come, and lies behind the line
      t.assertEquals(peer_reader:readline(), "PROXY\n")
      peer_writer:start_tls(secure.server_context(), SERVER_SIDE)
      t.assertEquals(peer_reader:readline(), "hello\n")
      asyncio.await(client)
      t.assertNotNil(reader)
    end)
  end
end

function TestStartTls:test_where_a_task_reads_is_refused_and_nothing_has_happened()
  KINDS.memory(function(reader, writer, _, peer_writer)
    local waits = asyncio.create_task(reader.readline, reader)
    t.until_blocked()
    t.assert_raises(asyncio.BusyError, writer.start_tls, writer, secure.client_context(), { server_hostname = "x" })
    peer_writer:send "plain\n"
    t.assertEquals(asyncio.await(waits), "plain\n")
  end)
end

function TestStartTls:test_makes_other_calls_wait_their_turn()
  KINDS.memory(function(reader, writer)
    local shakes = asyncio.create_task(writer.start_tls, writer, secure.client_context(), { server_hostname = "x" })
    t.until_blocked()
    t.assert_raises(asyncio.BusyError, reader.read, reader, 1)
    t.assert_raises(asyncio.BusyError, writer.write, writer, "plain")
    t.assert_raises(asyncio.BusyError, writer.start_tls, writer, secure.client_context(), { server_hostname = "x" })
    writer:abort()
    t.assert_raises(asyncio.ClosedError, asyncio.await, shakes)
  end)
end

function TestStartTls:test_may_be_closed_meanwhile()
  KINDS.memory(function(_, writer)
    local shakes = asyncio.create_task(writer.start_tls, writer, secure.client_context(), { server_hostname = "x" })
    t.until_blocked()
    writer:close()
    t.assert_raises(asyncio.ClosedError, asyncio.await, shakes)
  end)
end

function TestStartTls:test_cancelled_leaves_a_dead_connection()
  KINDS.memory(function(reader, writer)
    local shakes = asyncio.create_task(writer.start_tls, writer, secure.client_context(), { server_hostname = "x" })
    t.until_blocked()
    shakes:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, shakes)
    t.assertNil(reader:read(1))
    t.assert_raises(asyncio.ClosedError, writer.send, writer, "plain")
  end)
end

function TestStartTls:test_takes_only_so_long()
  KINDS.memory(function(_, writer)
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    t.assert_raises(asyncio.TimeoutError, writer.start_tls, writer, secure.client_context(),
      { server_hostname = "x", ssl_handshake_timeout = 3 })
    t.assertAlmostEquals(loop:time() - began, 3, 0.1)
    t.assertTrue(writer:is_closing())
  end)
end

function TestStartTls:test_twice_is_refused_with_words()
  t.run(function()
    secure.memory(function(_, writer)
      t.assertErrorMsgContains("TLS in TLS", writer.start_tls, writer, secure.client_context(),
        { server_hostname = "localhost" })
    end)
  end)
end

function TestStartTls:test_asks_for_a_name_where_one_would_be_checked()
  KINDS.memory(function(_, writer)
    t.assertErrorMsgContains("server_hostname", writer.start_tls, writer, secure.client_context())
    t.assertErrorMsgContains("context", writer.start_tls, writer)
    t.assertErrorMsgContains("server", writer.start_tls, writer, secure.client_context(), SERVER_SIDE)
    t.assertErrorMsgContains("client", writer.start_tls, writer, secure.server_context(), { server_hostname = "x" })
  end)
end

function TestStartTls:test_checks_the_name_that_was_connected_to()
  t.real(function()
    local server <close> = peers.serve(function(_, writer)
      pcall(writer.start_tls, writer, secure.server_context(), SERVER_SIDE)
    end)
    local _, writer <close> = asyncio.open_connection("localhost", peers.port(server), { family = "inet" })
    writer:start_tls(secure.client_context())
    t.assertEquals(writer:get_extra_info "server_name", "localhost")
  end)
end

function TestStartTls:test_on_a_closed_stream_says_so()
  KINDS.memory(function(_, writer)
    writer:close()
    t.assert_raises(asyncio.ClosedError, writer.start_tls, writer, secure.client_context(), { server_hostname = "x" })
  end)
end

TestErrors = {}

function TestErrors:test_say_that_start_tls_has_failed_and_with_whom()
  t.real(function()
    local errors = asyncio.Queue()
    local server <close> = peers.serve(function(_, peer_writer)
      errors:put((t.error_of(peer_writer.start_tls, peer_writer, secure.server_context(), SERVER_SIDE)))
    end)
    local _, writer <close> = asyncio.open_connection("127.0.0.1", peers.port(server))
    local err = t.assert_raises(asyncio.SSLCertVerificationError, writer.start_tls, writer, secure.client_context(),
      { server_hostname = "elsewhere.example" })
    t.assertStrMatches(err.message, ('.*"elsewhere.example": start_tls 127%%.0%%.0%%.1:%d'):format(peers.port(server)))
    t.assertEquals(err.syscall, "start_tls")
    t.assertStrMatches(errors:get().message, "alert from the peer: .*: start_tls 127%.0%.0%.1:%d+")
  end)
end

TestInjection = {}

--- What somebody in the middle adds in plain text, some of which looks like TLS.
local INJECTED = {
  text = "MAIL FROM:<eve@example.org>\r\n",
  a_byte = "\r",
  an_alert = "\x15\x03\x03\x00\x02\x01\x00",
  data = "\x17\x03\x03\x00\x05hello",
  half_a_hello = "\x16\x03\x01\x00\xff\x01\x00",
}

--- Shakes hands with the other side, of which the victim has read the line; it fails, and no byte of what was injected
-- is ever read.
local function assert_refused(writer, victim_reader, victim, start, start_victim)
  local other = asyncio.create_task(pcall, start, writer)
  t.assert_isinstance(t.error_of(start_victim, victim), asyncio.OSError)
  local ok, got = pcall(victim_reader.read, victim_reader, 100)
  t.assertNil(ok and got or nil)
  t.assert_raises(asyncio.Error, victim.send, victim, "plain")
  writer:abort()
  t.assertFalse((asyncio.await(other)))
end

local function start_client(writer)
  writer:start_tls(secure.client_context(), { server_hostname = "localhost", ssl_handshake_timeout = 20 })
end

local function start_server(writer)
  writer:start_tls(secure.server_context(), { server_side = true, ssl_handshake_timeout = 20 })
end

for kind, paired in pairs(KINDS) do
  for what, injected in pairs(INJECTED) do
    --- A command behind the client's STARTTLS; the answer to one that was never sent behind the server's go-ahead.
    for side, starts in pairs { command = { start_client, start_server }, answer = { start_server, start_client } } do
      TestInjection[("test_of_%s_as_%s_is_refused_in_%s"):format(what, side, kind)] = function()
        for _, in_one_piece in ipairs { true, false } do
          paired(function(_, writer, victim_reader, victim)
            writer:send(in_one_piece and "STARTTLS\r\n" .. injected or "STARTTLS\r\n")
            t.assertEquals(victim_reader:readline(), "STARTTLS\r\n")
            if not in_one_piece then writer:send(injected) end
            assert_refused(writer, victim_reader, victim, starts[1], starts[2])
          end)
        end
      end
    end
  end
end

t.finish()
