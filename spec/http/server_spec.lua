-- server_spec.lua - http.serve: what handlers return, and what becomes of it.
local t = require "helper"
local site = require "http.site"

local asyncio = t.asyncio
local http = require "asyncio.http"

local GET = "GET / HTTP/1.1\nHost: here\n\n"

local function plain(status, body, headers) return { status = status, body = body, headers = headers } end

--- An iterator over the arguments.
local function pieces(...)
  local list, i = { ... }, 0
  return function()
    i = i + 1
    return list[i]
  end
end

TestAnswer = {}

function TestAnswer:test_of_a_string_is_a_text()
  t.run(function()
    local server <close> = site.serve "hello\n"
    local client <close> = site.client(server)
    local answer = client:ask(GET)
    t.assertEquals({ answer.status, answer.reason, answer.body }, { 200, "OK", "hello\n" })
    t.assertEquals(answer.headers["content-type"], "text/plain; charset=utf-8")
    t.assertEquals(answer.headers["content-length"], "6")
    t.assertNil(answer.headers.connection)
    t.assertStrMatches(answer.headers.date, "%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT")
    t.assertNil(answer.headers.server)
  end)
end

function TestAnswer:test_of_a_table_has_its_status_headers_and_body()
  t.run(function()
    local server <close> = site.serve(function()
      return plain(201, "[]", { ["Content-Type"] = "application/json", ["X-Tea"] = { "green", "black" } })
    end)
    local answer = site.ask(server, GET)
    t.assertEquals({ answer.status, answer.reason, answer.body }, { 201, "Created", "[]" })
    t.assertEquals(answer.headers["content-type"], "application/json")
    t.assertEquals(answer.headers["x-tea"], "green, black")
  end)
end

function TestAnswer:test_keeps_the_order_of_a_list_of_headers()
  t.run(function()
    local server <close> = site.serve(function()
      return plain(200, "", { { "Set-Cookie", "b=2" }, { "A", "1" }, { "Set-Cookie", "a=1" } })
    end)
    local head = site.ask(server, GET).head
    t.assertStrContains(head, "Set-Cookie: b=2\r\nA: 1\r\nSet-Cookie: a=1\r\n")
  end)
end

function TestAnswer:test_may_have_no_body()
  t.run(function()
    local server <close> = site.serve(function(request)
      return request.path == "/none" and plain(204) or plain(304, nil, { ETag = '"x"' })
    end)
    local client <close> = site.client(server)
    local none = client:ask "GET /none HTTP/1.1\nHost: here\n\n"
    t.assertEquals({ none.status, none.headers["content-length"] }, { 204, nil })
    t.assertEquals(client:ask(GET).status, 304)
    t.assertEquals(client:ask(GET).headers.etag, '"x"')
  end)
end

function TestAnswer:test_of_a_status_without_a_body_has_none_whatever_was_given()
  t.run(function()
    local closed = 0
    local reader = { read = function() error "not asked" end, close = function() closed = closed + 1 end }
    local server <close> = site.serve(function(request)
      return plain(request.path == "/304" and 304 or 204, request.query.f and pieces "x" or reader)
    end)
    local client <close> = site.client(server)
    for _, target in ipairs { "/304", "/304?f=1", "/204", "/204?f=1" } do
      local answer = client:ask(("GET %s HTTP/1.1\nHost: here\n\n"):format(target))
      t.assertEquals(answer.status, target:find "304" and 304 or 204)
    end
    t.assertEquals(closed, 2)
  end)
end

function TestAnswer:test_of_a_function_comes_by_chunks()
  t.run(function()
    local server <close> = site.serve(function() return { body = pieces("one ", "", "two") } end)
    local client <close> = site.client(server)
    local answer = client:ask(GET)
    t.assertEquals({ answer.body, answer.chunks, answer.headers["transfer-encoding"] }, { "one two", 2, "chunked" })
    t.assertEquals(client:ask(GET).body, "one two")
  end)
end

function TestAnswer:test_of_a_function_with_a_length_has_no_chunks()
  t.run(function()
    local server <close> = site.serve(function()
      return { body = pieces("one ", "two"), headers = { ["Content-Length"] = 7 } }
    end)
    local client <close> = site.client(server)
    for _ = 1, 2 do
      local answer = client:ask(GET)
      t.assertEquals({ answer.body, answer.headers["transfer-encoding"] }, { "one two", nil })
    end
  end)
