-- LuaSec's own ssl.https, unchanged, twenty at a time; TLS in the copas face.
local t = require "helper"
local crowds = require "compat.crowds"
local peers = require "peers"
local secure = require "secure"

local asyncio = t.asyncio

local together, crowd, answers = crowds.together, crowds.crowd, crowds.answers
local TOGETHER = crowds.TOGETHER

local function https()
  if not package.searchpath("ssl.https", package.path) then t.skip "LuaSec is not installed" end
  return asyncio.compat.require "ssl.https"
end

--- fn(port) with a server whose connections are encrypted.
local function with_server(handler, fn)
  t.real(function()
    local server = secure.serve(handler)
    fn(peers.port(server))
    server:close()
    server:wait_closed()
  end)
end

TestHttps = {}

function TestHttps:test_gets()
  local client = https()
  with_server(answers(crowd()), function(port)
    together(function(i)
      local body, code, headers, status = client.request(("https://localhost:%d/%d"):format(port, i))
      t.assertEquals({ body, code, status }, { "/" .. i, 200, "HTTP/1.1 200 OK" })
      t.assertEquals(headers["content-length"], tostring(#body))
    end)
  end)
end

function TestHttps:test_posts_and_checks_the_server()
  local client = https()
  local ltn12 = asyncio.compat.require "ltn12"
  with_server(answers(crowd()), function(port)
    together(function(i)
      local got, text = {}, ("x"):rep(i * 10000)
      local ok, code = client.request {
        url = ("https://localhost:%d/post"):format(port), method = "POST", sink = ltn12.sink.table(got),
        source = ltn12.source.string(text), headers = { ["content-length"] = #text },
        verify = "peer", cafile = secure.certificates.file "root.pem",
      }
      t.assertEquals({ ok, code }, { 1, 200 })
      t.assertEquals(table.concat(got), "/post " .. text)
    end)
  end)
end

function TestHttps:test_a_server_that_is_not_trusted_is_nil_and_a_sentence()
  local client = https()
  with_server(answers(), function(port)
    local ok, err = client.request { url = "https://localhost:" .. port, verify = "peer" }
    t.assertEquals({ ok, err }, { nil, "certificate verify failed" })
  end)
end

function TestHttps:test_servers_that_die_are_nil_and_a_word()
  local client = https()
  with_server(function(_, writer) writer:abort() end, function(port)
    together(function()
      local body, err = client.request("https://localhost:" .. port)
      t.assertNil(body)
      t.assertTrue(err == "closed" or err == "unexpected eof while reading", err)
    end)
  end)
  t.real(function()
    local server = peers.serve(function(_, writer) writer:abort() end)
    together(function()
      local body, err = client.request("https://127.0.0.1:" .. peers.port(server))
      t.assertNil(body)
      t.assertTrue(err == "closed" or err == "unexpected eof while reading", err)
    end)
    server:close()
    server:wait_closed()
    t.assertEquals({ client.request("https://127.0.0.1:" .. peers.reserve_port()) }, { nil, "connection refused" })
  end)
end

function TestHttps:test_servers_that_are_silent_take_as_long_as_TIMEOUT_says()
  local client = https()
  local over, before = asyncio.Event(), client.TIMEOUT
  client.TIMEOUT = 0.1
  with_server(function() over:wait() end, function(port)
    together(function()
      local body, err = client.request("https://localhost:" .. port)
      t.assertEquals({ body, err }, { nil, "wantread" })
    end)
    over:set()
  end)
  t.real(function()
    local still = asyncio.Event()
    local server = peers.serve(function() still:wait() end)
    together(function()
      local body, err = client.request("https://127.0.0.1:" .. peers.port(server))
      t.assertEquals({ body, err }, { nil, "wantread" })
    end)
    still:set()
    server:close()
    server:wait_closed()
  end)
  client.TIMEOUT = before
end

function TestHttps:test_cancelled_in_the_middle()
  local client = https()
  local over, asked, everybody = asyncio.Event(), 0, asyncio.Event()
  with_server(function(_, writer)
    writer:send "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    asked = asked + 1
    if asked == TOGETHER then everybody:set() end
    over:wait()
  end, function(port)
    local tasks = {}
    for i = 1, TOGETHER do
      tasks[i] = asyncio.create_task(client.request, "https://localhost:" .. port)
    end
    everybody:wait()
    for _, task in ipairs(tasks) do task:cancel() end
    asyncio.wait(tasks)
    for _, task in ipairs(tasks) do t.assertTrue(task:cancelled()) end
    over:set()
    t.collect()
  end)
end

-- copas

local function copas() return asyncio.compat.copas end

TestCopas = {}

local function server_parameters()
  return { wrap = { mode = "server", protocol = "any", key = secure.certificates.server.keyfile,
    certificate = secure.certificates.server.certfile } }
end

local function client_parameters()
  return { wrap = { mode = "client", protocol = "any", verify = "peer", cafile = secure.certificates.file "root.pem" } }
end

function TestCopas:test_handlers_and_clients_speak_TLS()
  local face = copas()
  local socket = asyncio.socket
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  local got = {}
  face.addserver(listener, face.handler(function(skt)
    local line = skt:receive()
    skt:send("you said " .. line .. "\n")
    skt:close()
  end, server_parameters()))
  face.loop(function()
    local left = TOGETHER
    for i = 1, TOGETHER do
      face.addthread(function()
        local skt = face.wrap(socket.tcp(), client_parameters())
        assert(skt:connect("127.0.0.1", port))
        skt:send(i .. "\n")
        got[i] = skt:receive()
        skt:close()
        left = left - 1
        if left == 0 then face.removeserver(listener) end
      end)
    end
  end)
  for i = 1, TOGETHER do t.assertEquals(got[i], "you said " .. i) end
end

function TestCopas:test_dohandshake_and_sni()
  local face = copas()
  local socket = asyncio.socket
  local other = asyncio.compat.ssl.newcontext { mode = "server", protocol = "any",
    key = secure.certificates.other.keyfile, certificate = secure.certificates.other.certfile }
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  local subject
  face.addserver(listener, function(skt)
    skt = face.wrap(skt, { wrap = server_parameters().wrap,
      sni = { names = { ["www.example.org"] = other }, strict = true } })
    skt:sni()
    skt:dohandshake()
    skt:send((skt:getsniname() or "none") .. "\n")
    skt:close()
    face.removeserver(listener)
  end)
  local line
  face.loop(function()
    local skt = face.wrap(socket.tcp(), { wrap = { mode = "client", protocol = "any", verify = "none" },
      sni = { names = "www.example.org" } })
    assert(skt:connect("127.0.0.1", port))
    line = skt:receive()
    subject = skt.socket:getpeercertificate():digest()
    skt:close()
  end)
  t.assertEquals(line, "www.example.org")
  local expected = asyncio.compat.ssl.loadcertificate(secure.certificates.text "other.pem"):digest()
  t.assertEquals(subject, expected)
end

function TestCopas:test_a_handshake_that_fails_raises_one_that_is_late_is_a_timeout()
  local face = copas()
  local socket = asyncio.socket
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  local late, failed
  face.loop(function()
    local skt = face.wrap(socket.tcp(), client_parameters())
    skt:settimeouts(0.02)
    late = { skt:connect("127.0.0.1", port) }
    skt:close()
    skt = face.wrap(socket.tcp(), client_parameters())
    local peer = assert(listener:accept())
    peer:close()
    local task = face.addthread(function()
      local mute = assert(listener:accept())
      mute:settimeout(5)
      mute:send "HTTP/1.1 400 Bad Request\r\n\r\n"
      mute:receive "*a"
      mute:close()
    end)
    failed = { asyncio.pcall(skt.connect, skt, "127.0.0.1", port) }
    skt:close()
    t.assertNotNil(task)
  end)
  listener:close()
  t.assertEquals(late, { nil, "timeout" })
  t.assertFalse(failed[1])
  t.assertStrContains(tostring(failed[2]), "TLS/SSL handshake failed: wrong version number")
end

function TestCopas:test_http_requests()
  https()
  local face = copas()
  local http = asyncio.compat.require "copas.http"
  with_server(answers(crowd()), function(port)
    together(function(i)
      local body, code = http.request(("https://localhost:%d/%d"):format(port, i))
      t.assertEquals({ body, code }, { "/" .. i, 200 })
    end)
    t.assertNotNil(face)
  end)
end

t.finish()
