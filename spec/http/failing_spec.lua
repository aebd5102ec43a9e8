-- failing_spec.lua - handlers that fail, clients that leave, and the access log, which tells of both.
local t = require "helper"
local site = require "http.site"

local asyncio = t.asyncio
local http = require "asyncio.http"

local GET = "GET / HTTP/1.1\nHost: here\n\n"

TestFailure = {}

function TestFailure:test_of_a_handler_is_reported_and_answered_500()
  t.run(function(reports)
    local fails = true
    local server <close> = site.serve(function()
      if fails then error "sour milk" end
      return "fine"
    end)
    local client <close> = site.client(server)
    local answer = client:ask(GET)
    t.assertEquals({ answer.status, answer.body }, { 500, "500 Internal Server Error\n" })
    local report = t.take_report(reports, "an HTTP request's handler failed: GET /")
    t.assertStrContains(report.exception, "sour milk")
    t.assertStrContains(report.traceback, "failing_spec.lua")
    fails = false
    t.assertEquals(client:ask(GET).body, "fine") -- the connection goes on
    t.assertEquals(server:stats().failed, 0)
  end)
end

function TestFailure:test_with_a_status_is_the_answer_and_not_reported()
  t.run(function()
    local Sold = asyncio.Error:subclass "Sold"
    local server <close> = site.serve(function(request)
      if request.path == "/abort" then http.abort(404, "no tea\n", { ["X-Try"] = "coffee" }) end
      if request.path == "/bare" then http.abort(405, nil, { Allow = "GET" }) end
      if request.path == "/moved" then http.abort(302, "", { Location = "/new" }) end
      if request.path == "/304" then http.abort(304, nil, { ETag = '"x"' }) end
      if request.path == "/table" then error { status = 409 } end
      error(Sold { message = "sold out", status = 410 })
    end)
    local client <close> = site.client(server)
    local function ask(path) return client:ask(("GET %s HTTP/1.1\nHost: here\n\n"):format(path)) end
    local answer = ask "/abort"
    t.assertEquals({ answer.status, answer.body, answer.headers["x-try"] }, { 404, "no tea\n", "coffee" })
    t.assertEquals(answer.headers["content-type"], "text/plain; charset=utf-8")
    t.assertEquals(ask "/bare".body, "405 Method Not Allowed\n")
    t.assertEquals(ask "/moved".headers.location, "/new")
    t.assertEquals(ask "/304".headers.etag, '"x"')
    t.assertEquals({ ask "/table".status, ask "/".status }, { 409, 410 })
  end)
end

function TestFailure:test_by_values_of_all_kinds_is_500()
  t.run(function(reports)
    local value
    local server <close> = site.serve(function() error(value, 0) end)
    for _, each in ipairs { 5, true, {}, { status = "404" }, { status = 5 }, { status = 200 }, print } do
      value = each
      t.assertEquals(site.ask(server, GET).status, 500)
      t.assertEquals(t.take_report(reports, "failed").exception, each)
    end
  end)
end

function TestFailure:test_after_the_answer_began_is_no_clean_end()
  t.run(function(reports)
    local server <close> = site.serve(function(request)
      local body = request:respond()
      body:send "half"
      asyncio.sleep(1)
      http.abort(404)
    end)
    local client <close> = site.client(server)
    client:send(GET)
    t.assertStrContains(client.reader:readuntil "half\r\n", "200 OK")
    t.assert_raises(asyncio.ConnectionResetError, client.reader.read, client.reader)
    t.take_report(reports, "failed")
  end)
end

function TestFailure:test_by_a_cancellation_is_no_clean_end()
  t.run(function()
    local task
    local server <close> = site.serve(function(request)
      task = asyncio.current_task()
      request:respond():send "half"
      asyncio.sleep(100)
    end)
    local client <close> = site.client(server)
    client:send "GET / HTTP/1.0\n\n"
    client.reader:readuntil "half"
    task:cancel()
    t.assert_raises(asyncio.ConnectionResetError, client.reader.read, client.reader)
  end)
