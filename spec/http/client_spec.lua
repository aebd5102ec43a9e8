-- client_spec.lua - asyncio.http: what a request says, and how its answer is read.
local t = require "helper"
local raw = require "http.raw"

local asyncio = t.asyncio
local http = asyncio.http

local OK = raw.answer "hello"

-- What is sent -----------------------------------------------------------------------------------

TestRequest = {}

function TestRequest:test_get_is_a_head_and_nothing_else()
  raw.with(OK, function(url, server, requests)
    t.assertEquals(http.get(url .. "a/b?c=d"):read(), "hello")
    local request = requests[1]
    t.assertEquals(request.line, "GET /a/b?c=d HTTP/1.1")
    t.assertEquals(request.headers.host, tostring(server:sockets()[1]))
    t.assertEquals({ request.headers.accept, request.headers["user-agent"], request.headers.connection,
      request.body }, { "*/*", "lua-asyncio", "close", nil })
  end)
end

for _, name in ipairs { "get", "post", "put", "patch", "delete" } do
  TestRequest["test_the_function_" .. name .. "_is_that_method"] = function()
    raw.with(OK, function(url, _, requests)
      t.assertEquals(http[name](url):read(), "hello")
      t.assertEquals(requests[1].method, name:upper())
    end)
  end
end

function TestRequest:test_head_has_no_body_whatever_its_headers_say()
  raw.with("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", function(url, _, requests)
    local answer = http.head(url)
    t.assertEquals({ answer.headers["content-length"], answer:read(), requests[1].method }, { "500", "", "HEAD" })
  end)
end

function TestRequest:test_a_method_of_ones_own_is_sent_as_it_is()
  raw.with(OK, function(url, _, requests)
    http.request(url, { method = "Brew" }):read()
    http.request(url, { method = "put" }):read()
    t.assertEquals({ requests[1].method, requests[2].method }, { "Brew", "PUT" })
  end)
end

function TestRequest:test_all_may_be_said_in_one_table()
  raw.with(OK, function(url, _, requests)
    t.assertEquals(http.request { url = url, method = "POST", body = "x" }:read(), "hello")
    t.assertEquals(http.post { url = url, body = "y" }:read(), "hello")
    t.assertEquals({ requests[1].body, requests[2].body }, { "x", "y" })
  end)
end

function TestRequest:test_a_query_is_encoded_and_added()
  raw.with(OK, function(url, _, requests)
    http.get(url, { query = { q = "tea & milk", n = 2 } }):read()
    http.get(url .. "?a=1#part", { query = { b = "ä" } }):read()
    http.get(url, { query = { { "z", "1" }, { "a", "2" } } }):read()
    http.get(url .. "?a=1", { query = {} }):read()
    t.assertEquals({ requests[1].target, requests[2].target, requests[3].target, requests[4].target },
      { "/?n=2&q=tea+%26+milk", "/?a=1&b=%C3%A4", "/?z=1&a=2", "/?a=1" })
  end)
end

function TestRequest:test_headers_are_sent_as_given_in_any_form()
  raw.with(OK, function(url, _, requests)
    http.get(url, { headers = { ["X-Tea"] = "green", ["X-Pot"] = { "a", "b" } } }):read()
    http.get(url, { headers = { { "X-One", "1" }, { "x-two", "2" }, { "X-One", "3" } } }):read()
    t.assertStrContains(requests[1].head, "X-Tea: green\r\n")
    t.assertStrContains(requests[1].head, "X-Pot: a\r\nX-Pot: b\r\n")
    t.assertStrContains(requests[2].head, "X-One: 1\r\nx-two: 2\r\nX-One: 3\r\n")
  end)
end

function TestRequest:test_a_header_of_ones_own_replaces_the_librarys()
  raw.with(OK, function(url, _, requests)
    http.get(url, { headers = { ["user-agent"] = "me", ACCEPT = "text/plain", Host = "tea.example" } }):read()
    local head = requests[1].head:lower()
    for _, name in ipairs { "user%-agent", "accept", "host" } do
      t.assertEquals(select(2, head:gsub("\n" .. name .. ":", "")), 1)
    end
    t.assertEquals({ requests[1].headers["user-agent"], requests[1].headers.accept, requests[1].headers.host },
      { "me", "text/plain", "tea.example" })
  end)
end

