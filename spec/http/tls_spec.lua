-- tls_spec.lua - HTTP over TLS.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"
local site = require "http.site"

local asyncio = t.asyncio

local GET = "GET / HTTP/1.1\r\nHost: here\r\n\r\n"

local function serve(handler) return site.serve(handler, { ssl = secure.server_context() }) end

local function connect(server)
  return asyncio.open_connection("127.0.0.1", site.port(server), {
    ssl = secure.client_context(), server_hostname = "localhost",
  })
end

--- The next answer's body, whose length is said.
local function answer(reader)
  local head = reader:readuntil "\r\n\r\n"
  return head and reader:readexactly(tonumber(head:match "Content%-Length: (%d+)")), head
end

TestTls = {}

function TestTls:test_serves_request_after_request()
  t.real(function()
    local server <close> = serve(function(request) return request.scheme .. request:read() end)
    local reader, writer <close> = connect(server)
    for _ = 1, 3 do
      writer:send(GET)
      t.assertEquals(answer(reader), "https")
    end
    writer:send "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n"
    writer:send "ab"
    t.assertEquals(answer(reader), "httpsab")
  end)
end

function TestTls:test_sends_large_answers_whole()
  t.real(function()
    local big = ("0123456789abcdef"):rep(100000)
    local server <close> = serve(big)
    local reader, writer <close> = connect(server)
    for _ = 1, 2 do
      writer:send(GET)
      t.assertTrue(answer(reader) == big)
    end
  end)
end

function TestTls:test_ends_in_good_order()
  t.real(function()
    local requests, begun, go_on = 0, asyncio.Event(), asyncio.Event()
    local server <close> = serve(function()
      requests = requests + 1
      if requests == 2 then
        begun:set()
        go_on:wait()
      end
      return "done"
    end)
    local idle_reader, idle_writer <close> = connect(server)
    idle_writer:send(GET)
    answer(idle_reader)
    local reader, writer <close> = connect(server)
    writer:send(GET)
    begun:wait()
    local shutdown = asyncio.create_task(server.shutdown, server, 10)
    t.assertNil(idle_reader:read(1))
    go_on:set()
    local body, head = answer(reader)
    t.assertEquals(body, "done")
    t.assertStrContains(head, "Connection: close")
    t.assertNil(reader:read(1))
    t.assertEquals(asyncio.await(shutdown), 0)
  end)
end

function TestTls:test_answer_that_fails_is_no_clean_end()
  t.real(function(reports)
    local server <close> = serve(function(request)
      request:respond():send "half"
      error "no more"
    end)
    local reader, writer <close> = connect(server)
    writer:send(GET)
    t.assertFalse((pcall(reader.read, reader)))
    t.take_report(reports, "failed")
  end)
end

function TestTls:test_is_spoken_to_curl()
  peers.need "curl"
  t.real(function()
    local server <close> = serve "hello\n"
    local url = "https://127.0.0.1:" .. site.port(server)
    local result = asyncio.run_process({ "curl", "-sk", url, url }, { stdout = "pipe" })
    t.assertEquals(result.stdout, "hello\nhello\n")
  end)
end

function TestTls:test_carries_websockets()
  t.real(function()
    local server <close> = serve(function(request)
      local ws = request:websocket()
      for data in ws:iter() do ws:send_binary(data) end
    end)
    local url = ("wss://localhost:%d/"):format(site.port(server))
    local ws <close> = asyncio.http.websocket(url, { ssl = secure.client_context() })
    for _, n in ipairs { 0, 64, 3000, 16384, 200000, 5 } do
      local data = ("tea "):rep(n // 4) .. ("x"):rep(n % 4)
      for _ = 1, 3 do ws:send(data) end
      for _ = 1, 3 do t.assertTrue(ws:receive() == data, n) end
    end
    ws:close()
    t.assertEquals(ws.close_code, 1000)
  end)
end

t.finish()