end

function TestFailure:test_of_a_body_is_no_clean_end_either()
  t.run(function(reports)
    local server <close> = site.serve(function()
      local n = 0
      return { body = function()
        n = n + 1
        if n == 3 then error "no more" end
        asyncio.sleep(1)
        return "x"
      end }
    end)
    local client <close> = site.client(server)
    client:send(GET)
    t.assertFalse((pcall(client.answer, client)))
    t.take_report(reports, "failed")
  end)
end

function TestFailure:test_of_a_body_closes_what_it_came_of()
  t.run(function(reports)
    local closed = 0
    local body = { read = function() error "no more" end, close = function() closed = closed + 1 end }
    local server <close> = site.serve(function() return { body = body } end)
    local client <close> = site.client(server)
    client:send(GET)
    t.assertFalse((pcall(client.answer, client)))
    t.take_report(reports, "failed")
    t.assertEquals(closed, 1)
    t.assertEquals(site.ask(server, "HEAD / HTTP/1.1\nHost: here\n\n", true).status, 200)
    t.assertEquals(closed, 2)
  end)
end

function TestFailure:test_by_another_connection_that_breaks_is_one_of_the_program()
  t.run(function(reports)
    local backend <close> = asyncio.start_server(function(_, writer) writer:abort() end, "127.0.0.1", 0)
    local server <close> = site.serve(function()
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", site.port(backend))
      writer:write "x"
      reader:read()
    end)
    t.assertEquals(site.ask(server, GET).status, 500)
    t.take_report(reports, "failed")
  end)
end

TestLeaving = {}

function TestLeaving:test_of_a_client_ends_its_handler_at_the_next_piece_quietly()
  t.run(function()
    local reached = false
    local server <close> = site.serve(function(request)
      local body = request:respond()
      for _ = 1, 10 do
        body:send "tick"
        asyncio.sleep(1)
      end
      reached = true
    end)
    local client <close> = site.client(server)
    client:send(GET)
    client.reader:readuntil "tick"
    client.writer:abort()
    asyncio.sleep(20)
    t.assertFalse(reached)
    local stats = server:stats()
    t.assertEquals({ stats.reset, stats.failed, stats.connections }, { 1, 0, 0 })
  end)
end

function TestLeaving:test_of_a_client_before_its_answer_is_quiet()
  t.run(function()
    local server <close> = site.serve(function()
      asyncio.sleep(1)
      return "late"
    end)
    local client <close> = site.client(server)
    client:send(GET)
    t.until_blocked()
    client.writer:abort()
    asyncio.sleep(5)
    t.assertEquals({ server:stats().connections, server:stats().failed }, { 0, 0 })
  end)
end

function TestLeaving:test_between_two_requests_is_quiet()
  t.run(function()
    local server <close> = site.serve "x"
    for _, how in ipairs { "abort", "close" } do
      local client <close> = site.client(server)
      client:ask(GET)
      client.writer[how](client.writer)
      asyncio.sleep(1)
      t.assertEquals({ server:stats().connections, server:stats().failed }, { 0, 0 })
    end
  end)
end

function TestLeaving:test_in_the_middle_of_a_head_or_a_body_is_quiet()
  t.run(function()
    local server <close> = site.serve(function(request) return request:read() end)
    for _, text in ipairs { "GET / HT", "POST / HTTP/1.1\nHost: here\nContent-Length: 5\n\nab" } do
      local client <close> = site.client(server)
      client:send(text)
      t.until_blocked()
      client.writer:abort()
      asyncio.sleep(5)
      t.assertEquals({ server:stats().connections, server:stats().failed }, { 0, 0 })
    end
  end)
end

TestLog = {}