function TestRequest:test_nothing_that_is_sent_can_add_a_line()
  raw.with(OK, function(url, _, requests)
    for _, bad in ipairs { "a\r\nX: b", "a\nX: b", "a\rb", "a\0b" } do
      t.assertStrContains(t.error_of(http.get, url, { headers = { A = bad } }), "'headers': ")
      t.assertStrContains(t.error_of(http.get, url, { headers = { [bad] = "a" } }), "'headers': ")
      t.assertStrContains(t.error_of(http.request, url, { method = bad }), "'method': ")
      t.assertStrContains(t.error_of(http.get, url .. bad), "URL expected")
      t.assertEquals(http.get(url, { query = { a = bad } }):read(), "hello")
    end
    t.assertEquals(#requests, 4)
  end)
end

function TestRequest:test_auth_is_basic()
  raw.with(OK, function(url, _, requests)
    http.get(url, { auth = { "Aladdin", "open sesame" } }):read()
    http.get(url:gsub("//", "//a%%40b:c@") .. ""):read()
    for _, text in ipairs { "", "a", "ab", "abc" } do http.get(url, { auth = { "u", text } }):read() end
    local got = {}
    for i, request in ipairs(requests) do got[i] = request.headers.authorization end
    t.assertEquals(got, { "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic YUBiOmM=", "Basic dTo=", "Basic dTph",
      "Basic dTphYg==", "Basic dTphYmM=" })
  end)
end

-- Bodies that are sent ---------------------------------------------------------------------------

TestBody = {}

local function posted(opts, clock)
  local sent
  raw.with(OK, function(url, _, requests)
    t.assertEquals(http.post(url, opts()):read(), "hello")
    sent = requests[1]
  end, clock)
  return sent
end

function TestBody:test_a_string_has_its_length()
  local request = posted(function() return { body = "some tea" } end)
  t.assertEquals({ request.headers["content-length"], request.body }, { "8", "some tea" })
end

function TestBody:test_none_is_said_to_be_empty_where_there_could_be_one()
  t.assertEquals(posted(function() return {} end).headers["content-length"], "0")
end

function TestBody:test_a_large_string_arrives_whole()
  local text = ("0123456789abcdef"):rep(1 << 16)
  t.assertEquals(posted(function() return { body = text } end, "real").body == text, true)
end

function TestBody:test_a_list_is_joined()
  local request = posted(function() return { body = { "a", "", "bc" } } end)
  t.assertEquals({ request.headers["content-length"], request.body }, { "3", "abc" })
  local piece = ("x"):rep(50000)
  request = posted(function() return { body = { piece, piece, "end" } } end, "real")
  t.assertEquals({ request.headers["content-length"], #request.body, request.body:sub(-4) },
    { "100003", 100003, "xend" })
end

function TestBody:test_a_function_gives_pieces_and_may_wait()
  local request = posted(function()
    local n = 0
    return { body = function()
      asyncio.sleep(1)
      n = n + 1
      return n <= 3 and ("piece %d,"):format(n) or nil
    end }
  end)
  t.assertEquals({ request.headers["transfer-encoding"], request.headers["content-length"], request.body },
    { "chunked", nil, "piece 1,piece 2,piece 3," })
end

function TestBody:test_a_reader_is_read_to_its_end()
  local request = posted(function()
    local reader = asyncio.StreamReader()
    reader:feed "from a "
    asyncio.create_task(function()
      asyncio.sleep(1)
      reader:feed "reader"
      reader:feed_eof()
    end)
    return { body = reader }
  end)
  t.assertEquals(request.body, "from a reader")
end

function TestBody:test_a_file_is_read_to_its_end()
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(("line\n"):rep(30000))
  file:close()
  raw.with(OK, function(url, _, requests)
    local body <close> = asyncio.open(name)
    t.assertEquals(http.put(url, { body = body }):read(), "hello")
    t.assertEquals(#requests[1].body, 150000)
  end, "real")
  os.remove(name)
end

function TestBody:test_an_answer_can_be_the_next_ones_body()
  raw.with(function(request) return raw.answer(request.body or "from the first") end, function(url)
    t.assertEquals(http.post(url, { body = http.get(url) }):read(), "from the first")
  end)
end

function TestBody:test_a_length_by_hand_frames_what_a_function_gives()
  local request = posted(function()
    local pieces = { "abc", "def" }
    return { headers = { ["Content-Length"] = "6" }, body = function() return table.remove(pieces, 1) end }
  end)
  t.assertEquals({ request.headers["transfer-encoding"], request.headers["content-length"], request.body },
    { nil, "6", "abcdef" })
end

function TestBody:test_one_that_is_longer_or_shorter_than_said_fails()
  for _, text in ipairs { "abc", "abcdefghi" } do
    raw.with(OK, function(url)
      local pieces = { text }
      local err = t.error_of(http.post, url, { headers = { ["Content-Length"] = "6" },
        body = function() return table.remove(pieces, 1) end })
      t.assertStrContains(tostring(err), "Content-Length")
    end)
  end
end

function TestBody:test_the_sources_error_is_the_requests()
  raw.with(OK, function(url)
    local err = t.error_of(http.post, url, { body = function() error("sour", 0) end })
    t.assertEquals(err, "sour")
    err = t.error_of(http.post, url, { body = function() return 5 end })
    t.assertStrContains(tostring(err), "gives strings and then nil, this one gave number")
  end)
end

function TestBody:test_a_form_is_encoded_and_has_its_type()
  local request = posted(function() return { form = { tea = "green & hot", n = 2 } } end)
  t.assertEquals({ request.headers["content-type"], request.body },
    { "application/x-www-form-urlencoded", "n=2&tea=green+%26+hot" })
  request = posted(function() return { form = { a = 1 }, headers = { ["content-type"] = "x/y" } } end)
  t.assertEquals(request.headers["content-type"], "x/y")
end

-- An answer before the end of the body -------------------------------------------------------------

TestEarly = {}

function TestEarly:test_an_early_refusal_ends_the_body()
  t.run(function()
    local server <close> = asyncio.start_server(function(reader, writer)
      raw.request(reader, { body = false })
      writer:send(raw.answer("no", "", "413 Content Too Large"))
    end, "127.0.0.1", 0)
    local given, ended = 0, false
    local answer = http.post(raw.url(server), { body = function()
      local _ <close> = asyncio.defer(function() ended = true end)
      given = given + 1
      if given > 2 then asyncio.sleep(3600) end
      return "piece"
    end })
    t.assertEquals({ answer.status, answer:read(), ended, given }, { 413, "no", true, 3 })
    t.assertTrue(asyncio.time() < 100)
  end)
end

function TestEarly:test_an_answer_may_come_while_the_body_goes_on()
  t.run(function()
    local server <close> = asyncio.start_server(function(reader, writer)
      raw.request(reader, { body = false })
      writer:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      while true do
        local size = tonumber(reader:readuntil("\r\n"):match "%x+", 16)
        local piece = reader:readexactly(size + 2):sub(1, -3):upper()
        writer:send(("%x\r\n%s\r\n"):format(#piece, piece))
        if size == 0 then return end
      end
    end, "127.0.0.1", 0)
    local said = asyncio.Queue()
    local answer = http.post(raw.url(server), { body = function() return said:get() end })
    for _, word in ipairs { "one", "two" } do
      said:put(word)
      t.assertEquals(answer:read(100), word:upper())
    end
    said:put(nil)
    t.assertEquals(answer:read(), "")
  end)
end

-- Expect -------------------------------------------------------------------------------------------

TestExpect = {}

local EXPECT = { Expect = "100-continue" }

function TestExpect:test_the_body_waits_for_the_servers_word()
  t.run(function()
    local server <close> = asyncio.start_server(function(reader, writer)
      raw.request(reader, { body = false })
      asyncio.sleep(0.5)
      t.assertEquals(tostring(reader):match "(%d+) bytes", "0")
      writer:send "HTTP/1.1 100 Continue\r\n\r\n"
      t.assertEquals(reader:readexactly(4), "body")
      writer:send(OK)
    end, "127.0.0.1", 0)
    t.assertEquals(http.post(raw.url(server), { body = "body", headers = EXPECT }):read(), "hello")
  end)
end

function TestExpect:test_after_a_second_without_it_the_body_is_sent()
  raw.with(function(request)
    t.assertEquals(request.body, "body")
    return OK
  end, function(url)
    local began = asyncio.time()
    t.assertEquals(http.post(url, { body = "body", headers = EXPECT }):read(), "hello")
    t.assertAlmostEquals(asyncio.time() - began, 1, 0.01)
  end)
end

function TestExpect:test_a_refusal_spares_the_body()
  t.run(function()
    local rest
    local server <close> = asyncio.start_server(function(reader, writer)
      raw.request(reader, { body = false })
      writer:send "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
      rest = reader:read()
    end, "127.0.0.1", 0)
    t.assertEquals(http.post(raw.url(server), { body = "body", headers = EXPECT }).status, 417)
    t.until_blocked()
    t.assertEquals(rest, "")
  end)
end

function TestExpect:test_other_answers_of_that_kind_are_passed_over()
  raw.with("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" .. OK, function(url)
    local answer = http.get(url)
    t.assertEquals({ answer.status, answer.headers.link, answer:read() }, { 200, nil, "hello" })
  end)
end

function TestExpect:test_but_not_without_end()
  raw.with(("HTTP/1.1 102 Processing\r\n\r\n"):rep(200), function(url)
    t.assertStrContains(tostring(t.assert_raises(http.ProtocolError, http.get, url)), "too many answers")
  end)
end

-- How an answer is read ------------------------------------------------------------------------------

TestAnswer = {}

function TestAnswer:test_has_status_reason_version_headers_and_url()
  raw.with(raw.once "HTTP/1.0 299 Quite Fine\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nbody",
    function(url)
      local answer = http.get(url .. "x?y#z")
      t.assertEquals({ answer.status, answer.reason, answer.version, answer.url, answer.history },
        { 299, "Quite Fine", "1.0", url .. "x?y", {} })
      t.assertEquals({ answer.headers["X-a"], answer.headers["set-cookie"] }, { "1, 2", "a" })
      t.assertEquals(answer.headers:all "Set-Cookie", { "a", "b" })
      t.assertEquals(answer:read(), "body")
      t.assertEquals(asyncio.type(answer), "Response")
      t.assertStrContains(tostring(answer), "299 Quite Fine")
    end)
end

local CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

function TestAnswer:test_chunks_are_joined()
  raw.with(CHUNKED .. "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n", function(url)
    t.assertEquals(http.get(url):read(), "hello world")
  end)
end

function TestAnswer:test_the_same_byte_by_byte()
  local text = CHUNKED .. "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
  raw.with(function(_, writer)
    for i = 1, #text do
      writer:send(text:sub(i, i))
      asyncio.sleep(0.1)
    end
  end, function(url) t.assertEquals(http.get(url):read(), "hello world") end)
end

function TestAnswer:test_without_a_length_the_end_of_the_connection_is_its_end()
  raw.with(raw.once "HTTP/1.1 200 OK\r\n\r\nall of it", function(url)
    t.assertEquals(http.get(url):read(), "all of it")
  end)
end

function TestAnswer:test_none_has_no_body()
  for _, status in ipairs { "204 No Content", "304 Not Modified" } do
    raw.with(("HTTP/1.1 %s\r\n\r\n"):format(status), function(url) t.assertEquals(http.get(url):read(), "") end)
  end
end

function TestAnswer:test_read_n_gives_what_is_there_and_nil_at_the_end()
  raw.with(function(_, writer)
    writer:send(CHUNKED, "3\r\nabc\r\n")
    asyncio.sleep(1)
    writer:send "4\r\ndefg\r\n0\r\n\r\n"
  end, function(url)
    local answer = http.get(url)
    t.assertEquals({ answer:read(2), answer:read(5), answer:read(0), answer:read(5), answer:read(5), answer:read() },
      { "ab", "c", "", "defg", nil, "" })
  end)
end

function TestAnswer:test_lines_may_be_cut_anywhere()
  local text = "one\r\ntwo\r\n\r\nlast"
  raw.with(function(_, writer)
    writer:send "HTTP/1.1 200 OK\r\n\r\n"
    for i = 1, #text do
      writer:send(text:sub(i, i))
      asyncio.sleep(0.01)
    end
    return false
  end, function(url)
    local function all(...)
      local list = {}
      for line in http.get(url):lines(...) do list[#list + 1] = line end
      return list
    end
    t.assertEquals(all(), { "one\r", "two\r", "\r", "last" })
    t.assertEquals(all "\r\n", { "one", "two", "", "last" })
    t.assertEquals(all "\r\n\r\n", { "one\r\ntwo", "last" })
  end)
end

function TestAnswer:test_many_lines_of_one_piece()
  local list = {}
  for i = 1, 5000 do list[i] = "line " .. i end
  raw.with(raw.answer(table.concat(list, "\n") .. "\n"), function(url)
    local n = 0
    for line in http.get(url):lines() do
      n = n + 1
      assert(line == list[n], line)
    end
    t.assertEquals(n, 5000)
  end)
end

function TestAnswer:test_lines_and_reads_go_on_where_the_other_left_off()
  raw.with(raw.answer "one\ntwo\nthree", function(url)
    local answer = http.get(url)
    t.assertEquals({ answer:lines()(), answer:read(2), answer:lines()(), answer:read() }, { "one", "tw", "o", "three" })
  end)
end

function TestAnswer:test_blocks_are_as_long_as_is_said_at_most()
  raw.with(raw.answer(("x"):rep(10)), function(url)
    local list = {}
    for block in http.get(url):blocks(4) do list[#list + 1] = block end
    t.assertEquals(list, { "xxxx", "xxxx", "xx" })
  end)
end

function TestAnswer:test_raise_for_status_raises_from_400_on()
  for status, raises in pairs { [200] = false, [304] = false, [399] = false, [400] = true, [599] = true } do
    raw.with(raw.answer(status == 304 and "" or "why", "", status .. " Words"), function(url)
      local answer = http.get(url)
      if not raises then return t.assertIs(answer:raise_for_status(), answer) end
      local err = t.assert_raises(http.HTTPStatusError, answer.raise_for_status, answer)
      t.assertEquals({ err.status, err.response:read(), tostring(err) },
        { status, "why", ("HTTPStatusError: GET %s: %d Words"):format(url, status) })
    end)
  end
end

function TestAnswer:test_what_is_closed_can_be_read_no_more()
  raw.with(OK, function(url)
    local answer = http.get(url)
    answer:close()
    answer:close()
    t.assert_raises(asyncio.ClosedError, answer.read, answer)
    do
      local whole <close> = http.get(url)
      t.assertEquals(whole:read(), "hello")
      answer = whole
    end
    t.assertEquals(answer:read(), "")
  end)
end

function TestAnswer:test_two_tasks_do_not_read_at_a_time()
  raw.with(function(_, writer)
    writer:send "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    asyncio.sleep(10)
    return "ok"
  end, function(url)
    local answer = http.get(url)
    local first = asyncio.create_task(function() return answer:read() end)
    asyncio.sleep(1)
    t.assert_raises(asyncio.BusyError, answer.read, answer)
    t.assertEquals(asyncio.await(first), "ok")
  end)
end

-- What is cut, or no HTTP --------------------------------------------------------------------------

TestBroken = {}

local function cut(text, partial)
  raw.with(raw.once(text), function(url)
    local answer = http.get(url)
    local err = t.assert_raises(http.ProtocolError, answer.read, answer)
    t.assertEquals(err.partial, partial)
    t.assertIs(t.error_of(answer.read, answer), err)
  end)
end

function TestBroken:test_a_cut_body_raises_with_what_had_come()
  cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "half")
  cut(CHUNKED .. "5\r\nhello\r\n", "hello")
  cut(CHUNKED .. "5\r\nhel", "hel")
  cut(CHUNKED .. "5\r\nhello\r\n0\r\n", "hello")
end

function TestBroken:test_bad_chunks_raise()
  cut(CHUNKED .. "5\r\nhello\r\nzz\r\n", "hello")
  cut(CHUNKED .. "2\r\nheXX", "he")
end

function TestBroken:test_a_cut_or_missing_head_raises()
  for _, text in ipairs { "", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Le" } do
    raw.with(raw.once(text), function(url)
      local told = tostring(t.assert_raises(http.ProtocolError, http.get, url))
      t.assertStrContains(told, "closed the connection: ")
      t.assertStrContains(told, url:match "//([^/]*)") -- which of many it was
    end)
  end
end

function TestBroken:test_what_is_no_http_raises()
  for _, text in ipairs { "SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n" } do
    raw.with(raw.once(text), function(url)
      t.assertStrContains(tostring(t.assert_raises(http.ProtocolError, http.get, url)), "not HTTP/1.1")
    end)
  end
end

function TestBroken:test_a_head_without_end_is_refused()
  raw.with(function(_, writer)
    writer:send "HTTP/1.1 200 OK\r\n"
    for i = 1, 5000 do
      if not pcall(writer.send, writer, ("X-%d: 1\r\n"):format(i)) then return false end
    end
  end, function(url) t.assert_raises(http.ProtocolError, http.get, url) end, "real")
end

function TestBroken:test_who_refuses_to_connect_is_an_oserror()
  t.real(function()
    local port = require "peers".reserve_port()
    t.assert_raises(asyncio.ConnectionRefusedError, http.get, ("http://127.0.0.1:%d/"):format(port))
  end)
end

-- max_body -------------------------------------------------------------------------------------------

TestMaxBody = {}

function TestMaxBody:test_bounds_what_read_takes()
  for _, text in ipairs { raw.answer(("x"):rep(11)), CHUNKED .. "b\r\n" .. ("x"):rep(11) .. "\r\n0\r\n\r\n" } do
    raw.with(text, function(url)
      local answer = http.get(url, { max_body = 10 })
      local err = t.assert_raises(http.BodyTooLarge, answer.read, answer)
      t.assertEquals(err.limit, 10)
      t.assertIs(t.error_of(answer.read, answer), err)
      t.assertEquals(http.get(url, { max_body = 11 }):read(), ("x"):rep(11))
    end)
  end
end

function TestMaxBody:test_does_not_bound_what_is_read_in_pieces()
  raw.with(raw.answer(("x"):rep(100)), function(url)
    local n = 0
    for block in http.get(url, { max_body = 10 }):blocks(7) do n = n + #block end
    t.assertEquals(n, 100)
  end)
end

function TestMaxBody:test_bounds_a_line()
  raw.with(function(_, writer)
    writer:send "HTTP/1.1 200 OK\r\n\r\n"
    for _ = 1, 100 do
      if not pcall(writer.send, writer, ("x"):rep(10)) then return false end
      asyncio.sleep(0.01)
    end
    return false
  end, function(url)
    local answer <close> = http.get(url, { max_body = 50 })
    t.assert_raises(http.BodyTooLarge, answer:lines())
  end)
end

-- Arguments ------------------------------------------------------------------------------------------

TestWords = {}

local function said(pattern, fn, ...)
  local err = t.error_of(fn, ...)
  t.assertEquals(type(err), "string")
  t.assertStrContains(err, pattern)
end

function TestWords:test_a_wrong_argument_names_the_function_and_what_was_meant()
  t.run(function()
    local get, post = http.get, http.post
    said("bad argument #1 to 'get' (URL expected, got number)", get, 5)
    said("bad argument #1 to 'get' (URL expected, got \"/path\"", get, "/path")
    said("the scheme is \"ftp\", not http or https", get, "ftp://x/")
    said("that programs read in different ways", get, "http://127.1/")
    said("that programs read in different ways", get, "http://2130706433/")
    said("bad argument #1 to 'post' ('url': URL expected", post, { url = "nothing" })
    said("bad argument #2 to 'post' ('form' does not go with 'body')", post, "http://x/", { body = "", form = {} })
    said("'body': string, list of strings, function or reader expected, got number", post, "http://x/", { body = 5 })
    said("'body': string at 2 expected, got number", post, "http://x/", { body = { "a", 5 } })
    said("'form' takes names and values", post, "http://x/", { body = { a = "b" } })
    said("'auth': {user, password}", get, "http://x/", { auth = "user:password" })
    said("'auth': {user, password}, and the password a string", get, "http://x/", { auth = { "user" } })
    said("'auth': a user's name has no colon", get, "http://x/", { auth = { "a:b", "c" } })
    said("'ssl': true or a client's context", get, "https://x/", { ssl = 5 })
    said("'proxy': http://host:port expected", get, "http://x/", { proxy = "https://p:1" })
    said("'unix' does not go with 'proxy'", get, "http://x/", { proxy = "http://p:1", unix = "/s" })
    said("'headers': ", get, "http://x/", { headers = 5 })
    said("'Transfer-Encoding' is not set by hand", get, "http://x/", { headers = { ["Transfer-Encoding"] = "gzip" } })
    said("Content-Length is 3, but the body has 1 bytes", post, "http://x/", { body = "x",
      headers = { ["Content-Length"] = "3" } })
    said("'method': CONNECT is for proxies", http.request, "http://x/", { method = "connect" })
    said("unknown option 'json': encode it", post, "http://x/", { json = {} })
    said("unknown option 'method'", get, "http://x/", { method = "GET" })
    said("'base_url': URL expected", http.Client, { base_url = "x" })
  end)
end

function TestWords:test_where_nothing_can_wait_it_says_so()
  local err = t.error_of(http.get, "http://127.0.0.1:1/")
  t.assertStrContains(tostring(err), "no event loop is running")
end

t.finish()