end

function TestAnswer:test_of_a_reader_is_what_that_gives()
  t.run(function()
    local server <close> = site.serve(function()
      local reader = asyncio.StreamReader()
      asyncio.get_running_loop():call_later(1, function()
        reader:feed "late"
        reader:feed_eof()
      end)
      return { body = reader }
    end)
    t.assertEquals(site.ask(server, GET).body, "late")
  end)
end

function TestAnswer:test_of_an_open_file_is_the_rest_of_it_and_closes_it()
  t.real(function()
    local path, file = os.tmpname(), nil
    asyncio.fs.write_file(path, "0123456789")
    local server <close> = site.serve(function()
      file = asyncio.open(path)
      file:read(3)
      return { body = file }
    end)
    local answer = site.ask(server, GET)
    os.remove(path)
    t.assertEquals({ answer.body, answer.headers["content-length"] }, { "3456789", "7" })
    t.wait_until(function() return tostring(file):find "closed" end)
  end)
end

function TestAnswer:test_of_a_million_bytes_arrives_whole()
  t.run(function()
    local big = ("0123456789abcdef"):rep(65536)
    local server <close> = site.serve(big)
    local client <close> = site.client(server)
    for _ = 1, 2 do t.assertTrue(client:ask(GET).body == big) end
  end)
end

function TestAnswer:test_to_head_has_the_length_and_no_body()
  t.run(function()
    local server <close> = site.serve(function(request)
      return request.path == "/pieces" and { body = function() error "not asked" end } or "hello\n"
    end)
    local client <close> = site.client(server)
    local answer = client:ask("HEAD / HTTP/1.1\nHost: here\n\n", true)
    t.assertEquals(answer.headers["content-length"], "6")
    t.assertEquals(client:ask("HEAD /pieces HTTP/1.1\nHost: here\n\n", true).status, 200)
    t.assertEquals(client:ask(GET).body, "hello\n")
  end)
end

function TestAnswer:test_has_the_server_header_that_was_asked_for()
  t.run(function()
    local server <close> = site.serve(function(request)
      if request.path == "/own" then return plain(200, "x", { Server = "mine" }) end
      if request.path == "/list" then return plain(200, "x", { { "A", "b" } }) end
      if request.path == "/bad" then http.abort(400) end
      return "x"
    end, { server_header = "tea/1" })
    local client <close> = site.client(server)
    local function named(path) return client:ask("GET " .. path .. " HTTP/1.1\nHost: here\n\n").headers.server end
    t.assertEquals({ named "/", named "/own", named "/list", named "/bad" }, { "tea/1", "mine", "tea/1", "tea/1" })
  end)
end

function TestAnswer:test_never_lets_a_line_be_injected()
  t.run(function(reports)
    local bad = { { ["X-A"] = "a\r\nX-B: b" }, { ["X-A"] = "a\nb" }, { ["X-A"] = "a\0" }, { ["X A"] = "a" },
      { ["X-A\r\nX-B"] = "a" }, { [""] = "a" }, { { "X-A:", "a" } }, { ["Transfer-Encoding"] = "chunked" } }
    local i = 0
    local server <close> = site.serve(function()
      i = i + 1
      return plain(200, "x", bad[i])
    end)
    for _ = 1, #bad do
      local answer = site.ask(server, GET)
      t.assertEquals(answer.status, 500)
      t.assertNil(answer.headers["x-b"])
      t.take_report(reports, "handler failed")
    end
  end)
end

function TestAnswer:test_with_a_wrong_content_length_is_none()
  t.run(function(reports)
    local server <close> = site.serve(function() return plain(200, "four", { ["Content-Length"] = "5" }) end)
    t.assertEquals(site.ask(server, GET).status, 500)
    t.take_report(reports, "handler failed")
  end)
end

