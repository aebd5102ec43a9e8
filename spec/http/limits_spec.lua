-- limits_spec.lua - what a client may not do to a server: too much, too slowly, or against the rules.
local t = require "helper"
local site = require "http.site"

local asyncio = t.asyncio

local GET = "GET / HTTP/1.1\nHost: here\n\n"

local function seconds_since(start) return asyncio.time() - start end

TestTimes = {}

function TestTimes:test_of_a_head_are_counted_as_a_whole_from_the_connection_on()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    local start = asyncio.time()
    local task = asyncio.create_task(function() -- slowly, but never silent
      while true do
        client.writer:send "X"
        asyncio.sleep(1)
      end
    end)
    client:send "GET / HTTP/1.1\n"
    t.assertEquals(client:answer().status, 408)
    t.assertAlmostEquals(seconds_since(start), 10, 1)
    task:stop()
  end)
end

function TestTimes:test_of_a_later_head_are_counted_from_its_first_byte()
  t.run(function()
    local server <close> = site.serve("x", { header_timeout = 3 })
    local client <close> = site.client(server)
    client:ask(GET)
    asyncio.sleep(50)
    client:send "G"
    asyncio.sleep(2)
    t.assertEquals(client:ask("ET / HTTP/1.1\nHost: here\n\n").body, "x")
    local start = asyncio.time()
    t.assertEquals(client:ask("G").status, 408)
    t.assertAlmostEquals(seconds_since(start), 3, 0.4)
    t.assertEquals(client:rest(), "")
  end)
end

function TestTimes:test_of_silence_end_the_connection_silently()
  t.run(function()
    local server <close> = site.serve("x", { header_timeout = 3 })
    local client <close> = site.client(server)
    local start = asyncio.time()
    t.assertEquals(client:rest(), "")
    t.assertAlmostEquals(seconds_since(start), 3, 0.4)
  end)
end

function TestTimes:test_between_two_requests_are_75_s_unless_told()
  t.run(function()
    for seconds, opts in pairs {
      [75] = {}, [2] = { read_timeout = 2 }, [5] = { idle_timeout = 5 }, [200] = { idle_timeout = 200 },
    } do
      local server <close> = site.serve("x", opts)
      local client <close> = site.client(server)
      client:ask(GET)
      client:ask(GET)
      local start = asyncio.time()
      t.assertEquals(client:rest(), "")
      t.assertAlmostEquals(seconds_since(start), seconds, seconds / 10)
    end
  end)
end

function TestTimes:test_of_a_body_count_from_its_last_byte()
  t.run(function()
    local caught
    local server <close> = site.serve(function(request)
      local ok, err = asyncio.pcall(request.read, request)
      caught = not ok and err
      if not ok then error(err, 0) end
      return "fine"
    end, { body_timeout = 3 })
    local client <close> = site.client(server)
    client:send "POST / HTTP/1.1\nHost: here\nContent-Length: 5\n\n"
    for _ = 1, 5 do
      asyncio.sleep(2)
      client:send "x"
    end
    t.assertEquals(client:answer().body, "fine")
    local start = asyncio.time()
    t.assertEquals(client:ask("POST / HTTP/1.1\nHost: here\nContent-Length: 5\n\n1234").status, 408)
    t.assertAlmostEquals(seconds_since(start), 3, 0.4)
    t.assert_isinstance(caught, asyncio.TimeoutError)
    t.assertEquals({ caught.phase, caught.status }, { "body", 408 })
  end)
end

function TestTimes:test_do_not_run_while_the_handler_works()
  t.run(function()
    local server <close> = site.serve(function()
      asyncio.sleep(1000)
      return "late"
    end)
    local client <close> = site.client(server)
    t.assertEquals(client:ask(GET).body, "late")
    t.assertEquals(client:ask(GET).body, "late")
  end)
end

function TestTimes:test_of_a_client_that_takes_nothing_end_its_handler_quietly()
  t.real(function()
    local server <close> = site.serve(("x"):rep(30 * 2 ^ 20), { write_timeout = 0.2 })
    local client <close> = site.client(server)
    client:send(GET)
    t.wait_until(function() return server:stats().reset == 1 end)
  end)
end

TestSizes = {}

