-- client_way_spec.lua - by what way a request goes: TLS, proxies, unix sockets; and what comes packed.
local t = require "helper"
local raw = require "http.raw"

local asyncio = t.asyncio
local http = asyncio.http
local HAS_TLS = package.searchpath("asyncio.openssl", package.cpath) ~= nil
local secure = HAS_TLS and require "secure"

local function echo(request) return raw.answer(request.method .. " " .. request.target) end

--- Calls fn(url, context): the server is one of TLS for "localhost", which the context trusts.
local function with_tls(answer, fn, opts)
  t.real(function()
    local server <close> = secure.serve(function(reader, writer)
      for request in raw.request, reader do
        local text = answer(request, writer)
        if not text then return end
        writer:send(text)
      end
    end, opts or { ssl = secure.server_context() })
    fn(("https://localhost:%d/"):format(server:sockets()[1].port), secure.client_context(), server)
    server:abort_clients()
  end)
end

TestHttps = {}

function TestHttps:test_is_spoken_with_the_context_that_is_given()
  with_tls(echo, function(url, context)
    t.assertEquals(http.get(url .. "tea", { ssl = context }):read(), "GET /tea")
  end)
end

function TestHttps:test_a_certificate_that_nobody_vouches_for_is_refused()
  with_tls(echo, function(url) t.assert_raises(asyncio.SSLCertVerificationError, http.get, url) end)
end