function TestAnswer:test_of_another_kind_is_an_error()
  t.run(function(reports)
    local given
    local server <close> = site.serve(function() return given end)
    for _, value in ipairs { 5, true, { status = "200" }, { status = 99 }, { stauts = 200 }, { body = 5 },
      { body = {} }, { headers = 5 }, setmetatable({}, {}), print } do
      given = value
      t.assertEquals(site.ask(server, GET).status, 500)
      t.take_report(reports, "handler failed: GET /")
    end
    given = nil
    t.assertEquals(site.ask(server, GET).status, 500)
    t.assertStrContains(tostring(t.take_report(reports, "failed").exception), "returned nothing")
    given = { status = "200" }
    t.assertEquals(site.ask(server, GET).status, 500)
    t.assertStrContains(tostring(t.take_report(reports, "failed").exception), 'expected, got the string "200"')
  end)
end

TestRespond = {}

function TestRespond:test_sends_each_piece_at_the_turns_end()
  t.run(function()
    local server <close> = site.serve(function(request)
      local body = request:respond(200, { ["Content-Type"] = "text/plain" })
      for i = 1, 3 do
        asyncio.sleep(1)
        body:send("line ", i, "\n")
      end
    end)
    local client <close> = site.client(server)
    local start = asyncio.time()
    client:send(GET)
    t.assertStrContains(client.reader:readuntil "\r\n\r\n", "Transfer-Encoding: chunked")
    t.assertAlmostEquals(asyncio.time() - start, 0, 0.01)
    for i = 1, 3 do
      local text = client.reader:readuntil "\n\r\n"
      t.assertStrContains(text:gsub("\r\n%x+\r\n", ""), i)
      t.assertAlmostEquals(asyncio.time() - start, i, 0.01)
    end
    t.assertEquals(client.reader:readuntil "\r\n\r\n", "0\r\n\r\n")
  end)
end

function TestRespond:test_gives_a_writer_that_is_closed_by_hand_too()
  t.run(function()
    local after
    local server <close> = site.serve(function(request)
      local body <close> = request:respond()
      t.assertStrContains(tostring(body), "open")
      body:write("a", 1)
      body:drain()
      t.assertEquals(math.type(body:pending()), "integer")
      body:close { ["X-Sum"] = "7" }
      body:close()
      after = t.error_of(body.write, body, "late")
      t.assertStrContains(tostring(body), "closed")
    end)
    local answer = site.ask(server, GET)
    t.assertEquals({ answer.body, answer.trailers["x-sum"] }, { "a1", "7" })
    t.assert_isinstance(after, asyncio.ClosedError)
  end)
end

function TestRespond:test_with_a_length_has_no_chunks()
  t.run(function()
    local server <close> = site.serve(function(request)
      request:respond(200, { ["Content-Length"] = "3" }):write "abc"
    end)
    local client <close> = site.client(server)
    for _ = 1, 2 do t.assertEquals(client:ask(GET).body, "abc") end
  end)
end

function TestRespond:test_that_breaks_its_word_ends_the_connection_by_force()
  t.run(function(reports)
    local text = "ab"
    local server <close> = site.serve(function(request)
      request:respond(200, { ["Content-Length"] = "3" }):write(text)
    end)
    for _, each in ipairs { "ab", "abcd" } do
      text = each
      local client <close> = site.client(server)
      client:send(GET)
      t.assertFalse((pcall(client.answer, client)))
      t.take_report(reports, "handler failed")
    end
  end)
end

function TestRespond:test_to_http_1_0_ends_with_the_connection()
  t.run(function()
    local server <close> = site.serve(function(request) request:respond():write("a", "b") end)
    local client <close> = site.client(server)
    client:send "GET / HTTP/1.0\nConnection: keep-alive\n\n"
    local text = client:rest()
    t.assertStrContains(text, "Connection: close")
    t.assertStrMatches(text, ".*\r\n\r\nab")
  end)
end

function TestRespond:test_to_head_sends_no_body()
  t.run(function()
    local server <close> = site.serve(function(request) request:respond():write("a", "b") end)
    local client <close> = site.client(server)
    t.assertEquals(client:ask("HEAD / HTTP/1.1\nHost: here\n\n", true).status, 200)
    t.assertEquals(client:ask(GET).body, "ab")
  end)
end

function TestRespond:test_takes_204_without_a_body()
  t.run(function()
    local server <close> = site.serve(function(request) request:respond(204) end)
    local client <close> = site.client(server)
    for _ = 1, 2 do t.assertEquals(client:ask(GET).status, 204) end
  end)
