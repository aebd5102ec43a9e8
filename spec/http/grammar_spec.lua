-- The grammar of HTTP/1.1: what is read, what is refused, what is sent, and the states of both sides.
local t = require "helper"
local parsers = t.asyncio.parsers

local CRLF = "\r\n"

--- Lines, each with its end, and an empty one.
local function head(...) return table.concat({ ... }, CRLF) .. CRLF .. CRLF end

local function server(opts)
  opts = opts or {}
  opts.role = "server"
  return parsers.http(opts)
end

--- A client that has sent a request.
local function client(method, headers, opts)
  opts = opts or {}
  opts.role = "client"
  local c = parsers.http(opts)
  c:request(method or "GET", method == "CONNECT" and "h:1" or "/", "h", headers)
  return c
end

--- All events in bytes, up to what stops them: { {"request", head}, {"data", all of it}, ... }.
local function events(c, bytes, ends)
  local list, event = {}, table.pack(c:feed(bytes))
  while true do
    if event[1] == nil and ends then
      ends, event = false, table.pack(c:feed_eof())
    end
    if event[1] == nil then break end
    local last = list[#list]
    if event[1] == "data" and last and last[1] == "data" then last[2] = last[2] .. event[2]
    else list[#list + 1] = event end
    if event[1] == "paused" or event[1] == "closed" or event[1] == "error" then break end
    event = table.pack(c:next())
  end
  return list
end

local function names(list)
  local result = {}
  for i, event in ipairs(list) do result[i] = event[1] end
  return table.concat(result, " ")
end

--- Asserts that a server refuses it, with that status, in those words.
local function refuses(status, bytes, words, opts)
  local list = events(server(opts), bytes)
  local last = list[#list] or { "nothing" }
  t.assertEquals(last[1], "error", ("%q: %s"):format(bytes, names(list)))
  t.assertEquals(last[2], status, ("%q: %s"):format(bytes, last[3]))
  if words then t.assertStrContains(last[3], words) end
end

local function client_refuses(bytes, words, method)
  local list = events(client(method), bytes)
  local last = list[#list] or { "nothing" }
  t.assertEquals(last[1], "error", ("%q: %s"):format(bytes, names(list)))
  if words then t.assertStrContains(last[3], words) end
end

local function takes(bytes, opts)
  local list = events(server(opts), bytes)
  t.assertEquals((list[1] or {})[1], "request", ("%q: %s %s"):format(bytes, names(list), (list[1] or {})[3]))
  return list[1][2], list
end

local HOST = "Host: h"
local GET = "GET / HTTP/1.1"
local POST = "POST / HTTP/1.1"

TestRequest = {}

function TestRequest:test_is_a_table()
  local request = takes(head("GET /a%20b/c?d=e%20f HTTP/1.1", "Host: tea.example:8080", "X-Kind: green",
    "x-kind: mint"))
  t.assertEquals(request.method, "GET")
  t.assertEquals(request.target, "/a%20b/c?d=e%20f")
  t.assertEquals(request.path, "/a b/c")
  t.assertEquals(request.query_string, "d=e%20f")
  t.assertEquals(request.version, "1.1")
  t.assertEquals(request.host, "tea.example:8080")
  t.assertEquals(request.keep_alive, true)
  t.assertEquals(request.body, false)
  for _, key in ipairs { "content_length", "chunked", "upgrade", "scheme", "expect_continue" } do
    t.assertNil(request[key])
  end
  t.assertEquals(request.headers["X-KIND"], "green, mint")
end

function TestRequest:test_goes_into_the_table_that_is_given()
  local into = setmetatable({}, { __newindex = function() error "asked" end })
  local event, same = server():feed(head(GET, HOST), into)
  t.assertEquals(event, "request")
  t.assertIs(same, into)
  t.assertEquals(rawget(into, "method"), "GET")
end

function TestRequest:test_has_a_body_of_known_length()
  local request, list = takes(head(POST, HOST, "Content-Length: 5") .. "hello")
  t.assertEquals(request.content_length, 5)
  t.assertEquals(request.body, true)
  t.assertEquals(names(list), "request data end paused")
  t.assertEquals(list[2][2], "hello")
end

function TestRequest:test_has_a_body_in_chunks_with_trailers()
  local request, list = takes(head(POST, HOST, "Transfer-Encoding: chunked")
    .. "5;name=value\r\nhello\r\n00A\r\n, tea-time\r\n0\r\nX-Sum: 7\r\n\r\n")
  t.assertEquals(request.chunked, true)
  t.assertEquals(names(list), "request data end paused")
  t.assertEquals(list[2][2], "hello, tea-time")
  t.assertEquals(list[3][2]["x-sum"], "7")
  t.assertNil(request.headers["x-sum"])
end

function TestRequest:test_comes_byte_by_byte()
  local c, found = server(), {}
  local bytes = head(POST, HOST, "Transfer-Encoding: chunked") .. "5\r\nhello\r\n0\r\nA: b\r\n\r\n"
  for i = 1, #bytes do
    local event, value = c:feed(bytes:sub(i, i))
    if event then found[#found + 1] = event == "data" and value or event end
  end
  t.assertEquals(table.concat(found, " "), "request h e l l o end")
end

function TestRequest:test_waits_until_the_one_before_is_answered()
  local c = server()
  t.assertEquals(c:feed(head("GET /1 HTTP/1.1", HOST) .. head("GET /2 HTTP/1.1", HOST)), "request")
  t.assertEquals(c:next(), "paused")
  c:response(200)
  t.assertEquals(c:next(), "paused")
  t.assertTrue(c:next_cycle())
  local event, request = c:next()
  t.assertEquals(event, "request")
  t.assertEquals(request.path, "/2")
end

function TestRequest:test_gives_a_fed_string_back_where_it_is_all_body()
  local c, piece = server(), ("tea "):rep(1000)
  c:feed(head(POST, HOST, "Content-Length: 8000"))
  local event, data = c:feed(piece)
  t.assertEquals(event, "data")
  t.assertEquals(data, piece)
end

TestFraming = {} -- RULES of RFC 9112 6 and 7

function TestFraming:test_length_beside_chunked_is_refused()
  refuses(400, head(POST, HOST, "Content-Length: 5", "Transfer-Encoding: chunked"), "both")
  refuses(400, head(POST, HOST, "Transfer-Encoding: chunked", "Content-Length: 5"), "both")
end

function TestFraming:test_no_coding_but_chunked_once_and_last()
  refuses(501, head(POST, HOST, "Transfer-Encoding: gzip, chunked"))
  for _, coding in ipairs { "gzip", "chunked, gzip", "chunked, chunked", "identity", "xchunked", "chunked;q=1", "",
    "\vchunked", "chunked,", ",chunked" } do
    local list = events(server(), head(POST, HOST, "Transfer-Encoding: " .. coding))
    t.assertEquals(names(list), "error", coding)
  end
  refuses(400, head(POST, HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"))
  refuses(400, head("POST / HTTP/1.0", "Transfer-Encoding: chunked"), "HTTP/1.0")
  t.assertTrue(takes(head(POST, HOST, "Transfer-Encoding:  Chunked ")).chunked)
end

function TestFraming:test_a_length_is_digits_and_there_once()
  for _, length in ipairs { "+5", "-5", "0x5", "5_0", "5 5", "5, 5", "5,5", "", "5.0", "1e3", "9007199254740993",
    "00000000000000005", "99999999999999999999" } do
    refuses(400, head(POST, HOST, "Content-Length: " .. length))
  end
  refuses(400, head(POST, HOST, "Content-Length: 5", "Content-Length: 6"))
  refuses(400, head(POST, HOST, "Content-Length: 5", "content-length: 5"))
  t.assertEquals(takes(head(POST, HOST, "Content-Length: 9007199254740992")).content_length, 1 << 53)
end

function TestFraming:test_an_answer_may_say_its_length_twice_if_it_is_the_same()
  t.assertEquals(names(events(client(), head("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 2") .. "ok")),
    "response data end paused")
  client_refuses(head("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3"))
  client_refuses(head("HTTP/1.1 200 OK", "Content-Length: 2", "Transfer-Encoding: chunked"), "both")
end

function TestFraming:test_a_fields_line()
  refuses(400, head(GET, HOST, "Name : value"), "colon")
  refuses(400, head(GET, HOST, "Name\t: value"), "colon")
  refuses(400, head(GET, " Host: h"), "line of its own")
  refuses(400, head(GET, HOST, "Name: value", " more"), "line of its own")
  refuses(400, head(GET, HOST, "Name: value", "\tmore"))
  refuses(400, head(GET, HOST, ": value"), "no name")
  refuses(400, head(GET, HOST, "Name"), "token")
  for _, c in ipairs { "(", ")", "/", "@", "[", "{", '"', "\0", "\127", "\xe9", ";", "," } do
    refuses(400, head(GET, HOST, "Na" .. c .. "me: value"))
  end
end

function TestFraming:test_a_fields_value_has_no_controls()
  for c = 0, 31 do
    if c ~= 9 then refuses(400, head(GET, HOST, "Name: va" .. string.char(c) .. "lue")) end
  end
  refuses(400, head(GET, HOST, "Name: value\127"))
  local request = takes(head(GET, HOST, "Name: \t v\ta l\xc3\xbce \t "))
  t.assertEquals(request.headers.name, "v\ta l\xc3\xbce")
end

function TestFraming:test_lines_end_with_cr_lf()
  refuses(400, "GET / HTTP/1.1\nHost: h\n\n", "LF alone")
  refuses(400, "GET / HTTP/1.1\r\nHost: h\n\r\n", "LF alone")
  refuses(400, "GET / HTTP/1.1\r\nHost: h\r\n\n", "LF alone")
  refuses(400, "GET / HTTP/1.1\rHost: h\r\n\r\n")
  refuses(400, head(GET, "Host: h\rX: y"))
  refuses(400, "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
end

function TestFraming:test_one_empty_line_may_come_before_a_request()
  takes(CRLF .. head(GET, HOST))
  refuses(400, CRLF .. CRLF .. head(GET, HOST))
  refuses(400, "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n")
  client_refuses(CRLF .. head "HTTP/1.1 204 No Content")
end

function TestFraming:test_chunks()
  local start = head(POST, HOST, "Transfer-Encoding: chunked")
  for _, size in ipairs { "", " 5", "5 ", "+5", "-5", "0x5", "5_", "g", "00000000000000005", "5 ;a",
    "ffffffffffffffff", ";a",
    "5;a\0", "5;\n", "5;", "5;a=",
    "5;a=b c", '5;a="b', "5; a", "5;a=b=c", "5;;a" } do
    refuses(400, start .. size .. "\r\nhello\r\n0\r\n\r\n")
  end
  refuses(400, start .. "5\nhello\r\n0\r\n\r\n")
  for _, behind in ipairs { "XX", "\n\n", "\n", "\r\r", "x\n", "\n\r" } do
    refuses(400, start .. "5\r\nhello" .. behind .. "0\r\n\r\n", "longer than it says")
  end
  takes(start .. "0000000000000005;a=\"b \\\" c\";b;c=d\r\nhello\r\n0;last\r\n\r\n")
end

function TestFraming:test_extensions_of_chunks_are_bounded_one_and_all()
  local start = head(POST, HOST, "Transfer-Encoding: chunked")
  refuses(400, start .. "1;" .. ("a"):rep(4096) .. "\r\nx\r\n", "too long")
  refuses(400, start .. ("1;" .. ("a"):rep(4000) .. "\r\nx\r\n"):rep(5), "extensions are too large")
end

function TestFraming:test_host()
  refuses(400, head(GET), "no Host")
  refuses(400, head(GET, HOST, HOST), "twice")
  refuses(400, head(GET, "Host: a", "Host: b"), "twice")
  for _, host in ipairs { "a b", "a/b", "a@b", "a:b", "a:99999", "[::1", "[::g]", "a,b", "http://a", "a:",
    "[::1]x" } do
    refuses(400, head(GET, "Host: " .. host), "Host is no host")
  end
  for _, host in ipairs { "", "h", "h:0", "a_b-c.example.", "[::1]:80", "[1::2:3]", "127.0.0.1:8080" } do
    t.assertEquals(takes(head(GET, "Host: " .. host)).host, host)
  end
  t.assertNil(takes(head "GET / HTTP/1.0").host)
end

function TestFraming:test_targets()
  local function target(line, ...) return takes(head(line .. " HTTP/1.1", HOST, ...)) end
  local absolute = target "GET http://Tea.example:8080/a%2fb?c"
  t.assertEquals({ absolute.path, absolute.host, absolute.scheme, absolute.query_string },
    { "/a/b", "Tea.example:8080", "http", "c" })
  t.assertEquals(target("GET https://tea.example").path, "/")
  t.assertEquals(target("OPTIONS *").path, "*")
  t.assertEquals(target("CONNECT tea.example:443").host, "tea.example:443")
  t.assertEquals(target("GET //double").path, "//double")
  t.assertEquals(target("GET /?").query_string, "")
  for _, line in ipairs { "GET *", "GET tea", "GET h:80", "CONNECT /", "CONNECT h", "CONNECT h:", "GET ftp://h/",
    "GET http://u@h/", "GET http:///", "GET http:/a", "OPTIONS **", "GET /#a", "GET /\xc3\xbc", "GET /\0",
      "GET /\127",
    "GET  /", "GET / ", "GET /a b", "GET\t/", " GET /", "GET", "GET ", "G@T /" } do
    refuses(400, head(line .. " HTTP/1.1", HOST))
  end
end

function TestFraming:test_a_path_is_decoded_once()
  t.assertEquals(takes(head("GET /%2e%2E/%2541 HTTP/1.1", HOST)).path, "/../%41")
  for _, path in ipairs { "/%", "/%4", "/%4g", "/%00", "/%gg/", "/a%0" } do
    refuses(400, head("GET " .. path .. " HTTP/1.1", HOST), "escape")
  end
end

function TestFraming:test_what_may_be_there_once_is_there_once()
  for _, name in ipairs { "Content-Type", "Authorization", "User-Agent", "Range", "Referer", "If-Modified-Since" } do
    refuses(400, head(GET, HOST, name .. ": a", name:lower() .. ": a"), "twice")
  end
  takes(head(GET, HOST, "Accept: a", "Accept: b", "Cookie: c=d", "Cookie: e=f"))
end

function TestFraming:test_versions()
  t.assertEquals(takes(head("GET / HTTP/1.9", HOST)).version, "1.1")
  t.assertEquals(takes(head("GET / HTTP/1.0")).version, "1.0")
  refuses(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
  refuses(505, head("GET / HTTP/0.9", HOST))
  for _, version in ipairs { "HTTP/1", "HTTP/1.", "HTTP/11.1", "HTTP/1.10", "http/1.1", "HTTP/1.1 ",
    "HTTPS/1.1", "" } do
    refuses(400, head("GET / " .. version, HOST))
  end
  refuses(400, "GET /\r\n")
  refuses(400, "\x16\x03\x01\x02", "TLS")
end

function TestFraming:test_expectations()
  t.assertEquals(takes(head(POST, HOST, "Expect: 100-Continue", "Content-Length: 1")).expect_continue, true)
  t.assertNil(takes(head("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 1")).expect_continue)
  refuses(417, head(POST, HOST, "Expect: tea"))
end

function TestFraming:test_connection_is_a_list_of_tokens()
  t.assertEquals(takes(head(GET, HOST, "Connection: Foo, CLOSE")).keep_alive, false)
  t.assertEquals(takes(head(GET, HOST, "Connection: keep-alive", "Connection: close")).keep_alive, false)
  t.assertEquals(takes(head("GET / HTTP/1.0")).keep_alive, false)
  t.assertEquals(takes(head("GET / HTTP/1.0", "Connection: Keep-Alive")).keep_alive, true)
  refuses(400, head(GET, HOST, "Connection: a b"))
end

TestAfterwards = {}

function TestAfterwards:test_nothing_is_a_request_after_an_error()
  local c = server()
  c:feed "BAD\r\n"
  for _ = 1, 3 do t.assertEquals(c:feed(head(GET, HOST)), "error") end
  t.assertEquals({ c:states() }, { "idle", "error" })
  t.assertStrContains(c:response(400, nil, "no\n"), "Connection: close\r\n")
  t.assertFalse(c:next_cycle())
  t.assertEquals(c:feed(head(GET, HOST)), "error")
end

function TestAfterwards:test_nothing_is_a_request_after_connection_close()
  local c = server()
  local event = c:feed(head(GET, HOST, "Connection: close") .. head(GET, HOST))
  t.assertEquals(event, "request")
  t.assertEquals({ c:next() }, { "paused" })
  t.assertEquals(c:pending(), 0)
  t.assertStrContains(c:response(200), "Connection: close\r\n")
  t.assertEquals({ c:states() }, { "must_close", "must_close" })
  t.assertFalse(c:next_cycle())
end

function TestAfterwards:test_an_end_in_a_message_is_partial()
  for _, bytes in ipairs { "GET", head(POST, HOST, "Content-Length: 5") .. "hell", CRLF .. "G",
    head(POST, HOST, "Transfer-Encoding: chunked") .. "5\r\nhello\r\n0\r\n" } do
    local list = events(server(), bytes, true)
    t.assertEquals({ list[#list][1], list[#list][5] }, { "error", true })
    t.assertEquals(list[#list][4], #bytes)
  end
  t.assertEquals(server():feed_eof(), "closed")
  t.assertEquals(names(events(server(), head(GET, HOST), true)), "request paused")
end

function TestAfterwards:test_a_half_closed_client_gets_its_answer()
  local c = server()
  c:feed(head(GET, HOST))
  t.assertEquals(c:feed_eof(), "closed")
  t.assertStrContains(c:response(200, nil, "tea"), "\r\n\r\ntea")
  t.assertFalse(c:next_cycle())
end

TestAnswer = {}

function TestAnswer:test_is_a_table()
  local event, answer = client():feed(head("HTTP/1.1 404 Not here", "Content-Length: 0", "Set-Cookie: a",
    "Set-Cookie: b"))
  t.assertEquals(event, "response")
  t.assertEquals({ answer.status, answer.reason, answer.version, answer.body }, { 404, "Not here", "1.1", false })
  t.assertEquals(answer.headers["set-cookie"], "a")
  t.assertEquals(answer.headers:all "Set-Cookie", { "a", "b" })
end

function TestAnswer:test_has_no_body_whatever_it_says()
  for _, case in ipairs { { "HEAD", "200" }, { "GET", "204" }, { "GET", "304" } } do
    local c = client(case[1])
    local list = events(c, head("HTTP/1.1 " .. case[2] .. " OK", "Content-Length: 5") .. "hello")
    t.assertEquals(names(list), "response paused")
    t.assertEquals(c:pending(), 5)
  end
  local list = events(client "HEAD", head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
  t.assertEquals(names(list), "response paused")
end

function TestAnswer:test_goes_to_the_end_where_it_has_no_length()
  local c = client()
  local list = events(c, head("HTTP/1.1 200 OK", "X: y") .. "tea", true)
  t.assertEquals(names(list), "response data end paused")
  t.assertFalse(c:next_cycle())
end

function TestAnswer:test_comes_after_others_that_are_not_final()
  local list = events(client(), head("HTTP/1.1 100 Continue") .. head("HTTP/1.1 103 Early Hints", "Link: a")
    .. head("HTTP/1.1 200 OK", "Content-Length: 1") .. "x")
  t.assertEquals(names(list), "informational informational response data end paused")
  client_refuses(head("HTTP/1.1 100 Continue"):rep(100), "too many")
end

function TestAnswer:test_its_first_line()
  for _, line in ipairs { "HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.0 999 \xc3\xbc",
    "HTTP/1.1 200  x" } do
    t.assertEquals(client():feed(head(line)), "response", line)
  end
  for _, line in ipairs { "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "HTTP/2.0 200 OK",
    "HTTP/1.1 099 x",
    "HTTP/1.1 200 O\0K", "ICY 200 OK", "http/1.1 200 OK", "HTTP/1.1", "HTTP/1.1 abc", "HTTP/1.1 200-OK" } do
    client_refuses(head(line))
  end
end

function TestAnswer:test_nobody_asked_for()
  local c = parsers.http { role = "client" }
  t.assertEquals(c:feed "HTTP/1.1 200 OK\r\n", "error")
end

function TestAnswer:test_never_came()
  t.assertEquals(client():feed_eof(), "closed")
  local list = events(client(), head "HTTP/1.1 100 Continue", true)
  t.assertEquals({ list[2][1], list[2][5] }, { "error", true })
end

TestSwitch = {}

local UPGRADE = { "Connection: Upgrade", "Upgrade: tea/1" }

function TestSwitch:test_the_rest_is_the_other_protocols()
  local c = server()
  local _, request = c:feed(head(GET, HOST, table.unpack(UPGRADE)) .. "rest")
  t.assertEquals(request.upgrade, "tea/1")
  t.assertEquals({ c:states() }, { "send_response", "might_switch_protocol" })
  t.assertEquals(c:next(), "paused")
  local answer = c:upgrade("tea/1", { X = "y" })
  t.assertStrContains(answer,
    "HTTP/1.1 101 Switching Protocols\r\nX: y\r\nUpgrade: tea/1\r\nConnection: upgrade\r\n\r\n")
  t.assertEquals(c:rest(), "rest")
  t.assertEquals({ c:states() }, { "switched_protocol", "switched_protocol" })
  local peer = client("GET", { Upgrade = "tea/1" })
  t.assertEquals(peer:feed(answer .. "more"), "response")
  t.assertEquals(peer:rest(), "more")
end

function TestSwitch:test_is_refused_by_a_usual_answer()
  local c = server()
  c:feed(head(GET, HOST, table.unpack(UPGRADE)) .. head(GET, HOST))
  c:response(200)
  t.assertTrue(c:next_cycle())
  t.assertEquals(c:next(), "request")
  local peer = client("GET", { Upgrade = "tea/1" })
  t.assertEquals(peer:feed(head("HTTP/1.1 200 OK", "Content-Length: 0")), "response")
  t.assertTrue(peer:next_cycle())
end

function TestSwitch:test_waits_for_the_body()
  local c = server()
  c:feed(head(POST, HOST, "Content-Length: 3", table.unpack(UPGRADE)))
  t.assertErrorMsgContains("body is not read", c.upgrade, c, "tea/1")
  t.assertEquals(names(events(c, "teax")), "data end paused")
  c:upgrade "tea/1"
  t.assertEquals(c:rest(), "x")
end

function TestSwitch:test_is_not_asked_for_without_connection_or_by_http_1_0()
  t.assertNil(takes(head(GET, HOST, "Upgrade: tea/1")).upgrade)
  t.assertNil(takes(head("GET / HTTP/1.0", HOST, table.unpack(UPGRADE))).upgrade)
  client_refuses(head("HTTP/1.1 101 Switching Protocols", table.unpack(UPGRADE)), "not asked")
end

function TestSwitch:test_a_tunnel()
  local c = server()
  c:feed(head("CONNECT h:1 HTTP/1.1", HOST) .. "rest")
  t.assertEquals(c:response(200), "HTTP/1.1 200 OK\r\n\r\n")
  t.assertEquals(c:rest(), "rest")
  local peer = client "CONNECT"
  t.assertEquals(peer:feed "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nmore", "response")
  t.assertEquals(peer:rest(), "more")
  t.assertEquals(names(events(client "CONNECT", head("HTTP/1.1 400 no", "Content-Length: 0"))), "response paused")
end

TestSend = {}

--- A server that has a request.
local function asked(...)
  local c = server()
  c:feed(head(select("#", ...) > 0 and ... or GET, HOST, select(2, ...)))
  return c
end

function TestSend:test_an_answer()
  local c = asked()
  t.assertEquals(c:response(200, { { "B", 1 }, { "A", "x" } }, "tea", parsers.date(0)),
    "HTTP/1.1 200 OK\r\nB: 1\r\nA: x\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 3\r\n\r\ntea")
  t.assertEquals(asked():response(404), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
  t.assertEquals(asked():response(299, nil, nil, nil, "So"), "HTTP/1.1 299 So\r\nContent-Length: 0\r\n\r\n")
  t.assertEquals(asked():response(204), "HTTP/1.1 204 No Content\r\n\r\n")
  t.assertEquals(asked("GET / HTTP/1.0"):response(200, nil, "x"),
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
  t.assertEquals(asked("GET / HTTP/1.0", "Connection: keep-alive"):response(200, nil, "x"),
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx")
end

function TestSend:test_a_long_body_stands_by_itself()
  local body = ("x"):rep(20000)
  local first, second = asked():response(200, nil, body)
  t.assertEquals(first, "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")
  t.assertIs(second, body)
end

function TestSend:test_head_has_the_length_and_no_body()
  local c = asked("HEAD / HTTP/1.1")
  t.assertEquals(c:response(200, nil, "tea"), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
  t.assertTrue(c:next_cycle())
  t.assertEquals(asked("HEAD / HTTP/1.1"):response(200, nil, true),
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
  t.assertEquals(asked("HEAD / HTTP/1.1"):response(200, { ["Content-Length"] = 9 }),
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
  t.assertEquals(asked():response(304, { ["Content-Length"] = 9 }),
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")
end

function TestSend:test_a_body_of_known_length_in_pieces()
  local c = asked()
  t.assertEquals(c:response(200, nil, 5), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
  t.assertEquals({ c:data "tea" }, { "tea" })
  t.assertEquals({ c:data "" }, {})
  t.assertErrorMsgContains("longer than its Content-Length", c.data, c, "xxx")
  t.assertErrorMsgContains("shorter than its Content-Length", c.last, c)
  c:data "xx"
  t.assertEquals(c:last(), "")
  t.assertTrue(c:next_cycle())
end

function TestSend:test_a_body_of_unknown_length()
  local c = asked()
  t.assertEquals(c:response(200, nil, true), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
  t.assertEquals(c:data "tea", "3\r\ntea\r\n")
  local long = ("x"):rep(5000)
  t.assertEquals({ c:data(long) }, { "1388\r\n", long, "\r\n" })
  t.assertEquals(c:last { Sum = 7 }, "0\r\nSum: 7\r\n\r\n")
  c = asked("GET / HTTP/1.0", "Connection: keep-alive")
  t.assertEquals(c:response(200, nil, true), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
  t.assertEquals({ c:data "tea", c:last() }, { "tea", "" })
  t.assertFalse(c:next_cycle())
end

function TestSend:test_nothing_can_inject_a_line()
  for _, bad in ipairs { "a\r\nX: y", "a\nX: y", "a\rX", "a\0", "\n", "\127" } do
    local c = asked()
    for _, headers in ipairs { { Name = bad }, { Name = { "a", bad } }, { { "Name", bad } }, { [bad] = "x" } } do
      t.assertErrorMsgContains("bad argument #", c.response, c, 200, headers)
      t.assertErrorMsgContains("bad argument #", parsers.headers, headers)
    end
    t.assertErrorMsgContains("reason", c.response, c, 200, nil, nil, nil, bad)
    t.assertErrorMsgContains("date", c.response, c, 200, nil, nil, bad)
    t.assertErrorMsgContains("protocol", c.upgrade, c, bad)
    t.assertEquals({ c:states() }, { "send_response", "done" })
    local peer = parsers.http { role = "client" }
    for i = 1, 3 do
      local arguments = { "GET", "/", "h" }
      arguments[i] = arguments[i] .. bad
      t.assertError(peer.request, peer, table.unpack(arguments))
    end
    t.assertError(peer.request, peer, "GET", "/", "h", { A = bad })
    t.assertEquals({ peer:states() }, { "idle", "idle" })
  end
end

function TestSend:test_names_are_tokens_and_values_strings_or_integers()
  local c = asked()
  for _, headers in ipairs { { ["a b"] = "x" }, { [""] = "x" }, { ["a:"] = "x" }, { A = 1.5 }, { A = true },
    { A = print },
    { "text" }, { { "A" } }, { { 1, "x" } }, { [true] = "x" }, { A = { {} } }, 5 } do
    t.assertErrorMsgContains("bad argument #", c.response, c, 200, headers)
  end
end

function TestSend:test_framing_by_hand()
  local c = asked()
  t.assertErrorMsgContains("by hand", c.response, c, 200, { ["Transfer-Encoding"] = "chunked" }, true)
  t.assertErrorMsgContains("not the body's length", c.response, c, 200, { ["Content-Length"] = 2 }, "tea")
  t.assertErrorMsgContains("no body", c.response, c, 200, { ["Content-Length"] = 2 })
  t.assertErrorMsgContains("no number", c.response, c, 200, { ["Content-Length"] = "+3" }, "tea")
  t.assertErrorMsgContains("no body", c.response, c, 204, nil, "tea")
  t.assertErrorMsgContains("no body", c.response, c, 304, nil, true)
  t.assertErrorMsgContains("close, keep-alive and upgrade", c.response, c, 200, { Connection = "tea" })
  t.assertEquals(c:response(200, { ["content-length"] = "3" }, "tea"),
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntea")
  c = asked()
  t.assertEquals(c:response(200, { ["Content-Length"] = 3 }, true), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
  t.assertErrorMsgContains("longer", c.data, c, "teas")
end

function TestSend:test_connection_close_by_hand_ends_it()
  local c = asked()
  t.assertEquals(c:response(200, { Connection = "close" }, "x"),
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
  t.assertFalse(c:next_cycle())
  c = asked()
  c:must_close()
  t.assertStrContains(c:response(200), "Connection: close\r\n")
end

function TestSend:test_headers_are_sent_as_a_table_is()
  local table_, c = { A = "x", ["Set-Cookie"] = { "a", "b" } }, asked()
  local text = c:response(200, parsers.headers { { "A", "x" }, { "Set-Cookie", "a" }, { "Set-Cookie", "b" } })
  t.assertEquals(text, "HTTP/1.1 200 OK\r\nA: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n")
  t.assertEquals(#asked():response(200, table_), #text)
  t.assertEquals(asked():response(200, parsers.headers { Connection = "close" }),
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
  local _, request = server():feed(head(GET, HOST, "A:  b "))
  t.assertEquals(asked():response(200, request.headers),
    "HTTP/1.1 200 OK\r\nHost: h\r\nA: b\r\nContent-Length: 0\r\n\r\n")
end

function TestSend:test_a_request()
  local function request(...) return parsers.http({ role = "client" }):request(...) end
  t.assertEquals(request("GET", "/", "h", { A = "b" }), "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n")
  t.assertEquals(request("POST", "/", "h"), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
  t.assertEquals(request("PUT", "/", "h", nil, "tea"), "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\ntea")
  t.assertEquals(request("PUT", "/", "h", nil, true),
    "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
  t.assertEquals(request("GET", "/", "h", { Host = "other" }), "GET / HTTP/1.1\r\nHost: other\r\n\r\n")
  t.assertEquals(request("GET", "/", nil, { Upgrade = "tea", Host = "x" }):sub(-22),
    ("Connection: upgrade\r\n\r\n"):sub(-22))
  t.assertErrorMsgContains("no host", request, "GET", "/")
  t.assertErrorMsgContains("#2", request, "GET", "tea", "h")
  t.assertErrorMsgContains("twice", request, "GET", "/", "h", { { "Host", "a" }, { "Host", "b" } })
end

function TestSend:test_an_answer_that_is_not_final()
  local c = asked()
  t.assertEquals(c:informational(100), "HTTP/1.1 100 Continue\r\n\r\n")
  t.assertEquals(c:informational(103, { Link = "a" }), "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
  t.assertEquals(asked("GET / HTTP/1.0"):informational(100), "")
  t.assertError(c.informational, c, 101)
  t.assertError(c.response, c, 100)
end

function TestSend:test_only_when_it_is_its_turn()
  local c = server()
  t.assertErrorMsgContains("no request", c.response, c, 200)
  t.assertErrorMsgContains("no body", c.data, c, "x")
  c:feed(head(GET, HOST))
  t.assertErrorMsgContains("not finished", c.next_cycle, c)
  c:response(200)
  t.assertErrorMsgContains("no request", c.response, c, 200)
  local peer = client()
  t.assertErrorMsgContains("not finished", peer.request, peer, "GET", "/", "h")
end

TestHeaders = {}

function TestHeaders:test_are_in_order_with_duplicates()
  local _, request = server():feed(head(GET, HOST, "B: 1", "A: 2", "b: 3"))
  local list = {}
  for name, value in pairs(request.headers) do list[#list + 1] = name .. "=" .. value end
  t.assertEquals(list, { "Host=h", "B=1", "A=2", "b=3" })
  t.assertEquals(#request.headers, 4)
  t.assertEquals({ request.headers.b, request.headers:get "B", request.headers.c }, { "1, 3", "1, 3", nil })
  t.assertEquals({ request.headers:all "b", request.headers:all "c" }, { { "1", "3" }, {} })
end

function TestHeaders:test_named_as_their_methods_are()
  local headers = parsers.headers { Get = "a", All = "b" }
  t.assertEquals({ headers:get "get", headers:get "ALL", headers.Get }, { "a", "b", "a" })
  t.assertEquals(type(headers.get), "function")
end

TestLimits = {}

--- What a server makes of bytes that come in pieces of that size: its events, as text.
local function outcome(bytes, size, opts)
  local c, list = server(opts), {}
  for i = 1, #bytes, size do
    local event = table.pack(c:feed(bytes:sub(i, i + size - 1)))
    while event[1] and event[1] ~= "paused" do
      for n = 2, event.n do event[n] = type(event[n]) == "table" and event[n].target or event[n] end
      local same = event[1] == "data" and list[#list] and list[#list]:find "^data"
      if same then list[#list] = list[#list] .. event[2]
      else list[#list + 1] = table.concat({ event[1], tostring(event[2]), tostring(event[3]),
        tostring(event[4]) }, " ") end
      if event[1] == "error" then return table.concat(list, "\n") end
      event = table.pack(c:next())
    end
  end
  return table.concat(list, "\n"):gsub("userdata: %S+", "")
end

local LIMITS = { max_line = 20, max_field_size = 20, max_header_size = 52, max_fields = 3, max_chunk_line = 8,
  max_trailer_size = 20 }

local function limits()
  local copy = {}
  for key, value in pairs(LIMITS) do copy[key] = value end
  return copy
end

function TestLimits:test_are_met_exactly()
  local path = ("a"):rep(20 - #"GET / HTTP/1.1")
  takes(head("GET /" .. path .. " HTTP/1.1", HOST), limits())
  refuses(414, head("GET /" .. path .. "a HTTP/1.1", HOST), "first line", limits())
  takes(head(GET, HOST, "A: " .. ("b"):rep(17)), limits())
  refuses(431, head(GET, HOST, "A: " .. ("b"):rep(18)), "field is too long", limits())
  takes(head(GET, HOST, "A: b", "A: b"), limits())
  refuses(431, head(GET, HOST, "A: b", "A: b", "A: b"), "too many", limits())
  local rest = 52 - #head(GET, HOST, "A: ", "B: ")
  takes(head(GET, HOST, "A: " .. ("b"):rep(rest - 5), "B: bbbbb"), limits())
  refuses(431, head(GET, HOST, "A: " .. ("b"):rep(rest - 5), "B: bbbbbb"), "head is too large", limits())
end

function TestLimits:test_are_the_same_however_bytes_come()
  local rnd = t.testing.random or math.random
  local parts = { GET, POST, HOST, "A: b", "A: bbbbbbbbbbbbbbbb", "A: bbbbbbbbbbbbbbbbb",
    "A: bbbbbbbbbbbbbbbbbb", "", "",
    "Transfer-Encoding: chunked", "5", "5;aaaaaa", "5;aaaaaaa", "hello", "0", "GET /aaaaaa HTTP/1.1",
      "GET /aaaaaaa HTTP/1.1" }
  for _ = 1, t.count(3000) do
    local lines = { rnd(2) == 1 and POST or parts[rnd(#parts)], HOST }
    if rnd(2) == 1 then lines[#lines + 1] = "Transfer-Encoding: chunked" lines[#lines + 1] = "" end
    for _ = 1, rnd(6) do lines[#lines + 1] = parts[rnd(#parts)] end
    local bytes = head(table.unpack(lines)):sub(1, rnd(4) == 1 and rnd(80) or -1)
    local whole = outcome(bytes, #bytes, limits())
    for _, size in ipairs { 1, 2, rnd(3, 30) } do t.assertEquals(outcome(bytes, size, limits()), whole, bytes) end
  end
end

TestTogether = {}

local function random_text(most)
  local bytes = {}
  for i = 1, math.random(0, most) do bytes[i] = string.char(math.random(0, 255)) end
  return table.concat(bytes)
end

local function random_fields()
  local list = {}
  for i = 1, math.random(0, 5) do list[i] = { "X-" .. math.random(3), random_text(20):gsub("[%c%s\127]", "v") } end
  return list
end

--- What a side says, its head first: a body that is a string, of a length, or of none, in pieces.
local function said(c, body, begin)
  local kind, out = math.random(3), {}
  if kind == 1 then return table.concat { begin(body) } end
  out[1] = begin(kind == 2 and #body or true)
  for at = 1, #body, 500 do table.move({ c:data(body:sub(at, at + 499)) }, 1, 3, #out + 1, out) end
  local _, last = pcall(c.last, c) -- where nothing was to come it is done
  if c:states() ~= "done" or last == "0\r\n\r\n" then out[#out + 1] = last end
  return table.concat(out)
end

--- The other side reads it in pieces: the head, and the body.
local function heard(c, bytes)
  local found, body, over, at = nil, {}, false, 1
  while at <= #bytes do
    local size = math.random(1, 900)
    local event, value = c:feed(bytes:sub(at, at + size - 1))
    while event and event ~= "paused" do
      t.assertNotEquals(event, "error", value)
      if event == "data" then body[#body + 1] = value
      elseif event == "end" then over = true
      else found, over = value, not value.body end
      event, value = c:next()
    end
    at = at + size
  end
  t.assertTrue(over)
  return found, table.concat(body)
end

local function same_fields(headers, list)
  local n = 0
  for name, value in pairs(headers) do
    local field = list[n + 1]
    if field and name == field[1] then
      t.assertEquals(value, field[2])
      n = n + 1
    end
  end
  t.assertEquals(n, #list)
end

function TestTogether:test_what_one_side_says_the_other_hears()
  local mine, theirs = parsers.http { role = "client" }, server()
  for _ = 1, t.count(400) do
    local list, body = random_fields(), random_text(2000)
    local request, got = heard(theirs, said(mine, body, function(form)
      return mine:request("PUT", "/tea", "h", list, form)
    end))
    t.assertEquals(got, body)
    same_fields(request.headers, list)
    list, body = random_fields(), random_text(2000)
    local response
    response, got = heard(mine, said(theirs, body, function(form) return theirs:response(200, list, form) end))
    t.assertEquals(got, body)
    same_fields(response.headers, list)
    t.assertTrue(mine:next_cycle() and theirs:next_cycle())
  end
end

function TestTogether:test_whatever_is_called_nothing_breaks()
  local states = "idle send_response send_body done must_close closed error might_switch_protocol switched_protocol"
  for _ = 1, t.count(300) do
    local c = parsers.http { role = math.random(2) == 1 and "client" or "server",
      max_header_size = math.random(10, 400) }
    local methods = {}
    for name in pairs(getmetatable(c).methods) do methods[#methods + 1] = name end
    table.sort(methods)
    local values = { head(GET, HOST), head(POST, HOST, "Content-Length: 3") .. "abc", "GET", "POST", "/", "h",
      200, 100, 304, true,
      false, {}, { A = "b" }, { Connection = "close" }, 5, 0, "", "x", head "HTTP/1.1 200 OK",
      parsers.headers { A = 1 } }
    for _ = 1, 40 do
      local arguments = {}
      for i = 1, 5 do arguments[i] = values[math.random(#values)] end
      pcall(c[methods[math.random(#methods)]], c, table.unpack(arguments, 1, math.random(0, 5)))
      local a, b = c:states()
      t.assertTrue(states:find(a, 1, true) and states:find(b, 1, true) and c:pending() >= 0)
    end
  end
end

TestSmuggling = {}

for _, case in ipairs(require "http.smuggling") do
  local name, status, bytes, requests = table.unpack(case)
  TestSmuggling["test_" .. name:gsub("%W+", "_")] = function()
    if status then return refuses(status, bytes) end
    local c, found = server(), {}
    local event, request = c:feed(bytes)
    while event and event ~= "paused" do
      if event == "request" then found[#found + 1] = request.method .. " " .. request.target end
      event, request = c:next()
      if event == "paused" then
        c:response(200)
        if c:next_cycle() then event, request = c:next() end
      end
    end
    t.assertEquals(found, requests)
  end
end

t.finish()