function TestHttps:test_a_client_uses_a_connection_again()
  local tickets = {}
  with_tls(function(request, writer)
    tickets[#tickets + 1] = tostring(writer:get_extra_info "peername")
    return echo(request)
  end, function(url, context)
    local client <close> = http.Client { ssl = context, base_url = url }
    for i = 1, 3 do t.assertEquals(client:get("/" .. i):read(), "GET /" .. i) end
    t.assertEquals({ tickets[2], tickets[3] }, { tickets[1], tickets[1] })
  end)
end

function TestHttps:test_another_context_has_another_connection()
  local from = {}
  with_tls(function(request, writer)
    from[#from + 1] = tostring(writer:get_extra_info "peername")
    return echo(request)
  end, function(url, context)
    local client <close> = http.Client { base_url = url }
    for _, each in ipairs { context, secure.client_context(), context } do client:get("/", { ssl = each }):read() end
    t.assertTrue(from[1] ~= from[2])
    t.assertEquals(from[3], from[1])
  end)
end

--- Passes on what comes from a server, and ends the connection when that has sent what it had, and is silent.
local function cutting(port, sent)
  return asyncio.start_server(function(reader, writer)
    local far_reader, far_writer <close> = asyncio.open_connection("127.0.0.1", port, { read_timeout = 0.05 })
    local up <close> = asyncio.create_task(asyncio.copy, reader, far_writer)
    local silent = 0
    while silent < 2 do -- the first may be only ours, where everything is slow
      local ok, data = pcall(far_reader.read, far_reader, 65536)
      if ok then writer:send(data) end
      silent = (ok or not sent:is_set()) and 0 or silent + 1
    end
    writer:write_eof()
    pcall(asyncio.await, up)
  end, "127.0.0.1", 0)
end

function TestHttps:test_what_ends_without_close_notify_is_cut()
  t.real(function()
    local sent = asyncio.Event()
    local server <close> = secure.serve(function(reader, writer)
      raw.request(reader)
      writer:send "HTTP/1.1 200 OK\r\n\r\nhalf of it"
      sent:set()
      reader:read()
    end, { ssl = secure.server_context() })
    local middle <close> = cutting(server:sockets()[1].port, sent)
    local url = ("https://localhost:%d/"):format(middle:sockets()[1].port)
    local answer = http.get(url, { ssl = secure.client_context() })
    local err = t.assert_raises(http.ProtocolError, answer.read, answer)
    t.assertEquals(err.partial, "half of it")
    t.assertStrContains(tostring(err), "has cut the TLS connection")
    middle:abort_clients()
    server:abort_clients()
  end)
end

function TestHttps:test_a_redirect_to_http_is_returned()
  with_tls(function() return raw.answer("page", "Location: http://localhost/\r\n", "302 Found") end,
    function(url, context)
      local answer = http.get(url, { ssl = context })
      t.assertEquals({ answer.status, answer:read() }, { 302, "page" })
    end)
end

function TestHttps:test_one_from_http_is_followed()
  with_tls(echo, function(url, context)
    local server <close> = raw.serve(function()
      return raw.answer("", ("Location: %sthere\r\n"):format(url), "302 Found")
    end)
    local answer = http.get(raw.url(server), { ssl = context })
    t.assertEquals({ answer:read(), answer.url }, { "GET /there", url .. "there" })
  end)
end

if not HAS_TLS then TestHttps = nil end

-- Proxies --------------------------------------------------------------------------------------------

TestProxy = {}

function TestProxy:test_is_asked_for_the_whole_url()
  local function tell(request) return raw.answer(request.line .. " " .. request.headers.host) end
  raw.with(tell, function(url, _, requests)
    t.assertEquals(http.get("http://tea.example/pot?x", { proxy = url }):read(),
      "GET http://tea.example/pot?x HTTP/1.1 tea.example")
    t.assertNil(requests[1].headers["proxy-authorization"])
    http.get("http://tea.example:81/", { proxy = url:gsub("//", "//u:p@") .. "" }):read()
    t.assertEquals(requests[2].headers["proxy-authorization"], "Basic dTpw")
  end)
end

function TestProxy:test_a_client_has_connections_to_the_proxy()
  local seen = {}
  raw.with(function(request, _, _, number)
    seen[#seen + 1] = number
    return echo(request)
  end, function(url)
    local client <close> = http.Client { proxy = url }
    for _, host in ipairs { "a.example", "b.example" } do
      t.assertEquals(client:get("http://" .. host):read(), ("GET http://%s/"):format(host))
    end
    t.assertEquals(seen, { 1, 1 })
  end)
end

function TestProxy:test_the_environment_is_not_asked()
  raw.with(raw.answer "direct", function(url)
    local script = ([[
      local asyncio = require "asyncio"
      asyncio.run(function() print(asyncio.http.get(%q):read()) end)]]):format(url)
    local command, file = require "peers".lua_command(script)
    local _ <close> = file
    local ended = require "peers".background("http_proxy=http://127.0.0.1:1/ ALL_PROXY=http://127.0.0.1:1/ " .. command)
    t.assertEquals((ended()), "direct\n")
  end, "real")
end

--- A proxy that connects to 127.0.0.1, whatever the name is, or refuses.
local function proxy(refusal, asked)
  return asyncio.start_server(function(reader, writer)
    local request = raw.request(reader, { body = false })
    asked[#asked + 1] = request
    if refusal then return writer:send(refusal) end
    local port = request.target:match ":(%d+)$"
    local far_reader, far_writer <close> = asyncio.open_connection("127.0.0.1", tonumber(port))
    writer:send "HTTP/1.1 200 Connection established\r\n\r\n"
    local group <close> = asyncio.TaskGroup()
    group:create_task(function()
      asyncio.copy(reader, far_writer)
      far_writer:write_eof()
    end)
    asyncio.copy(far_reader, writer)
    writer:write_eof()
  end, "127.0.0.1", 0)
end

if HAS_TLS then
  function TestProxy:test_https_goes_through_a_tunnel()
    with_tls(echo, function(url, context)
      local asked = {}
      local way <close> = proxy(nil, asked)
      local through = raw.url(way):gsub("//", "//u:p@")
      do
        local client <close> = http.Client { proxy = through, ssl = context, base_url = url }
        t.assertEquals({ client:get("/1"):read(), client:get("/2"):read() }, { "GET /1", "GET /2" })
      end
      t.assertEquals({ #asked, asked[1].line, asked[1].headers["proxy-authorization"] },
        { 1, ("CONNECT localhost:%s HTTP/1.1"):format(url:match ":(%d+)"), "Basic dTpw" })
      t.assertEquals(http.get(url, { proxy = through, ssl = context }):read(), "GET /")
      way:abort_clients()
    end)
  end

  function TestProxy:test_the_certificate_is_the_servers_not_the_proxys()
    with_tls(echo, function(url, context)
      local way <close> = proxy(nil, {})
      local other = url:gsub("localhost", "other.example")
      t.assert_raises(asyncio.SSLCertVerificationError, http.get, other, { proxy = raw.url(way), ssl = context })
      way:abort_clients()
    end)
  end

  function TestProxy:test_one_that_refuses_is_an_error_that_says_so()
    t.run(function()
      local way <close> = proxy("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", {})
      local err = t.assert_raises(http.HTTPStatusError, http.get, "https://tea.example/", { proxy = raw.url(way) })
      t.assertEquals(err.status, 407)
      t.assertStrContains(tostring(err), "refuses CONNECT tea.example:443: 407 Proxy Authentication Required")
    end)
  end

  function TestProxy:test_one_that_says_more_than_its_answer_is_not_trusted()
    t.run(function()
      local way <close> = proxy("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbad", {})
      t.assert_raises(http.ProtocolError, http.get, "https://tea.example/", { proxy = raw.url(way) })
    end)
  end
end

-- Unix sockets -----------------------------------------------------------------------------------------

TestUnix = {}

local function with_unix(answer, fn)
  t.real(function()
    local path = os.tmpname()
    os.remove(path)
    local server <close> = asyncio.start_unix_server(function(reader, writer)
      for request in raw.request, reader do writer:send(answer(request)) end
    end, path)
    fn(path)
    server:abort_clients()
  end)
end

function TestUnix:test_the_url_says_the_host_the_option_where()
  with_unix(function(request) return raw.answer(request.target .. " " .. request.headers.host) end, function(path)
    t.assertEquals(http.get("http://docker/info", { unix = path }):read(), "/info docker")
    local client <close> = http.Client { unix = path, base_url = "http://docker" }
    t.assertEquals({ client:get("/1"):read(), client:get("/2"):read() }, { "/1 docker", "/2 docker" })
  end)
end

function TestUnix:test_a_redirect_leads_nowhere_else()
  with_unix(function(request)
    if request.target == "/near" then return raw.answer "near" end
    return raw.answer("", "Location: " .. request.target:sub(2) .. "\r\n", "302 Found")
  end, function(path)
    t.assertEquals(http.get("http://docker/http://docker/near", { unix = path }):read(), "near")
    t.assertEquals(http.get("http://docker/http://other/near", { unix = path }).status, 302)
  end)
end

-- What comes packed --------------------------------------------------------------------------------------

TestPacked = {}

local zlib = select(2, pcall(require, "zlib"))
local HAS_ZLIB = type(zlib) == "table" and zlib.deflate ~= nil

local function packed(text, window) return (zlib.deflate(9, window)(text, "finish")) end

local function coded(body, coding) return raw.answer(body, ("Content-Encoding: %s\r\n"):format(coding)) end

local TEXT = ("tea and milk, "):rep(10000)

function TestPacked:test_is_asked_for_where_it_can_be_undone()
  raw.with(raw.answer "", function(url, _, requests)
    http.get(url):read()
    t.assertEquals(requests[1].headers["accept-encoding"], HAS_ZLIB and "gzip, deflate" or nil)
  end)
end

function TestPacked:test_gzip_and_both_kinds_of_deflate_are_undone()
  for _, way in ipairs { { "gzip", 31 }, { "x-gzip", 31 }, { "GZIP", 31 }, { "deflate", 15 }, { "deflate", -15 } } do
    raw.with(coded(packed(TEXT, way[2]), way[1]), function(url)
      t.assertEquals(http.get(url):read() == TEXT, true)
      local n = 0
      for block in http.get(url):blocks() do n = n + #block end
      t.assertEquals(n, #TEXT)
    end)
  end
end

function TestPacked:test_the_same_byte_by_byte()
  local text = packed("some tea", 31) .. packed(" and more", 31)
  raw.with(function(_, writer)
    writer:send(("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"):format(#text))
    for i = 1, #text do
      writer:send(text:sub(i, i))
      asyncio.sleep(0.01)
    end
  end, function(url) t.assertEquals(http.get(url):read(), "some tea and more") end)
end

function TestPacked:test_bytes_behind_the_end_are_ignored()
  raw.with(coded(packed(TEXT, 31) .. "\0\0\0", "gzip"), function(url) t.assertEquals(#http.get(url):read(), #TEXT) end)
end

function TestPacked:test_a_cut_or_broken_one_raises()
  for _, bad in ipairs { packed(TEXT, 31):sub(1, -9), "no gzip at all", "\x1f" } do
    raw.with(coded(bad, "gzip"), function(url)
      local answer = http.get(url)
      t.assertStrContains(tostring(t.assert_raises(http.ProtocolError, answer.read, answer)), "the body is packed")
    end)
  end
end

function TestPacked:test_none_is_an_empty_body()
  raw.with(coded("", "gzip"), function(url) t.assertEquals(http.get(url):read(), "") end)
end

function TestPacked:test_what_it_unpacks_to_is_bounded_also_where_it_is_read_in_pieces()
  local bomb = coded(packed(("\0"):rep(20 << 20), 31), "gzip")
  raw.with(bomb, function(url)
    local answer = http.get(url, { max_body = 1 << 20 })
    t.assertEquals(t.assert_raises(http.BodyTooLarge, answer.read, answer).limit, 1 << 20)
    local n = 0
    t.assert_raises(http.BodyTooLarge, function()
      for block in http.get(url, { max_body = 1 << 20 }):blocks() do n = n + #block end
    end)
    t.assertTrue(n <= 1 << 20)
  end)
end

function TestPacked:test_other_codings_and_parts_stay_as_they_are()
  raw.with(coded("as it is", "br"), function(url) t.assertEquals(http.get(url):read(), "as it is") end)
  raw.with(raw.answer("part", "Content-Encoding: gzip\r\n", "206 Partial Content"), function(url)
    t.assertEquals(http.get(url):read(), "part")
  end)
end

if not HAS_ZLIB then TestPacked = { test_not_asked_for = TestPacked.test_is_asked_for_where_it_can_be_undone } end
t.leave_out(TestPacked, ".") -- lua-zlib breaks what a Lua with assertions asks of buffers

t.finish()
