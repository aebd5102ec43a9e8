-- handshake_spec.lua - handshakes that fail, take long, are given up, or are too many; how they end.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local asyncio = t.asyncio

--- A server whose handler counts; `calls()`.
local function counting(opts)
  local calls = 0
  return secure.serve(function(_, writer)
    calls = calls + 1
    writer:send "hello\n"
  end, opts), function() return calls end
end

--- Sends text to a server as a bare socket, waits until that has counted a failure; what it answered.
local function throw(server, text, before)
  local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
  if text then assert(socket:send(text)) end
  if before then before(socket) end
  local failed = server:stats().handshakes_failed
  t.wait_until(function() return server:stats().handshakes_failed > failed end)
  socket:settimeout(1)
  local answer, _, partial = socket:receive "*a"
  socket:close()
  return answer or partial
end

local function assert_serves(server)
  local reader, _ <close> = secure.connect(server)
  t.assertEquals(reader:readline(), "hello\n")
end

TestStrangers = {}

local GARBAGE = {
  plain_http = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
  zeros = ("\0"):rep(600),
  a_mail = "EHLO example.org\r\n",
  a_record_of_another_kind = "\x17\x03\x03\x00\x05hello",
  a_record_too_long = "\x16\x03\x01\xff\xff" .. ("\1"):rep(300),
  an_alert = "\x15\x03\x01\x00\x02\x02\x28",
}

for what, text in pairs(GARBAGE) do
  TestStrangers["test_who_say_" .. what .. "_are_turned_away_and_others_served"] = function()
    t.real(function()
      local server <close>, calls = counting()
      throw(server, text)
      t.assertEquals(calls(), 0)
      assert_serves(server)
      t.assertEquals(server:stats().handshakes_failed, 1)
      t.assertEquals(server:stats().failed, 0)
    end)
  end
end

function TestStrangers:test_who_leave_without_a_word_are_counted_only()
  t.real(function()
    local server <close>, calls = counting()
    throw(server, nil, function(socket) socket:shutdown "both" end)
    assert_serves(server)
    t.assertEquals(calls(), 1)
  end)
end

function TestStrangers:test_who_reset_in_the_middle_are_counted_only()
  t.real(function()
    local server <close> = counting()
    local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
    assert(socket:send "\x16\x03\x01")
    t.wait_until(function() return server:stats().handshakes == 1 end)
    peers.reset(socket)
    t.wait_until(function() return server:stats().handshakes_failed == 1 end)
    t.assertEquals(server:stats().handshakes, 0)
    assert_serves(server)
  end)
end

-- As OpenSSL does: an alert would be no answer to who doesn't speak TLS.
function TestStrangers:test_who_speak_plain_text_get_an_end_and_no_byte()
  t.real(function()
    local server <close> = counting()
    for _, text in ipairs { GARBAGE.plain_http, "EHLO localhost\r\n" } do
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", peers.port(server))
      writer:send(text)
      t.assertEquals(reader:read(-1), "")
    end
    t.assertEquals(server:stats().handshakes_failed, 2)
  end)
end