end

function TestRespond:test_answers_once()
  t.run(function(reports)
    local twice
    local server <close> = site.serve(function(request)
      request:respond()
      twice = t.error_of(request.respond, request)
      return "again"
    end)
    local client <close> = site.client(server)
    client:send(GET)
    t.assertFalse((pcall(client.answer, client)))
    t.assertStrContains(tostring(twice), "has an answer already")
    t.assertStrContains(tostring(t.take_report(reports, "failed").exception), "returned another one")
  end)
end

function TestRespond:test_refuses_wrong_arguments()
  t.run(function()
    local server <close> = site.serve(function(request)
      for _, status in ipairs { 100, 1000, "200" } do
        t.assertErrorMsgContains("bad argument #1 to 'respond' (status from 200 to 999 expected", request.respond,
          request, status)
      end
      t.assertErrorMsgContains("bad argument #2 to 'respond' (table of headers or nil", request.respond, request,
        200, 5)
      return "fine"
    end)
    t.assertEquals(site.ask(server, GET).body, "fine")
  end)
end

TestRequest = {}

function TestRequest:test_says_what_was_asked()
  t.run(function()
    local got
    local server <close> = site.serve(function(request)
      got = request
      t.assertEquals(asyncio.type(request), "Request")
      t.assertEquals(request.query.tea, { "green", "black" })
      t.assertEquals(request.query["a b"], "c&d")
      t.assertEquals(request.peer.host, "127.0.0.1")
      t.assertEquals({ request.scheme, request.host, request.version }, { "http", "here:80", "1.1" })
      t.assertEquals({ request.headers["X-TEA"], request.headers:get "x-tea" }, { "hot, cold", "hot, cold" })
      t.assertEquals(request.headers:all "X-Tea", { "hot", "cold" })
      return tostring(request)
    end)
    local target = "/a%20b/%e4?tea=green&a+b=c%26d&tea=black"
    local answer = site.ask(server, "GET " .. target .. " HTTP/1.1\nHost: here:80\nX-Tea: hot\nx-tea: cold\n\n")
    t.assertEquals(answer.body, "asyncio.Request: GET " .. target)
    t.assertEquals({ got.method, got.target, got.path }, { "GET", target, "/a b/\xe4" })
  end)
end

function TestRequest:test_without_a_query_has_an_empty_one()
  t.run(function()
    local server <close> = site.serve(function(request)
      t.assertEquals(request.query, {})
      t.assertNil(request.query_string)
      return "fine"
    end)
    t.assertEquals(site.ask(server, GET).body, "fine")
  end)
end

function TestRequest:test_is_refused_where_its_path_or_query_cannot_be_decoded()
  t.run(function()
    local server <close> = site.serve(function(request) return request.query.a or "" end)
    for _, target in ipairs { "/%", "/%g0", "/%00", "/?a=%" } do
      t.assertEquals(site.status(server, "GET " .. target .. " HTTP/1.1"), 400)
    end
  end)
end

function TestRequest:test_is_of_no_use_once_it_has_been_answered()
  t.run(function()
    local old
    local server <close> = site.serve(function(request)
      old = old or request
      return "fine"
    end)
    local client <close> = site.client(server)
    client:ask "POST / HTTP/1.1\nHost: here\nContent-Length: 1\n\nx"
    for _, name in ipairs { "read", "blocks", "lines", "form", "respond" } do
      t.assertErrorMsgContains("the request has been answered", old[name], old)
    end
    client:ask(GET)
    t.assertErrorMsgContains("the request has been answered", old.upgrade, old, "tea")
  end)
end

TestConnection = {}

function TestConnection:test_is_used_for_one_request_after_the_other()
  t.run(function()
    local n = 0
    local server <close> = site.serve(function()
      n = n + 1
      return tostring(n)
    end)
    local client <close> = site.client(server)
    for i = 1, 5 do t.assertEquals(client:ask(GET).body, tostring(i)) end
    t.assertEquals(server:stats().accepted, 1)
  end)
end

