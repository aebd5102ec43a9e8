-- WebSockets of asyncio.http: the handshake, messages, the end, on both sides. One side is often written by hand, with
-- the frames of asyncio.parsers.
local t = require "helper"
local site = require "http.site"

local asyncio = t.asyncio
local http = require "asyncio.http"
local parsers = require "asyncio.parsers"

local KEY = "dGhlIHNhbXBsZSBub25jZQ=="

-- A client by hand

local Raw = {}
Raw.__index = Raw
function Raw:__close() self.writer:abort() end

function Raw:send(...) self.writer:send(...) end
function Raw:frame(kind, data) self.writer:send(self.frames:frame(kind, data)) end

--- The next event of the server's frames; "end" where the connection is.
function Raw:event()
  local kind, a, b = self.frames:next()
  while not kind do
    local bytes = self.reader:read(65536)
    if not bytes then return "end" end
    kind, a, b = self.frames:feed(bytes)
  end
  return kind, a, b
end

local function handshake(server, fields)
  local list = { "GET /chat?x=1 HTTP/1.1" }
  local all = { Host = "127.0.0.1:" .. site.port(server), Upgrade = "websocket", Connection = "Upgrade",
    ["Sec-WebSocket-Key"] = KEY, ["Sec-WebSocket-Version"] = "13" }
  for name, value in pairs(fields or {}) do all[name] = value end
  for name, value in pairs(all) do
    if value then list[#list + 1] = name .. ": " .. value end
  end
  return table.concat(list, "\r\n") .. "\r\n\r\n"
end

--- The status and the head of the answer to such a handshake.
local function answer_to(server, fields, request)
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", site.port(server))
  writer:send(request or handshake(server, fields))
  local head = reader:readuntil "\r\n\r\n"
  return tonumber(head:match "^HTTP/1.1 (%d+)"), head:lower()
end

--- An open one, whose frames are made by hand.
local function raw(server, fields)
  local reader, writer = asyncio.open_connection("127.0.0.1", site.port(server))
  writer:send(handshake(server, fields))
  t.assertStrContains(reader:readuntil "\r\n\r\n", "101")
  return setmetatable({ reader = reader, writer = writer, frames = parsers.websocket { role = "client" } }, Raw)
end

-- A server by hand

--- Shakes hands with a client of ours, and gives fn the connection. fields: in place of those that are right
local function by_hand(fn, fields)
  return asyncio.start_server(function(reader, writer)
    local head = reader:readuntil "\r\n\r\n"
    local all = { Upgrade = "websocket", Connection = "Upgrade",
      ["Sec-WebSocket-Accept"] = parsers.websocket_accept(head:match "Sec%-WebSocket%-Key: (%S+)") }
    for name, value in pairs(fields or {}) do all[name] = value or nil end
    writer:write "HTTP/1.1 101 Switching Protocols\r\n"
    for name, value in pairs(all) do writer:write(("%s: %s\r\n"):format(name, value)) end
    writer:send "\r\n"
    if fn then
      local frames = parsers.websocket { role = "server" }
      fn(setmetatable({ reader = reader, writer = writer, frames = frames }, Raw), head)
    else
      reader:read()
    end
  end, "127.0.0.1", 0)
end

local function url_of(server) return ("ws://127.0.0.1:%d/chat"):format(site.port(server)) end

local function echo(request)
  local ws = request:websocket()
  for data, kind in ws:iter() do
    if kind == "text" then ws:send(data) else ws:send_binary(data) end
  end
end

local function serve(handler, opts) return site.serve(handler, opts) end

--- A server whose handler hands out its WebSocket, and stays until that has ended.
local function handing_out(opts)
  local queue = asyncio.Queue()
  return serve(function(request)
    local ws = request:websocket(opts)
    queue:put(ws)
    ws._ended:wait()
  end), queue
end

TestServersHandshake = {}

function TestServersHandshake:test_is_the_rfcs()
  t.run(function()
    local server <close> = serve(echo)
    local status, head = answer_to(server)
    t.assertEquals(status, 101)
    t.assertStrContains(head, "upgrade: websocket")
    t.assertStrContains(head, "connection: upgrade")
    t.assertStrContains(head, "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
    t.assertNotStrContains(head, "sec-websocket-protocol")
    t.assertNotStrContains(head, "sec-websocket-extensions")
  end)
end

function TestServersHandshake:test_refuses_what_is_none()
  t.run(function()
    local server <close> = serve(echo)
    local function status(fields) return (answer_to(server, fields)) end
    t.assertEquals(status { Upgrade = "h2c" }, 426)
    t.assertEquals(status { Upgrade = false, Connection = false }, 426)
    t.assertEquals(status { Connection = "keep-alive" }, 426)
    t.assertEquals(status { ["Sec-WebSocket-Key"] = false }, 400)
    t.assertEquals(status { ["Sec-WebSocket-Key"] = "c2hvcnQ=" }, 400)
    local old, head = answer_to(server, { ["Sec-WebSocket-Version"] = "8" })
    t.assertEquals(old, 426)
    t.assertStrContains(head, "sec-websocket-version: 13")
    t.assertEquals(status { ["Content-Length"] = "1" }, 400)
    t.assertEquals(answer_to(server, nil, (handshake(server):gsub("^GET", "PUT"))), 400)
  end)
end

function TestServersHandshake:test_takes_lists_and_any_case()
  t.run(function()
    local server <close> = serve(echo)
    t.assertEquals(answer_to(server, { Upgrade = "h2c, WebSocket", Connection = "keep-alive, UPGRADE" }), 101)
  end)
end

function TestServersHandshake:test_lets_no_page_from_elsewhere_in()
  t.run(function()
    local server <close> = serve(echo)
    local function status(origin, host) return (answer_to(server, { Origin = origin, Host = host })) end
    t.assertEquals(status("http://127.0.0.1:" .. site.port(server)), 101)
    t.assertEquals(status("https://tea.example", "tea.example"), 101)
    t.assertEquals(status("https://TEA.example:443", "tea.example"), 101)
    for _, origin in ipairs { "http://127.0.0.1", "https://evil.example", "null", "https://tea.example.evil", "" } do
      t.assertEquals(status(origin), 403, origin)
    end
  end)
end

function TestServersHandshake:test_lets_those_in_that_origins_says()
  t.run(function()
    local origins = { "https://tea.example" }
    local server <close> = serve(function(request) request:websocket { origins = origins } end)
    local function status(origin) return (answer_to(server, { Origin = origin })) end
    t.assertEquals({ status "https://tea.example", status "https://other.example", status(false) }, { 101, 403, 101 })
    origins = "*"
    t.assertEquals({ status "null", status "https://other.example" }, { 101, 101 })
    origins = function(origin, request) return origin == nil and request.path == "/chat" end
    t.assertEquals({ status "https://tea.example", status(false) }, { 403, 101 })
  end)
end

function TestServersHandshake:test_chooses_the_first_of_its_protocols_that_is_offered()
  t.run(function()
    local server <close> = serve(function(request) request:websocket { protocols = { "best", "good" } } end)
    local function protocol(offered)
      local _, head = answer_to(server, { ["Sec-WebSocket-Protocol"] = offered })
      return head:match "sec%-websocket%-protocol: (%S+)"
    end
    t.assertEquals({ protocol "good, best", protocol "bad,good", protocol "bad" }, { "best", "good" })
  end)
end

function TestServersHandshake:test_that_fails_may_be_caught()
  t.run(function()
    local server <close> = serve(function(request)
      local ok, err = asyncio.pcall(request.websocket, request)
      return ("%s %d"):format(ok, err.status)
    end)
    t.assertEquals(http.get("http://127.0.0.1:" .. site.port(server)):read(), "false 426")
  end)
end

function TestServersHandshake:test_takes_frames_that_came_with_it()
  t.run(function()
    local server <close> = serve(echo)
    local client = parsers.websocket { role = "client" }
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", site.port(server))
    writer:send(handshake(server) .. client:frame("text", "early"))
    reader:readuntil "\r\n\r\n"
    t.assertEquals({ client:feed(reader:readexactly(7)) }, { "text", "early" })
  end)
end

TestClientsHandshake = {}

local function refused_client(fields)
  local server <close> = by_hand(nil, fields)
  local ok, err = asyncio.pcall(http.websocket, url_of(server), { protocols = { "a", "b" } })
  t.assertFalse(ok)
  t.assertTrue(asyncio.isinstance(err, http.WebSocketError))
  return tostring(err)
end

function TestClientsHandshake:test_wants_the_right_answer()
  t.run(function()
    t.assertStrContains(refused_client { ["Sec-WebSocket-Accept"] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" }, "Accept")
    t.assertStrContains(refused_client { ["Sec-WebSocket-Accept"] = false }, "Accept")
    t.assertStrContains(refused_client { Upgrade = "h2c" }, "no upgrade")
    t.assertStrContains(refused_client { ["Sec-WebSocket-Extensions"] = "permessage-deflate" }, "extensions")
    t.assertStrContains(refused_client { ["Sec-WebSocket-Protocol"] = "c" }, '"c" was not offered')
  end)
end

function TestClientsHandshake:test_says_what_it_offers_and_what_was_chosen()
  t.run(function()
    local got
    local server <close> = by_hand(function(_, head) got = head end, { ["Sec-WebSocket-Protocol"] = "b" })
    local ws <close> = http.websocket {
      url = url_of(server), protocols = { "a", "b" }, headers = { Origin = "https://tea.example" },
      auth = { "me", "pw" },
    }
    t.assertEquals(ws.protocol, "b")
    for _, line in ipairs { "GET /chat HTTP/1.1", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Version: 13",
      "Origin: https://tea.example", "Authorization: Basic bWU6cHc=", "Upgrade: websocket", "Connection: " } do
      t.assertStrContains(got, line)
    end
  end)
end

function TestClientsHandshake:test_that_is_refused_has_the_answer()
  t.run(function()
    local server <close> = serve(function()
      return { status = 302, headers = { Location = "/there" }, body = "why" }
    end)
    local ok, err = asyncio.pcall(http.websocket, url_of(server))
    t.assertFalse(ok)
    t.assertStrContains(tostring(err), "302 Found")
    t.assertEquals({ err.response.status, err.response:read() }, { 302, "why" })
  end)
end

function TestClientsHandshake:test_takes_only_so_long()
  t.run(function()
    local server <close> = asyncio.start_server(function(reader) reader:read() end, "127.0.0.1", 0)
    local ok, err = asyncio.pcall(http.websocket, url_of(server), { timeout = 3 })
    t.assertFalse(ok)
    t.assertEquals({ asyncio.isinstance(err, asyncio.TimeoutError), err.phase }, { true, "headers" })
  end)
end

function TestClientsHandshake:test_of_wrong_arguments()
  t.run(function()
    local function words(url, opts) return tostring(select(2, pcall(http.websocket, url, opts))) end
    t.assertStrContains(words "ftp://h/", "ws:// or wss:// expected")
    t.assertStrContains(words "ws://h/#x", "no fragment")
    t.assertStrContains(words("ws://h/", { headers = { ["Sec-WebSocket-Key"] = "x" } }), "handshake's own")
    t.assertStrContains(words("ws://h/", { protocols = { "a", "a" } }), "protocols")
    t.assertStrContains(words("ws://h/", { protocols = "a" }), "protocols")
    t.assertStrContains(words("ws://h/", { compression = true }), "not compressed")
  end)
end

TestMessages = {}

function TestMessages:test_of_both_kinds_and_all_sizes_go_both_ways()
  t.run(function()
    local server <close> = serve(echo)
    local ws <close> = http.websocket(url_of(server))
    for _, n in ipairs { 0, 1, 125, 126, 2048, 2049, 16384, 16385, 65535, 65536, 300000 } do
      local text = ("tea "):rep(n // 4) .. ("x"):rep(n % 4)
      ws:send(text)
      t.assertEquals({ ws:receive() }, { text, "text" })
      ws:send_binary(text)
      t.assertEquals({ ws:receive() }, { text, "binary" })
    end
  end)
end

function TestMessages:test_that_come_byte_by_byte_are_whole()
  t.run(function()
    local server <close> = serve(echo)
    local client <close> = raw(server)
    for c in client.frames:frame("text", "héllo"):gmatch "." do
      client:send(c)
      asyncio.sleep(0)
    end
    t.assertEquals({ client:event() }, { "text", "héllo" })
  end)
end

function TestMessages:test_of_several_tasks_are_not_mixed()
  t.run(function()
    local server <close> = serve(echo)
    local ws <close> = http.websocket(url_of(server), { max_queue = 100 })
    local seen = {}
    local senders = {}
    for i = 1, 10 do senders[i] = function() ws:send(tostring(i):rep(30000)) end end
    asyncio.gather(table.unpack(senders))
    for _ = 1, 10 do seen[ws:receive()] = true end
    for i = 1, 10 do t.assertTrue(seen[tostring(i):rep(30000)]) end
  end)
end

function TestMessages:test_that_are_no_text_are_refused_where_they_are_sent()
  t.run(function()
    local server <close> = serve(echo)
    local ws <close> = http.websocket(url_of(server))
    t.assertErrorMsgContains("send_binary takes any bytes", ws.send, ws, "\xFF")
    t.assertErrorMsgContains("text (a string) expected", ws.send, ws, 1)
    t.assertErrorMsgContains("string expected", ws.send_binary, ws, nil)
    ws:send "good"
    t.assertEquals(ws:receive(), "good")
  end)
end

function TestMessages:test_are_not_lost_to_a_receive_that_is_cancelled()
  t.run(function()
    local server <close> = by_hand(function(peer)
      for i = 1, 50 do peer:frame("text", tostring(i)) end
      peer.reader:read()
    end)
    local ws <close> = http.websocket(url_of(server))
    local got, i = {}, 0
    while #got < 50 do
      local task = asyncio.create_task(function() got[#got + 1] = ws:receive() end)
      for _ = 1, i % 4 do asyncio.sleep(0) end
      task:cancel()
      asyncio.wait { task }
      i = i + 1
    end
    for k = 1, 50 do t.assertEquals(got[k], tostring(k)) end
  end)
end

--- Calls fn(ws), and closes it.
local function beside_who_does_not_read(fn)
  t.run(function()
    local over = asyncio.Event()
    local server <close> = by_hand(function() over:wait() end)
    local ws = http.websocket(url_of(server), { ping_interval = math.huge })
    fn(ws)
    over:set()
    ws:close()
  end)
end

function TestMessages:test_wait_for_a_peer_that_does_not_read()
  beside_who_does_not_read(function(ws)
    local sent = 0
    local in_time = asyncio.move_on_after(10, function()
      while true do
        ws:send_binary(("x"):rep(65536))
        sent = sent + 1
      end
    end)
    t.assertFalse(in_time)
    t.assertTrue(sent < 500, sent) -- what two kernels' buffers hold
  end)
end

function TestMessages:test_that_nobody_receives_stop_the_reading()
  t.run(function()
    local server <close>, sockets = handing_out { max_queue = 4 }
    local client <close> = raw(server)
    for i = 1, 10 do client:frame("text", tostring(i)) end
    local ws = sockets:get()
    asyncio.sleep(1)
    t.assertEquals(ws._messages:qsize(), 4)
    for i = 1, 10 do t.assertEquals(ws:receive(), tostring(i)) end
  end)
end

function TestMessages:test_wait_for_a_peer_that_does_not_read_though_they_are_short()
  beside_who_does_not_read(function(ws)
    local in_time = asyncio.move_on_after(10, function()
      while true do ws:send(("x"):rep(1000)) end
    end)
    t.assertFalse(in_time)
    local pending, _, high = ws._writer:_buffer()
    t.assertTrue(pending <= high + 1014, pending)
  end)
end

function TestMessages:test_in_a_flood_let_others_run()
  t.run(function()
    local server <close> = by_hand(function(peer)
      peer.writer:send((peer.frames:frame("binary", "x"):rep(2000)))
      peer.reader:read()
    end)
    local ws <close> = http.websocket(url_of(server))
    asyncio.sleep(0.1)
    local turns, got = 0, 0
    local other <close> = asyncio.create_task(function()
      while got < 2000 do
        turns = turns + 1
        asyncio.sleep(0)
      end
    end)
    for _ = 1, 2000 do got = got + #ws:receive() end
    asyncio.await(other)
    t.assertTrue(turns > 10, turns)
  end)
end

function TestMessages:test_of_wrong_objects_and_values_say_so()
  t.run(function()
    local server <close> = serve(echo)
    local ws <close> = http.websocket(url_of(server))
    local function words(fn, ...)
      local _, err = pcall(fn, ...)
      return tostring(err)
    end
    t.assertStrContains(words(ws.receive), "asyncio.WebSocket expected, got no value")
    t.assertStrContains(words(ws.iter, {}), "asyncio.WebSocket expected, got table")
    t.assertStrContains(words(function() ws.send "text" end), "use a colon: object:send(...)")
    t.assertStrMatches(words(function() ws:send(5) end),
      ".*websocket_spec.lua:%d+: bad argument #1 to 'send' %(text %(a string%) expected, got number%)")
    t.assertStrContains(words(function() ws:send_binary() end), "#1 to 'send_binary' (string expected, got nil)")
  end)
end

--- Runs fn with a WebSocket whose peer sends what is put into a queue.
local function fed(fn)
  t.run(function()
    local queue = asyncio.Queue()
    local server <close> = by_hand(function(peer)
      for _, text in queue:iter() do peer:frame("text", text) end
    end)
    local ws <close> = http.websocket(url_of(server))
    fn(ws, queue)
    queue:shutdown()
  end)
end

-- Who receives
TestReceivers = {}

local MOMENTS = { 0, 0.1, 3 } -- seconds: at once; while it waits in C alone; when it has waited for long

function TestReceivers:test_get_messages_however_long_they_wait()
  fed(function(ws, queue)
    for _, seconds in ipairs { 0, 0.1, 3, 0, 3, 0.1 } do
      asyncio.get_running_loop():call_later(seconds, function() queue:put_nowait(tostring(seconds)) end)
      t.assertEquals({ ws:receive() }, { tostring(seconds), "text" })
    end
    t.assertFalse(ws._running)
  end)
end

function TestReceivers:test_that_came_first_are_served_first()
  for _, seconds in ipairs(MOMENTS) do
    fed(function(ws, queue)
      local first = asyncio.create_task(function() return ws:receive() end)
      asyncio.sleep(seconds)
      local second = asyncio.create_task(function() return ws:receive() end)
      asyncio.sleep(seconds)
      queue:put "1"
      queue:put "2"
      t.assertEquals({ asyncio.await(first) }, { "1", "text" })
      t.assertEquals({ asyncio.await(second) }, { "2", "text" })
    end)
  end
end

function TestReceivers:test_that_are_cancelled_leave_pings_to_be_answered()
  for _, seconds in ipairs(MOMENTS) do
    t.run(function()
      local server <close>, sockets = handing_out()
      local client <close> = raw(server)
      local ws = sockets:get()
      asyncio.move_on_after(seconds, function() ws:receive() end)
      client:frame("ping", "still there")
      local in_time, _, data = asyncio.move_on_after(1, function() return client:event() end)
      t.assertTrue(in_time)
      t.assertEquals(data, "still there")
    end)
  end
end

function TestReceivers:test_go_on_while_another_task_pings()
  for _, seconds in ipairs(MOMENTS) do
    t.run(function()
      local server <close> = serve(echo)
      local ws <close> = http.websocket(url_of(server))
      local receiver = asyncio.create_task(function() return ws:receive() end)
      asyncio.sleep(seconds)
      t.assertTrue(ws:ping() < 0.1)
      ws:send "tea"
      t.assertEquals({ asyncio.await(receiver) }, { "tea", "text" })
    end)
  end
end

function TestReceivers:test_see_the_end_when_another_task_closes()
  for _, seconds in ipairs(MOMENTS) do
    t.run(function()
      local server <close> = serve(echo)
      local ws <close> = http.websocket(url_of(server))
      local receiver = asyncio.create_task(function() return ws:receive() end)
      asyncio.sleep(seconds)
      ws:close(4000, "enough")
      t.assertNil(asyncio.await(receiver))
      t.assertEquals(ws.close_code, 4000)
    end)
  end
end

function TestReceivers:test_go_on_behind_pings_and_pieces()
  t.run(function()
    local server <close> = serve(echo)
    local client <close> = raw(server)
    for _, seconds in ipairs(MOMENTS) do
      local frames = client.frames
      local bytes = frames:frame("ping", "a") .. frames:frame("text", "tea") .. frames:frame("pong", "b")
      for c in bytes:gmatch "." do
        client:send(c)
        asyncio.sleep(seconds)
      end
      t.assertEquals({ client:event() }, { "pong", "a" })
      t.assertEquals({ client:event() }, { "text", "tea" })
    end
  end)
end

function TestReceivers:test_raise_after_a_read_timeout()
  for _, seconds in ipairs { 0.1, 3 } do
    t.run(function()
      local server <close> = serve(function(request)
        local ws = request:websocket()
        for _ = 1, 2 do
          local start = asyncio.time()
          local _, err = asyncio.pcall(ws.receive, ws)
          t.assertTrue(asyncio.isinstance(err, asyncio.TimeoutError), err)
          t.assertAlmostEquals(asyncio.time() - start, seconds, 0.01)
        end
        ws:send(ws:receive())
      end, { read_timeout = seconds })
      local client <close> = raw(server)
      asyncio.sleep(2.2 * seconds)
      client:frame("text", "late")
      t.assertEquals({ client:event() }, { "text", "late" })
    end)
  end
end

TestPings = {}

function TestPings:test_are_answered_though_nobody_receives()
  t.run(function()
    local server <close> = handing_out()
    local client <close> = raw(server)
    client:frame("ping", "are you there")
    t.assertEquals({ client:event() }, { "pong", "are you there" })
  end)
end

function TestPings:test_tell_how_long_the_answer_took()
  t.run(function()
    local server <close> = by_hand(function(peer)
      local _, first = peer:event()
      local _, second = peer:event()
      t.assertNotEquals(first, second)
      asyncio.sleep(2)
      peer:frame("pong", "unasked")
      peer:frame("pong", second) -- answers the first, too
      peer.reader:read()
    end)
    local ws <close> = http.websocket(url_of(server))
    local a, b = asyncio.gather(function() return ws:ping() end, function() return ws:ping() end)
    t.assertAlmostEquals(a, 2, 0.1)
    t.assertAlmostEquals(b, 2, 0.1)
  end)
end

function TestPings:test_that_wait_at_the_end_raise()
  t.run(function()
    local server <close> = by_hand(function(peer)
      peer:event()
      peer.writer:abort()
    end)
    local ws <close> = http.websocket(url_of(server))
    local ok, err = asyncio.pcall(ws.ping, ws)
    t.assertFalse(ok)
    t.assertTrue(asyncio.isinstance(err, asyncio.ClosedError))
    t.assertEquals(ws.close_code, 1006)
  end)
end

function TestPings:test_are_sent_when_nothing_has_come_and_1011_ends_a_silent_peer()
  t.run(function()
    local server <close>, sockets = handing_out { ping_interval = 20, ping_timeout = 10 }
    local client <close> = raw(server)
    local began = asyncio.time()
    local kind = client:event()
    t.assertEquals({ kind, math.floor(asyncio.time() - began + 0.5) }, { "ping", 20 })
    local closing, code = client:event()
    t.assertEquals({ closing, code, math.floor(asyncio.time() - began + 0.5) }, { "close", 1011, 30 })
    local ws = sockets:get()
    t.assertNil(ws:receive())
    t.assertEquals(ws.close_code, 1011)
    client.writer:close()
    ws:close()
  end)
end

function TestPings:test_wait_while_anything_comes()
  t.run(function()
    local server <close> = handing_out { ping_interval = 20, max_queue = 100 }
    local client <close> = raw(server)
    local began = asyncio.time()
    for _ = 1, 5 do
      asyncio.sleep(15)
      client:frame("text", "x")
    end
    t.assertEquals(client:event(), "ping")
    t.assertAlmostEquals(asyncio.time() - began, 95, 0.5)
  end)
end

function TestPings:test_are_not_sent_while_it_is_we_who_do_not_read()
  t.run(function()
    local server <close>, sockets = handing_out { ping_interval = 5, ping_timeout = 5, max_queue = 1 }
    local client <close> = raw(server)
    for i = 1, 5 do client:frame("text", tostring(i)) end
    asyncio.sleep(100)
    local ws = sockets:get()
    for i = 1, 5 do t.assertEquals(ws:receive(), tostring(i)) end
    t.assertNil(ws.close_code)
  end)
end

function TestPings:test_in_a_flood_are_answered_in_bounded_memory()
  t.run(function()
    local server <close>, sockets = handing_out { ping_interval = math.huge }
    local client = raw(server)
    local ping = client.frames:frame("ping", ("p"):rep(125)):rep(100)
    asyncio.move_on_after(10, function()
      while true do client:send(ping) end
    end)
    t.assertTrue(sockets:get()._writer:pending() < 1 << 18)
    client.writer:abort()
  end)
end

TestEnds = {}

function TestEnds:test_by_the_peer_have_its_code()
  t.run(function()
    for _, case in ipairs { { 1000, "bye" }, { 4001, "" }, {} } do
      local server <close>, sockets = handing_out()
      local client <close> = raw(server)
      client:send(client.frames:close(case[1], case[2]))
      local kind, code = client:event()
      t.assertEquals({ kind, code }, { "close", case[1] or 1005 })
      t.assertEquals(client:event(), "end") -- the server ends the connection
      local ws = sockets:get()
      t.assertNil(ws:receive())
      t.assertEquals({ ws.close_code, ws.close_reason }, { case[1] or 1005, case[2] or "" })
    end
  end)
end

function TestEnds:test_leave_what_has_come_before()
  t.run(function()
    local server <close>, sockets = handing_out()
    local client <close> = raw(server)
    client:send(client.frames:frame("text", "last") .. client.frames:close(1000))
    client:event()
    local ws = sockets:get()
    t.assertEquals(ws:receive(), "last")
    t.assertNil(ws:receive())
  end)
end

function TestEnds:test_of_a_client_wait_for_the_server()
  t.run(function()
    local answered
    local server <close> = by_hand(function(peer)
      local kind, code, reason = peer:event()
      t.assertEquals({ kind, code, reason }, { "close", 3000, "enough" })
      asyncio.sleep(2)
      peer:send(peer.frames:close(3000))
      asyncio.sleep(1)
      answered = asyncio.time()
    end)
    local ws = http.websocket(url_of(server))
    ws:close(3000, "enough")
    t.assertEquals(ws.close_code, 3000)
    t.assertTrue(asyncio.time() >= answered)
    ws:close()
  end)
end

function TestEnds:test_wait_only_so_long()
  t.run(function()
    local server <close> = by_hand(function(peer) peer.reader:wait_eof() end)
    local ws = http.websocket(url_of(server), { close_timeout = 4 })
    local began = asyncio.time()
    ws:close()
    t.assertAlmostEquals(asyncio.time() - began, 4, 0.1)
    t.assertEquals(ws.close_code, 1006)
  end)
end

function TestEnds:test_of_both_at_once_are_normal()
  t.run(function()
    local server <close> = by_hand(function(peer)
      peer:send(peer.frames:close(1001, "mine"))
      t.assertEquals(peer:event(), "close")
      t.assertEquals(peer.frames:next(), nil)
    end)
    local ws = http.websocket(url_of(server))
    ws:close(1000, "yours")
    t.assertEquals({ ws.close_code, ws.close_reason }, { 1001, "mine" })
  end)
end

function TestEnds:test_drop_what_comes_after_ours()
  t.run(function()
    local server <close> = by_hand(function(peer)
      for i = 1, 100 do peer:frame("text", tostring(i)) end
      t.assertEquals(peer:event(), "close")
      peer:send(peer.frames:close(1000))
    end)
    local ws = http.websocket(url_of(server), { max_queue = 2 })
    asyncio.sleep(1)
    ws:close()
    t.assertNil(ws:receive())
    t.assertEquals(ws.close_code, 1000)
  end)
end

function TestEnds:test_against_the_rules_are_ours_and_say_so()
  t.run(function()
    local frames = parsers.websocket { role = "server" } -- its frames are not masked
    local long = parsers.websocket { role = "client" }:frame("binary", ("x"):rep(200))
    local bad = parsers.websocket { role = "client" }:frame("binary", "\xFF\xFE")
    for code, bytes in pairs { [1002] = frames:frame("text", "x"), [1009] = long, [1007] = "\x81" .. bad:sub(2) } do
      local server <close>, sockets = handing_out { max_message = 100 }
      local client <close> = raw(server)
      client:send(bytes)
      local kind, said, reason = client:event()
      t.assertEquals({ kind, said }, { "close", code })
      t.assertEquals(client:event(), "end")
      local ws = sockets:get()
      t.assertNil(ws:receive())
      t.assertEquals({ ws.close_code, ws.close_reason }, { code, reason })
      client.writer:close()
      ws:close()
    end
  end)
end

function TestEnds:test_that_are_cuts_are_1006()
  t.run(function()
    local server <close>, sockets = handing_out()
    local client = raw(server)
    client:send(client.frames:frame("text", "half"):sub(1, -3))
    client.writer:abort()
    local ws = sockets:get()
    t.assertNil(ws:receive())
    t.assertEquals({ ws.close_code, ws.close_reason }, { 1006, "" })
  end)
end

function TestEnds:test_let_nothing_be_sent_afterwards()
  t.run(function()
    local server <close> = serve(echo)
    local ws = http.websocket(url_of(server))
    ws:close()
    for _, name in ipairs { "send", "send_binary", "ping" } do
      local ok, err = asyncio.pcall(ws[name], ws, "x")
      t.assertFalse(ok)
      t.assertTrue(asyncio.isinstance(err, asyncio.ClosedError), name)
    end
    t.assertStrContains(tostring(ws), "closed")
  end)
end

function TestEnds:test_refuse_codes_and_reasons_that_may_not_be_sent()
  t.run(function()
    local server <close> = serve(echo)
    local ws <close> = http.websocket(url_of(server))
    t.assertErrorMsgContains("1000 to 1003", ws.close, ws, 1006)
    t.assertErrorMsgContains("123 bytes", ws.close, ws, 1000, ("x"):rep(124))
    t.assertErrorMsgContains("UTF-8", ws.close, ws, 1000, "\xFF")
    t.assertNil(ws.close_code)
  end)
end

TestHandlers = {}

local function end_of(handler)
  local server <close> = serve(handler)
  local client <close> = raw(server)
  local kind, code = client:event()
  client:send(client.frames:close(code))
  t.assertEquals({ kind, client:event() }, { "close", "end" })
  return code
end

function TestHandlers:test_that_return_close_with_1000()
  t.run(function()
    t.assertEquals(end_of(function(request) request:websocket() end), 1000)
  end)
end

function TestHandlers:test_that_fail_close_with_1011_and_are_reported()
  t.run(function(reports)
    t.assertEquals(end_of(function(request)
      request:websocket()
      error "spilt"
    end), 1011)
    t.assertStrContains(tostring(table.remove(reports).exception), "spilt")
  end)
end

function TestHandlers:test_whose_client_has_left_end_quietly()
  t.run(function(reports)
    local server <close> = serve(function(request)
      local ws = request:websocket()
      while true do
        ws:send "tick"
        asyncio.sleep(1)
      end
    end)
    local client = raw(server)
    client:event()
    client.writer:abort()
    asyncio.sleep(10)
    t.assertEquals(server:stats().connections, 0)
    t.assertEquals(#reports, 1) -- that it sends where nobody is, though receive would have told it
    t.assertTrue(asyncio.isinstance(table.remove(reports).exception, asyncio.ClosedError))
  end)
end

function TestHandlers:test_get_1001_and_an_end_when_the_server_is_shut_down()
  t.run(function()
    local server <close> = serve(echo)
    local ws = http.websocket(url_of(server))
    local client <close> = raw(server)
    local down = asyncio.create_task(server.shutdown, server, 5)
    t.assertNil(ws:receive())
    t.assertEquals(ws.close_code, 1001)
    local kind, code = client:event()
    t.assertEquals({ kind, code, client:event() }, { "close", 1001, "end" })
    t.assertEquals(asyncio.await(down), 0)
    ws:close()
  end)
end

TestBlocks = {}

--- What the server hears when a block of the client's is left so.
local function heard(leave)
  local code
  local server <close> = by_hand(function(peer)
    local _, said = peer:event()
    code = said
    peer:send(peer.frames:close(said))
  end)
  asyncio.pcall(function()
    local ws <close> = http.websocket(url_of(server))
    leave(ws)
  end)
  asyncio.sleep(1)
  return code
end

function TestBlocks:test_close_with_1000_and_by_an_error_with_1011()
  t.run(function()
    t.assertEquals(heard(function() end), 1000)
    t.assertEquals(heard(function() error "x" end), 1011)
    t.assertEquals(heard(function(ws) ws:close(4000) end), 4000)
  end)
end

function TestBlocks:test_that_are_cancelled_do_not_wait()
  t.run(function()
    local server <close> = by_hand(function(peer)
      t.assertEquals({ peer:event() }, { "close", 1001, "" })
      asyncio.sleep(1)
    end)
    local task = asyncio.create_task(function()
      local _ <close> = http.websocket(url_of(server))
      asyncio.sleep(3600)
    end)
    t.until_blocked()
    local began = asyncio.time()
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(asyncio.time(), began)
    asyncio.sleep(20)
  end)
end

t.finish()