function TestStrangers:test_are_reported_in_debug_mode()
  t.real(function(reports)
    asyncio.get_running_loop():set_debug(true)
    local server <close> = counting()
    throw(server, GARBAGE.plain_http)
    t.wait_until(function() return #reports > 0 end)
    local report = t.take_report(reports, "handshake failed")
    t.assertEquals(t.assert_isinstance(report.exception, asyncio.SSLError).reason, "HTTP_REQUEST")
    t.assertStrMatches(tostring(report.exception), ".*HTTP.*")
  end)
end

TestClient = {}

--- A client at a bare listener that answers with `text`; its error.
local function meet(text, opts)
  local err
  t.real(function()
    secure.bare(function(listener, port)
      local client = asyncio.create_task(secure.connect, port, opts)
      t.until_blocked()
      local socket = assert(listener:accept())
      if text then assert(socket:send(text)) end
      local ok
      ok, err = pcall(asyncio.await, client)
      t.assertFalse(ok)
      socket:close()
    end)
  end)
  return err
end

function TestClient:test_of_a_server_without_tls_says_so()
  for said, words in pairs { ["HTTP/1.1 400 Bad Request\r\n\r\n"] = "answers in plain HTTP, not in TLS",
    ["220 mail.example.org\r\n"] = "TLS" } do
    local err = t.assert_isinstance(meet(said), asyncio.SSLError)
    t.assertEquals(err.reason, "WRONG_VERSION_NUMBER")
    t.assertStrMatches(tostring(err), ".*" .. words .. ".*: connect 127%.0%.0%.1:%d+")
  end
end

function TestClient:test_of_a_silent_server_gives_up_in_time()
  local err = t.assert_isinstance(meet(nil, { ssl_handshake_timeout = 0.2 }), asyncio.TimeoutError)
  t.assertStrMatches(tostring(err), ".*127%.0%.0%.1:%d+.*")
end

function TestClient:test_has_one_limit_for_connecting_and_handshake_together()
  local err = t.assert_isinstance(meet(nil, { connect_timeout = 0.2 }), asyncio.TimeoutError)
  t.assertStrMatches(tostring(err), ".*127%.0%.0%.1:%d+.*")
end

function TestClient:test_whose_server_leaves_is_told()
  t.real(function()
    local server <close> = peers.serve(function() end)
    t.assert_raises(asyncio.OSError, secure.connect, server)
  end)
end

function TestClient:test_that_shares_no_version_with_the_server_is_told()
  t.real(function()
    local server <close> = secure.serve(function() end, { ssl = secure.server_context { minimum_version = "TLSv1.3" } })
    local err = t.assert_raises(asyncio.SSLError, secure.connect, server,
      { ssl = secure.client_context { maximum_version = "TLSv1.2" } })
    t.assertEquals(err.reason, "TLSV1_ALERT_PROTOCOL_VERSION")
  end)
end

TestTimeout = {}

function TestTimeout:test_of_a_handshake_ends_a_silent_client()
  t.real(function()
    local server <close>, calls = counting { ssl_handshake_timeout = t.slow and 5 or 0.5 }
    local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
    t.wait_until(function() return server:stats().handshakes_failed == 1 end)
    socket:settimeout(5)
    t.assertEquals({ socket:receive(1) }, { nil, "closed", "" })
    socket:close()
    t.assertEquals(calls(), 0)
    assert_serves(server)
  end)
end

function TestTimeout:test_is_not_put_off_by_a_byte_now_and_then()
  t.real(function()
    local server <close> = counting { ssl_handshake_timeout = 0.3 }
    local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    while server:stats().handshakes_failed == 0 do
      socket:send "\x16"
      asyncio.sleep(0.05)
      t.assertTrue(loop:time() - began < 20)
    end
    socket:close()
  end)
end

TestMaxHandshakes = {}

function TestMaxHandshakes:test_lets_the_next_wait_in_order()
  t.real(function()
    local server <close> = counting { max_handshakes = 2 }
    local socket = peers.luasocket()
    local silent = {}
    for i = 1, 2 do silent[i] = assert(socket.connect("127.0.0.1", peers.port(server))) end
    t.wait_until(function() return server:stats().handshakes == 2 end)
    local client = asyncio.create_task(secure.connect, server)
    asyncio.sleep(0.05)
    t.assertEquals({ client:done(), server:stats().handshakes }, { false, 2 })
    silent[1]:close()
    local reader, writer <close> = asyncio.await(client)
    t.assertEquals(reader:readline(), "hello\n")
    writer:close()
    silent[2]:close()
  end)
end

function TestMaxHandshakes:test_serves_all_in_the_end()
  t.real(function()
    local server <close>, calls = counting { max_handshakes = 1 }
    local clients = {}
    for i = 1, 10 do clients[i] = asyncio.create_task(assert_serves, server) end
    for i = 1, 10 do asyncio.await(clients[i]) end
    t.assertEquals(calls(), 10)
  end)
end

TestServersEnd = {}

function TestServersEnd:test_ends_handshakes_under_way()
  t.real(function()
    local server <close> = counting()
    local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
    t.wait_until(function() return server:stats().handshakes == 1 end)
    server:close()
    server:abort_clients()
    server:wait_closed()
    socket:settimeout(5)
    t.assertNil((socket:receive(1)))
    socket:close()
  end)
end

function TestServersEnd:test_by_shutdown_does_not_wait_for_who_has_said_nothing()
  t.real(function()
    local server <close> = counting()
    local socket = assert(peers.luasocket().connect("127.0.0.1", peers.port(server)))
    t.wait_until(function() return server:stats().handshakes == 1 end)
    local loop = asyncio.get_running_loop()
    local began = loop:time()
    server:shutdown(20)
    t.assertTrue(loop:time() - began < 10)
    socket:close()
  end)
end

--- How often this process has written, by any call.
local function writes()
  local file = io.open "/proc/self/io"
  if not file then t.skip "the system doesn't tell how often a process writes" end
  local n = tonumber(file:read("a"):match "syscw: (%d+)")
  file:close()
  return n
end

TestEnds = {}

function TestEnds:test_leave_with_what_is_written_first()
  t.real(function()
    local n = 20
    local server <close> = secure.serve(function(reader, writer)
      writer:send(reader:readline())
      reader:read()
    end)
    local context = secure.client_context()
    local before = writes()
    for _ = 1, n do
      local reader, writer <close> = secure.connect(server, { ssl = context })
      writer:send "hello\n"
      t.assertEquals(reader:readline(), "hello\n")
    end
    -- a hello each, the client's end with its line, the server's tickets with its echo, and twice goodbye
    local each = (writes() - before) / n
    t.assertTrue(each < 6.5, each .. " writes")
  end)
end
t.leave_out(TestEnds, "valgrind") -- which writes, too

t.finish()