function TestConnection:test_answers_pipelined_requests_in_order_one_at_a_time()
  t.run(function()
    local running, most = 0, 0
    local server <close> = site.serve(function(request)
      running = running + 1
      most = math.max(most, running)
      asyncio.sleep(request.path == "/1" and 2 or 1)
      running = running - 1
      return request.path
    end)
    local client <close> = site.client(server)
    for i = 1, 4 do client:send(("GET /%d HTTP/1.1\nHost: here\n\n"):format(i)) end
    for i = 1, 4 do t.assertEquals(client:answer().body, "/" .. i) end
    t.assertEquals(most, 1)
  end)
end

function TestConnection:test_takes_a_request_byte_by_byte()
  t.run(function()
    local server <close> = site.serve(function(request) return request:read():upper() end)
    local client <close> = site.client(server)
    local text = "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello"
    for char in (text .. text):gmatch "." do
      client.writer:send(char)
      asyncio.sleep(0.001)
    end
    for _ = 1, 2 do t.assertEquals(client:answer().body, "HELLO") end
  end)
end

function TestConnection:test_ends_when_the_client_wants_it()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    local answer = client:ask "GET / HTTP/1.1\nHost: here\nConnection: close\n\nGET / HTTP/1.1\nHost: here\n\n"
    t.assertEquals({ answer.body, answer.headers.connection }, { "x", "close" })
    t.assertEquals(client:rest(), "")
  end)
end

function TestConnection:test_ends_when_the_handler_wants_it()
  t.run(function()
    local server <close> = site.serve(function() return plain(200, "x", { Connection = "close" }) end)
    local client <close> = site.client(server)
    t.assertEquals(client:ask(GET).headers.connection, "close")
    t.assertEquals(client:rest(), "")
  end)
end

function TestConnection:test_of_http_1_0_goes_on_only_if_asked()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    local kept = client:ask "GET / HTTP/1.0\nConnection: keep-alive\n\n"
    t.assertEquals({ kept.body, kept.headers.connection }, { "x", "keep-alive" })
    t.assertEquals(client:ask("GET / HTTP/1.0\n\n").body, "x")
    t.assertEquals(client:rest(), "")
  end)
end

function TestConnection:test_answers_a_client_that_has_ended_its_half()
  t.run(function()
    local server <close> = site.serve(function()
      asyncio.sleep(5)
      return "late"
    end)
    local client <close> = site.client(server)
    client:send(GET, GET)
    client.writer:write_eof()
    t.assertEquals({ client:answer().body, client:answer().body }, { "late", "late" })
    t.assertEquals(client:rest(), "")
  end)
end

function TestConnection:test_ends_after_so_many_requests()
  t.run(function()
    local server <close> = site.serve("x", { max_requests = 3 })
    local client <close> = site.client(server)
    for i = 1, 3 do t.assertEquals(client:ask(GET).headers.connection, i == 3 and "close" or nil) end
    t.assertEquals(client:rest(), "")
  end)
end

function TestConnection:test_is_no_tunnel()
  t.run(function()
    local server <close> = site.serve "x"
    t.assertEquals(site.ask(server, "CONNECT there:443 HTTP/1.1\nHost: there:443\n\n").status, 501)
  end)
end

function TestConnection:test_takes_the_options_form_of_the_whole_server_and_absolute_targets()
  t.run(function()
    local server <close> = site.serve(function(request) return request.path .. " " .. request.host end)
    t.assertEquals(site.ask(server, "OPTIONS * HTTP/1.1\nHost: here\n\n").body, "* here")
    t.assertEquals(site.ask(server, "GET http://there/x HTTP/1.1\nHost: there\n\n").body, "/x there")
  end)
end

function TestConnection:test_stands_on_a_unix_socket_too()
  t.run(function()
    local path = os.tmpname()
    os.remove(path)
    local _ <close> = http.serve(function(request) return tostring(request.peer) end, { path = path })
    local reader, writer <close> = asyncio.open_unix_connection(path)
    writer:send "GET / HTTP/1.0\r\n\r\n"
    t.assertStrContains(reader:read(), "200 OK")
  end)
end

TestUpgrade = {}

local UPGRADE = "GET / HTTP/1.1\nHost: here\nConnection: upgrade\nUpgrade: tea\n\n"