function TestLog:test_gives_an_entry_for_each_answer_to_a_function()
  t.run(function()
    local entries = {}
    local server <close> = site.serve(function(request)
      asyncio.sleep(1)
      if request.path == "/no" then http.abort(404, "none") end
      if request.path == "/head" then return "" end
      return { body = coroutine.wrap(function() coroutine.yield "abc"; coroutine.yield "de" end) }
    end, { access_log = function(entry) entries[#entries + 1] = entry end })
    local client <close> = site.client(server)
    client:ask "GET /a?b HTTP/1.1\nHost: here\nUser-Agent: tea/1\nReferer: there\n\n"
    client:ask "POST /no HTTP/1.1\nHost: here\nContent-Length: 0\n\n"
    client:ask "what?\n\n"
    t.assertEquals(#entries, 3)
    local entry = entries[1]
    t.assertEquals({ entry.method, entry.target, entry.version, entry.host }, { "GET", "/a?b", "1.1", "here" })
    t.assertEquals({ entry.status, entry.bytes, entry.peer }, { 200, 5, "127.0.0.1" })
    t.assertEquals({ entry.user_agent, entry.referer }, { "tea/1", "there" })
    t.assertAlmostEquals(entry.seconds, 1, 0.01)
    t.assertEquals({ entries[2].status, entries[2].bytes, entries[3].status }, { 404, 4, 400 })
  end)
end

function TestLog:test_tells_of_answers_that_were_cut_and_of_clients_that_left()
  t.run(function(reports)
    local entries = {}
    local server <close> = site.serve(function(request)
      local body = request:respond()
      body:send "half"
      asyncio.sleep(1)
      if request.path == "/fails" then error "no more" end
      for _ = 1, 3 do
        body:send "more"
        asyncio.sleep(1)
      end
    end, { access_log = function(entry) entries[#entries + 1] = entry end })
    for _, path in ipairs { "/fails", "/left" } do
      local client <close> = site.client(server)
      client:send("GET " .. path .. " HTTP/1.1\nHost: here\n\n")
      client.reader:readuntil "half"
      if path == "/left" then client.writer:abort() end
      asyncio.sleep(10)
    end
    t.take_report(reports, "failed")
    t.assertEquals({ #entries, entries[1].target, entries[1].status, entries[1].bytes, entries[2].target },
      { 2, "/fails", 200, 4, "/left" })
  end)
end

function TestLog:test_writes_lines_that_no_client_can_forge()
  t.run(function()
    local reader, writer, other_reader, other_writer = asyncio.stream_pair()
    local server <close> = site.serve("hello", { access_log = writer })
    site.ask(server, 'GET /"x HTTP/1.1\nHost: here\nUser-Agent: a"\\\xe4b\tc\n\n')
    local line = other_reader:readline()
    t.assertStrMatches(line, '127%.0%.0%.1 %- %- %[%d+/%a+/%d+:%d+:%d+:%d+ %+0000%] "GET /\\x22x HTTP/1.1" 200 5 "%-" '
      .. '"a\\x22\\x5c\\xe4b\\x09c" %d%.%d+\n')
    t.assertNotNil(reader)
    writer:close()
    other_writer:close()
  end)
end

function TestLog:test_that_fails_is_reported_and_costs_no_answer()
  t.run(function(reports)
    local server <close> = site.serve("hello", { access_log = function() error "full" end })
    t.assertEquals(site.ask(server, GET).body, "hello")
    t.take_report(reports, "an access log failed")
  end)
end

function TestLog:test_goes_to_stderr()
  local program = [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local http = require "asyncio.http"
      local server <close> = http.serve(function() return "x" end, "127.0.0.1", 0, { access_log = true })
      local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
      writer:send "GET / HTTP/1.0\r\n\r\n"
      reader:read()
      server:close()
    end)]]
  local _, err, code = t.lua(program)
  t.assertEquals(code, 0)
  t.assertStrContains(err, '"GET / HTTP/1.0" 200 1')
end

t.finish()
