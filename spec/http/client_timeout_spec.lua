-- client_timeout_spec.lua - how long a request may take, and what is said to have taken too long.
local t = require "helper"
local raw = require "http.raw"

local asyncio = t.asyncio
local http = asyncio.http

--- The TimeoutError of a call, and after how long it came.
local function late(fn, ...)
  local began = asyncio.time()
  local err = t.assert_raises(asyncio.TimeoutError, fn, ...)
  return err, asyncio.time() - began
end

local function near(a, b) t.assertAlmostEquals(a, b, 0.01) end

--- Answers nothing until its client has gone.
local function never(_, _, reader)
  reader:wait_eof()
  return false
end

TestTimeout = {}

function TestTimeout:test_of_the_head()
  raw.with(never, function(url)
    local err, after = late(http.get, url, { timeout = 7 })
    t.assertEquals(err.phase, "headers")
    t.assertStrContains(tostring(err), ("GET %s: no answer after 7 s: it was sent, and not answered"):format(url))
    near(after, 7)
    err, after = late(http.get, url)
    near(after, 60)
  end)
end

function TestTimeout:test_of_the_head_however_it_trickles()
  raw.with(function(_, writer)
    writer:send "HTTP/1.1 200 OK\r\n"
    while pcall(writer.send, writer, "X: y\r\n") do asyncio.sleep(1) end
    return false
  end, function(url)
    local err, after = late(http.get, url, { timeout = 7 })
    t.assertEquals(err.phase, "headers")
    near(after, 7)
  end)
end

function TestTimeout:test_of_the_body_begins_anew_with_each_piece()
  raw.with(function(_, writer, reader)
    writer:send "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    for _ = 1, 3 do
      asyncio.sleep(6)
      writer:send "piece"
    end
    return never(_, _, reader)
  end, function(url)
    local answer = http.get(url, { timeout = 7 })
    local err, after = late(answer.read, answer)
    t.assertEquals(err.phase, "body")
    t.assertStrContains(tostring(err), ("no more of the body of GET %s came for 7 s"):format(url))
    near(after, 18 + 7)
    t.assert_raises(asyncio.ClosedError, answer.read, answer)
  end)
end

function TestTimeout:test_in_total_bounds_head_and_body()
  raw.with(never, function(url)
    local err, after = late(http.get, url, { total_timeout = 7 })
    t.assertEquals(err.phase, "headers")
    near(after, 7)
  end)
  raw.with(function(_, writer)
    asyncio.sleep(2)
    writer:send "HTTP/1.1 200 OK\r\n\r\n"
    while pcall(writer.send, writer, "x") do asyncio.sleep(1) end
    return false
  end, function(url)
    local began = asyncio.time()
    local answer = http.get(url, { total_timeout = 7, timeout = 3 })
    local err = late(answer.read, answer)
    t.assertEquals(err.phase, "body")
    t.assertStrContains(tostring(err), "took longer than 7 s")
    near(asyncio.time() - began, 7)
  end)
end

function TestTimeout:test_redirects_do_not_begin_it_anew()
  raw.with(function()
    asyncio.sleep(3)
    return raw.answer("", "Location: /again\r\n", "302 Found")
  end, function(url)
    local _, after = late(http.get, url, { timeout = 7 })
    near(after, 7)
  end)
end

function TestTimeout:test_of_a_body_that_nobody_takes()
  t.real(function()
    local function deaf(reader) reader:wait_eof() end
    local server <close> = asyncio.start_server(deaf, "127.0.0.1", 0, { limit = 1024 })
    local err = late(http.post, raw.url(server), { body = ("x"):rep(1 << 24), timeout = 0.1 })
    t.assertEquals(err.phase, "send")
    err = late(http.post, raw.url(server), { body = function() return ("x"):rep(1 << 16) end, timeout = 0.1 })
    t.assertEquals(err.phase, "send")
    server:abort_clients()
  end)
end

function TestTimeout:test_of_a_source_that_gives_nothing()
  raw.with("", function(url)
    local ended
    local err = late(http.post, url, { timeout = 7, body = function()
      local _ <close> = asyncio.defer(function() ended = true end)
      asyncio.sleep(1e6)
    end })
    t.assertEquals({ err.phase, ended }, { "send", true })
  end)
end

function TestTimeout:test_of_the_line_for_a_connection()
  raw.with(function()
    asyncio.sleep(20)
    return raw.answer "tea"
  end, function(url)
    local client <close> = http.Client { max_connections = 1 }
    local first = asyncio.create_task(function() return client:get(url):read() end)
    asyncio.sleep(0.1)
    local err, after = late(client.get, client, url, { timeout = 7 })
    t.assertEquals(err.phase, "pool")
    near(after, 7)
    t.assertEquals(asyncio.await(first), "tea")
    t.assertEquals(client:get(url):read(), "tea")
  end)
end

--- A listening socket whose backlog is full: nobody else gets an answer.
local function deaf(fn)
  local peers = require "peers"
  local socket = peers.luasocket()
  t.real(function()
    local listener = assert(socket.tcp4())
    assert(listener:bind("127.0.0.1", 0))
    assert(listener:listen(0))
    local port, others = select(2, listener:getsockname()), {}
    for i = 1, 4 do
      others[i] = socket.tcp4()
      others[i]:settimeout(0)
      others[i]:connect("127.0.0.1", port)
    end
    fn(("http://127.0.0.1:%d/"):format(port))
    for _, other in ipairs(others) do other:close() end
    listener:close()
  end)
end

function TestTimeout:test_of_connecting()
  deaf(function(url)
    local err = late(http.get, url, { connect_timeout = 0.1 })
    t.assertEquals(err.phase, "connect")
    t.assertStrContains(tostring(err), "after 0.1 s: connecting was under way")
    err = late(http.get, url, { timeout = 0.1 })
    t.assertEquals(err.phase, "connect")
    t.assertStrContains(tostring(err), "no answer after 0.1 s: connecting was under way")
  end)
end

function TestTimeout:test_of_the_handshake()
  require "secure" -- skips without OpenSSL
  t.run(function()
    local server <close> = asyncio.start_server(function(reader) reader:wait_eof() end, "127.0.0.1", 0)
    local url = raw.url(server):gsub("^http:", "https:")
    local err, after = late(http.get, url)
    t.assertEquals(err.phase, "tls")
    near(after, 10)
    err, after = late(http.get, url, { timeout = 2 })
    t.assertEquals(err.phase, "tls")
    near(after, 2)
    server:abort_clients()
  end)
end

function TestTimeout:test_a_scope_around_it_is_the_programs_own()
  raw.with(never, function(url)
    local in_time = asyncio.move_on_after(5, http.get, url)
    t.assertFalse(in_time)
    local err = late(function()
      local _ <close> = asyncio.timeout(5)
      http.get(url)
    end)
    t.assertNil(err.phase)
  end)
end

function TestTimeout:test_one_that_answers_in_the_last_moment_has_answered()
  raw.with(function()
    asyncio.sleep(6.999)
    return raw.answer "tea"
  end, function(url) t.assertEquals(http.get(url, { timeout = 7 }):read(), "tea") end)
end

t.finish()