function TestUpgrade:test_hands_over_the_connection_with_what_came_behind_the_request()
  t.run(function()
    local server <close> = site.serve(function(request)
      t.assertEquals(request.upgrade_to, "tea")
      local reader, writer = request:upgrade("tea", { ["X-Sort"] = "green" })
      for line in reader:lines() do writer:send(line:upper(), "\n") end
    end)
    local client <close> = site.client(server)
    client.writer:send(site.lines(UPGRADE), "first\nsec")
    local answer = client:answer()
    t.assertEquals({ answer.status, answer.headers.upgrade, answer.headers["x-sort"] }, { 101, "tea", "green" })
    t.assertStrContains(answer.headers.connection:lower(), "upgrade")
    client.writer:send "ond\n"
    t.assertEquals({ client.reader:readline(), client.reader:readline() }, { "FIRST\n", "SECOND\n" })
    client.writer:write_eof()
    t.assertEquals(client:rest(), "")
  end)
end

function TestUpgrade:test_has_no_limit_of_time_for_what_comes()
  t.run(function()
    local server <close> = site.serve(function(request)
      local reader, writer = request:upgrade "tea"
      writer:send(reader:readline())
    end)
    local client <close> = site.client(server)
    client:ask(UPGRADE)
    asyncio.sleep(1000)
    client.writer:send "late\n"
    t.assertEquals(client:rest(), "late\n")
  end)
end

function TestUpgrade:test_may_be_refused_by_an_answer()
  t.run(function()
    local server <close> = site.serve "no"
    local client <close> = site.client(server)
    for _ = 1, 2 do t.assertEquals(client:ask(UPGRADE).body, "no") end
  end)
end

function TestUpgrade:test_is_an_error_where_nobody_asked_for_it()
  t.run(function()
    local server <close> = site.serve(function(request)
      t.assertErrorMsgContains("bad argument #1 to 'upgrade'", request.upgrade, request)
      t.assertFalse((pcall(request.upgrade, request, "tea")))
      return "fine"
    end)
    t.assertEquals(site.ask(server, GET).body, "fine")
  end)
end

TestServe = {}

function TestServe:test_refuses_wrong_arguments()
  t.run(function()
    local function handler() return "" end
    for expected, arguments in pairs {
      ["bad argument #1 to 'serve' (function expected, got nil; write serve(handler, ...)"] = {},
      ["bad argument #3 to 'serve' (port number expected"] = { handler, "127.0.0.1", "x" },
      ["'max_body': integer that isn't negative, or false, expected"] = { handler, { max_body = -1, port = 0 } },
      ["'access_log': boolean, StreamWriter or function expected"] = { handler, { access_log = 5, port = 0 } },
      ["'server_header': a text without control"] = { handler, { server_header = "a\nb", port = 0 } },
      ["'port' does not go with 'path'"] = { handler, { path = "/x", port = 5 } },
      ["'host' does not go with 'fd'"] = { handler, { fd = 0, host = "x" } },
      ["'path' does not go with 'fd'"] = { handler, { fd = 0, path = "x" } },
      ["'cleanup_socket' does not go with 'host'"] = { handler, { port = 0, cleanup_socket = true } },
      ["idle_timeout"] = { handler, { port = 0, keepalive_timeout = 5 } },
    } do
      local message = tostring(t.error_of(http.serve, table.unpack(arguments, 1, 4)))
      t.assertStrContains(message, expected)
    end
  end)
end

function TestServe:test_takes_the_options_of_start_server()
  t.run(function()
    local server <close> = site.serve("x", { max_connections = 1, backlog = 5, nodelay = true, reuse_port = true })
    local client <close> = site.client(server)
    t.assertEquals(client:ask(GET).body, "x")
    local second <close> = site.client(server)
    second:send(GET)
    t.until_blocked()
    t.assertEquals(server:stats().accepted, 1)
    client.writer:close()
    t.assertEquals(second:answer().body, "x")
  end)
end

function TestServe:test_aborts_are_checked()
  for expected, arguments in pairs {
    ["bad argument #1 to 'abort' (status from 300 to 599 expected, got"] = { 200 },
    ["bad argument #2 to 'abort' (string or nil expected"] = { 404, 5 },
    ["bad argument #3 to 'abort' (table of headers or nil expected"] = { 404, "x", 5 },
  } do
    t.assertErrorMsgContains(expected, http.abort, table.unpack(arguments))
  end
end

t.finish()