function TestSizes:test_of_the_head_are_16_kib_unless_told()
  t.run(function()
    local server <close> = site.serve "x"
    local function status(n) return site.status(server, "GET / HTTP/1.1\nX: " .. ("x"):rep(n)) end
    t.assertEquals(status(16000), 200)
    t.assertEquals(status(16400), 431)
  end)
end

function TestSizes:test_of_the_line_have_a_status_of_their_own()
  t.run(function()
    local server <close> = site.serve("x", { max_header_size = 1000 })
    local client <close> = site.client(server)
    t.assertEquals(site.status(server, "GET /" .. ("x"):rep(1000) .. " HTTP/1.1"), 414)
    client:send("GET /" .. ("x"):rep(2000)) -- without an end
    t.assertEquals(client:answer().status, 414)
    t.assertEquals(site.status(server, "GET /" .. ("x"):rep(900) .. " HTTP/1.1"), 200)
    t.assertEquals(site.status(server, "GET /" .. ("x"):rep(900) .. " HTTP/1.1\nX: " .. ("x"):rep(90)), 431)
  end)
end

function TestSizes:test_of_fields_are_128()
  t.run(function()
    local server <close> = site.serve "x"
    t.assertEquals(site.status(server, "GET / HTTP/1.1" .. ("\nX: x"):rep(127)), 200)
    t.assertEquals(site.status(server, "GET / HTTP/1.1" .. ("\nX: x"):rep(128)), 431)
  end)
end

function TestSizes:test_may_be_larger()
  t.run(function()
    local server <close> = site.serve("x", { max_header_size = 100000 })
    t.assertEquals(site.status(server, "GET /" .. ("x"):rep(40000) .. " HTTP/1.1\nX: " .. ("x"):rep(40000)), 200)
  end)
end

TestRules = {}

local BAD = {
  ["GET / HTTP/1.1\n\n"] = 400, -- no Host
  ["GET / HTTP/1.1\nHost: a\nHost: b\n\n"] = 400,
  ["GET / HTTP/2.0\nHost: a\n\n"] = 505,
  ["GET /\n\n"] = 400,
  ["GET / HTTP/1.1\nHost : a\n\n"] = 400,
  ["GET / HTTP/1.1\nHost: a\nX: a\n b\n\n"] = 400,
  ["GET / HTTP/1.1\nHost: a\nX: a\0b\n\n"] = 400,
  ["GET  / HTTP/1.1\nHost: a\n\n"] = 400,
  ["POST / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 2\n\nab"] = 400,
  ["POST / HTTP/1.1\nHost: a\nContent-Length: +1\n\na"] = 400,
  ["POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked\n\n0\n\n"] = 400,
  ["POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n0\n\n"] = 501,
  ["POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n0\n\n"] = 400,
}

function TestRules:test_broken_end_the_connection_with_a_status_and_nothing_more_is_parsed()
  t.run(function()
    local asked = 0
    local server <close> = site.serve(function()
      asked = asked + 1
      return "x"
    end)
    for request, status in pairs(BAD) do
      local client <close> = site.client(server)
      client:send(request, GET)
      local answer = client:answer()
      t.assertEquals({ request, answer.status }, { request, status })
      t.assertEquals(answer.headers.connection, "close")
      t.assertEquals(client:rest(), "")
    end
    t.assertEquals(asked, 0)
  end)
end

function TestRules:test_forbid_line_ends_that_are_none()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    client.writer:send "GET / HTTP/1.1\nHost: here\n\n"
    t.assertEquals(client:answer().status, 400)
  end)
end

function TestRules:test_allow_one_empty_line_before_a_request()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    client:ask("\n" .. GET)
    t.assertEquals(client:ask("\n" .. GET).body, "x")
  end)
end

function TestRules:test_broken_after_a_good_request_do_not_cost_its_answer()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    client:send(GET, "what?\n\n")
    t.assertEquals({ client:answer().status, client:answer().status }, { 200, 400 })
    t.assertEquals(client:rest(), "")
  end)
end

function TestRules:test_a_request_that_is_cut_is_answered_with_nothing_but_400()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    client:send "GET / HTTP/1.1\nHo"
    client.writer:write_eof()
    t.assertEquals(client:answer().status, 400)
    t.assertEquals(client:rest(), "")
  end)
end

t.finish()
