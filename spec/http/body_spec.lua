-- body_spec.lua - the bodies of requests: read, left unread, too large, broken.
local t = require "helper"
local site = require "http.site"

local asyncio = t.asyncio
local http = require "asyncio.http"

local GET = "GET / HTTP/1.1\nHost: here\n\n"
local CHUNKED = "POST / HTTP/1.1\nHost: here\nTransfer-Encoding: chunked\n\n"

local function post(body, more)
  return ("POST / HTTP/1.1\nHost: here\n%sContent-Length: %d\n\n%s"):format(more or "", #body, body)
end

TestBody = {}

function TestBody:test_is_read_as_a_whole()
  t.run(function()
    local server <close> = site.serve(function(request) return request:read() .. "." .. request:read() end)
    local client <close> = site.client(server)
    t.assertEquals(client:ask(post "hello").body, "hello.")
    t.assertEquals(client:ask(CHUNKED .. "3\nabc\n2;x=y\nde\n0\n\n").body, "abcde.")
    t.assertEquals(client:ask(GET).body, ".")
  end)
end

function TestBody:test_is_read_by_pieces()
  t.run(function()
    local server <close> = site.serve(function(request)
      local parts = { request:read(0), request:read(2) }
      for piece in request:blocks(3) do parts[#parts + 1] = piece end
      return table.concat(parts, "|") .. tostring(request:read(1))
    end)
    t.assertEquals(site.ask(server, post "0123456789").body, "|01|234|567|89nil")
  end)
end

function TestBody:test_is_read_as_it_comes()
  t.run(function()
    local server <close> = site.serve(function(request)
      local body = request:respond()
      for piece in request:blocks() do body:send("<", piece, ">") end
    end)
    local client <close> = site.client(server)
    client:send(CHUNKED, "1\na\n")
    client.reader:readuntil "<\r\n1\r\na\r\n1\r\n>\r\n"
    client:send "1\nb\n0\n\n"
    t.assertStrContains(client.reader:readuntil "0\r\n\r\n", "b")
    t.assertEquals(client:ask(GET).body, "")
  end)
end

function TestBody:test_is_read_by_lines()
  t.run(function()
    local server <close> = site.serve(function(request)
      local lines = {}
      for line in request:lines(request.query.sep) do lines[#lines + 1] = line end
      return table.concat(lines, "|")
    end)
    local client <close> = site.client(server)
    local text = "3\none\n3\n\r\nt\n5\nwo\r\n\r\n2\n\n\n0\n\n"
    client.writer:send(site.lines(CHUNKED), "3\r\none\r\n3\r\n\r\nt\r\n5\r\nwo\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n")
    t.assertEquals(client:answer().body, "one\r|two\r|\r")
    t.assertNotNil(text)
    t.assertEquals(client:ask((post "a--b----c":gsub("POST /", "POST /?sep=--"))).body, "a|b||c")
  end)
end

function TestBody:test_of_a_form_is_a_table()
  t.run(function()
    local server <close> = site.serve(function(request)
      local form = request:form()
      return form.tea .. form.sugar[1] .. form.sugar[2]
    end)
    local kind = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\n"
    t.assertEquals(site.ask(server, post("tea=gr%65en+&sugar=1&sugar=2", kind)).body, "green 12")
    t.assertEquals(site.ask(server, post("tea=%", kind)).status, 400)
    t.assertEquals(site.ask(server, post("{}", "Content-Type: application/json\n")).status, 415)
    t.assertEquals(site.ask(server, post "tea=x").status, 415)
  end)
end

function TestBody:test_brings_its_trailers_and_never_among_the_headers()
  t.run(function()
    local server <close> = site.serve(function(request)
      request:read()
      return request.trailers["X-Sum"] .. tostring(request.headers["X-Sum"])
    end)
    t.assertEquals(site.ask(server, CHUNKED .. "1\na\n0\nX-Sum: 7\n\n").body, "7nil")
  end)
end

function TestBody:test_refuses_wrong_arguments()
  t.run(function()
    local server <close> = site.serve(function(request)
      t.assertErrorMsgContains("bad argument #1 to 'read' (integer or nil expected", request.read, request, "x")
      t.assertErrorMsgContains("bad argument #1 to 'blocks' (a positive integer", request.blocks, request, 0)
      t.assertErrorMsgContains("bad argument #1 to 'lines' (string that isn't empty", request.lines, request, "")
      return "fine"
    end)
    t.assertEquals(site.ask(server, GET).body, "fine")
  end)
end

TestMaxBody = {}

function TestMaxBody:test_is_a_mebibyte_unless_told()
  t.run(function()
    local limit
    local server <close> = site.serve(function(request)
      local ok, err = asyncio.pcall(request.read, request)
      limit = not ok and err.limit
      if not ok then
        t.assert_isinstance(err, http.BodyTooLarge)
        error(err, 0)
      end
      return "fine"
    end)
    t.assertEquals(site.ask(server, post(("x"):rep(1048576))).body, "fine")
    t.assertEquals(site.ask(server, post(("x"):rep(1048577))).status, 413)
    t.assertEquals(limit, 1048576)
  end)
end

function TestMaxBody:test_is_met_before_anything_is_read_where_the_length_is_known()
  t.run(function()
    local server <close> = site.serve(function(request) return request:read() end, { max_body = 10 })
    local client <close> = site.client(server)
    local answer = client:ask "POST / HTTP/1.1\nHost: here\nContent-Length: 11\nExpect: 100-continue\n\n"
    t.assertEquals({ answer.status, answer.headers.connection }, { 413, "close" })
  end)
end

function TestMaxBody:test_is_met_as_chunks_come()
  t.run(function()
    local server <close> = site.serve(function(request) return request:read() end, { max_body = 10 })
    local client <close> = site.client(server)
    client:send(CHUNKED, "a\n0123456789\n")
    t.until_blocked()
    client:send "1\na\n"
    t.assertEquals(client:answer().status, 413)
  end)
end

function TestMaxBody:test_may_be_another_for_one_request()
  t.run(function()
    local server <close> = site.serve(function(request)
      t.assertEquals(request.max_body, 10)
      request.max_body = request.path ~= "/any" and 20
      return tostring(#request:read())
    end, { max_body = 10 })
    t.assertEquals(site.ask(server, post(("x"):rep(20))).body, "20")
    t.assertEquals(site.ask(server, post(("x"):rep(21))).status, 413)
    t.assertEquals(site.ask(server, (post(("x"):rep(3000)):gsub("POST /", "POST /any"))).body, "3000")
  end)
end

TestUnread = {}

function TestUnread:test_body_of_64_kib_keeps_the_connection()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    for _ = 1, 3 do t.assertEquals(client:ask(post(("x"):rep(65536))).headers.connection, nil) end
    t.assertEquals(client:ask(CHUNKED .. "5\nhello\n0\n\n").body, "x")
    t.assertEquals(client:ask(GET).body, "x")
  end)
end

function TestUnread:test_body_of_more_ends_it_and_the_answer_says_so()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    local answer = client:ask(post(("x"):rep(65537)))
    t.assertEquals({ answer.body, answer.headers.connection }, { "x", "close" })
    t.assertEquals(client:rest(), "")
  end)
end

function TestUnread:test_body_without_a_length_is_read_up_to_as_much()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    client:send(CHUNKED)
    t.assertEquals(client:answer().body, "x")
    for _ = 1, 3 do client:send(("8000\n%s\n"):format(("x"):rep(32768))) end
    t.assertEquals(client:rest(), "")
  end)
end

function TestUnread:test_rest_of_a_large_body_does_not_destroy_the_answer()
  t.real(function()
    local server <close> = site.serve(function() http.abort(403, "no\n") end)
    local client <close> = site.client(server)
    local body = ("x"):rep(8 * 2 ^ 20)
    local sender = asyncio.create_task(function() client.writer:send(site.lines(post(body))) end)
    t.assertEquals(client:answer().body, "no\n")
    asyncio.await(sender)
    t.assertEquals(client:rest(), "")
  end)
end

function TestUnread:test_rest_is_dropped_for_two_seconds_at_most()
  t.run(function()
    local server <close> = site.serve(function() http.abort(403) end)
    local client <close> = site.client(server)
    client:send "POST / HTTP/1.1\nHost: here\nContent-Length: 1000000\n\n"
    client:answer()
    local start = asyncio.time()
    t.assertEquals(client:rest(), "") -- it says at once that no more comes
    t.assertAlmostEquals(asyncio.time(), start, 0.01)
    t.assertEquals(server:stats().connections, 1)
    asyncio.blocking_sleep(0.1) -- until its kernel has told ours that all has arrived
    asyncio.sleep(1.9)
    t.assertEquals(server:stats().connections, 1)
    asyncio.sleep(0.3)
    t.assertEquals(server:stats().connections, 0)
  end)
end

TestExpect = {}

local EXPECT = "POST / HTTP/1.1\nHost: here\nContent-Length: 5\nExpect: 100-continue\n\n"

function TestExpect:test_is_told_to_go_on_when_the_handler_reads()
  t.run(function()
    local server <close> = site.serve(function(request)
      asyncio.sleep(1)
      return request:read()
    end)
    local client <close> = site.client(server)
    local start = asyncio.time()
    t.assertEquals(client:ask(EXPECT).status, 100)
    t.assertAlmostEquals(asyncio.time() - start, 1, 0.01)
    t.assertEquals(client:ask("hello").body, "hello")
    t.assertEquals(client:ask(GET).body, "")
  end)
end

function TestExpect:test_is_not_told_where_the_body_has_come()
  t.run(function()
    local server <close> = site.serve(function(request) return request:read() end)
    local client <close> = site.client(server)
    t.assertEquals(client:ask(EXPECT .. "hello").body, "hello")
  end)
end

function TestExpect:test_answered_without_reading_ends_the_connection()
  t.run(function()
    local server <close> = site.serve "no"
    local client <close> = site.client(server)
    local answer = client:ask(EXPECT)
    t.assertEquals({ answer.status, answer.body, answer.headers.connection }, { 200, "no", "close" })
    t.assertEquals(client:rest(), "")
  end)
end

function TestExpect:test_of_something_else_is_refused()
  t.run(function()
    local server <close> = site.serve "no"
    t.assertEquals(site.status(server, "GET / HTTP/1.1\nExpect: tea"), 417)
  end)
end

TestBroken = {}

function TestBroken:test_body_is_an_error_where_it_is_read_and_answered_400()
  t.run(function()
    local caught
    local server <close> = site.serve(function(request)
      local _, err = asyncio.pcall(request.read, request)
      caught = err
      error(err, 0)
    end)
    t.assertEquals(site.ask(server, CHUNKED .. "x\n\n").status, 400)
    t.assert_isinstance(caught, http.ProtocolError)
    t.assertEquals(site.ask(server, CHUNKED .. "1\nab\n").status, 400)
  end)
end

function TestBroken:test_body_that_nobody_reads_ends_the_connection()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    t.assertEquals(client:ask(CHUNKED .. "x\n\n").body, "x")
    t.assertEquals(client:rest(), "")
  end)
end

function TestBroken:test_body_that_is_cut_is_an_error()
  t.run(function()
    local caught
    local server <close> = site.serve(function(request)
      local _, err = asyncio.pcall(request.read, request)
      caught = err
      return "x"
    end)
    local client <close> = site.client(server)
    client:send "POST / HTTP/1.1\nHost: here\nContent-Length: 5\n\nhel"
    client.writer:write_eof()
    t.assertEquals(client:answer().body, "x")
    t.assert_isinstance(caught, http.ProtocolError)
    t.assertNotNil(caught.partial)
  end)
end

t.finish()
