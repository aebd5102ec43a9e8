-- client_pool_spec.lua - http.Client: which connection a request goes by, and what becomes of it.
local t = require "helper"
local raw = require "http.raw"

local asyncio = t.asyncio
local http = asyncio.http

--- Calls fn(client, url, seen): seen[i] is the number of the connection by which the i-th request came.
local function pooled(opts, fn, answer, clock)
  local seen = {}
  raw.with(function(request, writer, reader, number)
    seen[#seen + 1] = number
    if answer then return answer(request, writer, reader, number) end
    return raw.answer(request.target)
  end, function(url, server)
    opts.base_url = url
    local client <close> = http.Client(opts)
    fn(client, url, seen, server)
  end, clock)
end

local function state(client) return tostring(client):match "^asyncio%.Client: (.*)$" end

TestReuse = {}

function TestReuse:test_one_connection_does_for_one_after_the_other()
  pooled({}, function(client, _, seen)
    for i = 1, 5 do t.assertEquals(client:get("/" .. i):read(), "/" .. i) end
    t.assertEquals(seen, { 1, 1, 1, 1, 1 })
    t.assertEquals(state(client), "1 idle, 0 in use, 0 waiting")
  end)
end

function TestReuse:test_a_body_that_came_with_its_head_need_not_be_read()
  pooled({}, function(client, _, seen)
    local first = client:get "/1"
    t.assertEquals(client:get("/2").status, 200)
    t.assertEquals({ first:read(), seen }, { "/1", { 1, 1 } })
  end)
end

function TestReuse:test_an_unread_body_keeps_its_connection_until_it_is_read()
  pooled({}, function(client, _, seen)
    local first = client:get "/"
    t.assertEquals(state(client), "0 idle, 1 in use, 0 waiting")
    client:get("/"):close()
    t.assertEquals(state(client), "0 idle, 1 in use, 0 waiting")
    t.assertEquals(#first:read(), 100000)
    t.assertEquals(state(client), "1 idle, 0 in use, 0 waiting")
    t.assertEquals(seen, { 1, 2 })
  end, function() return raw.answer(("x"):rep(100000)) end)
end

function TestReuse:test_what_the_server_closes_is_not_kept()
  for _, words in ipairs { "HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.0 200 OK\r\n" } do
    pooled({}, function(client, _, seen)
      t.assertEquals({ client:get("/"):read(), client:get("/"):read() }, { "tea", "tea" })
      t.assertEquals({ seen, state(client) }, { { 1, 2 }, "0 idle, 0 in use, 0 waiting" })
    end, function() return words .. "Content-Length: 3\r\n\r\ntea" end)
  end
end

function TestReuse:test_what_has_no_length_is_not_kept()
  pooled({}, function(client, _, seen)
    t.assertEquals({ client:get("/"):read(), client:get("/"):read() }, { "tea", "tea" })
    t.assertEquals(seen, { 1, 2 })
  end, raw.once "HTTP/1.1 200 OK\r\n\r\ntea")
end

function TestReuse:test_a_one_zero_server_that_keeps_it_is_believed()
  pooled({}, function(client, _, seen)
    t.assertEquals({ client:get("/"):read(), client:get("/"):read() }, { "tea", "tea" })
    t.assertEquals(seen, { 1, 1 })
  end, function() return "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\ntea" end)
end

function TestReuse:test_other_hosts_have_other_connections()
  pooled({}, function(client, url, seen)
    client:get("/"):read()
    client:get(url:gsub("127%.0%.0%.1", "localhost") .. ""):read()
    client:get("/"):read()
    t.assertEquals(seen, { 1, 2, 1 })
  end, nil, "real")
end

function TestReuse:test_bytes_that_nobody_asked_for_end_a_connection()
  pooled({}, function(client, _, seen)
    t.assertEquals(client:get("/1"):read(), "tea")
    t.assertEquals(client:get("/2"):read(), "tea")
    t.assertEquals(seen, { 1, 2 })
  end, function() return raw.answer "tea" .. raw.answer "unasked" end)
end

function TestReuse:test_such_bytes_that_come_later_do_so_too()
  pooled({}, function(client, _, seen)
    t.assertEquals(client:get("/1"):read(), "tea")
    asyncio.sleep(1)
    t.assertEquals(client:get("/2"):read(), "tea")
    t.assertEquals(seen, { 1, 2 })
  end, function(_, writer)
    writer:send(raw.answer "tea")
    asyncio.sleep(0.5)
    writer:send(raw.answer "unasked")
  end)
end

-- Age ------------------------------------------------------------------------------------------------

TestAge = {}

function TestAge:test_an_idle_connection_is_kept_for_so_long()
  pooled({ keepalive_timeout = 10 }, function(client, _, seen)
    for _, pause in ipairs { 0, 9.9, 9.9, 10.1 } do
      asyncio.sleep(pause)
      client:get("/"):read()
    end
    t.assertEquals(seen, { 1, 1, 1, 2 })
    asyncio.sleep(10.1)
    t.assertEquals(state(client), "0 idle, 0 in use, 0 waiting")
  end)
end

function TestAge:test_unless_the_server_says_that_it_wont_be()
  pooled({ keepalive_timeout = 10 }, function(client, _, seen)
    for _, pause in ipairs { 0, 2.9, 3.1 } do
      asyncio.sleep(pause)
      client:get("/"):read()
    end
    t.assertEquals(seen, { 1, 1, 2 })
  end, function() return raw.answer("tea", "Keep-Alive: max=100, timeout=5\r\n") end)
end

function TestAge:test_without_an_option_the_server_says_how_long()
  pooled({}, function(client, _, seen)
    for _, pause in ipairs { 0, 57, 59 } do
      asyncio.sleep(pause)
      client:get("/"):read()
    end
    t.assertEquals(seen, { 1, 1, 2 })
  end, function() return raw.answer("tea", "Keep-Alive: timeout=60\r\n") end)
end

function TestAge:test_a_server_that_keeps_it_for_a_moment_gets_a_new_one()
  pooled({}, function(client, _, seen)
    client:get("/"):read()
    client:get("/"):read()
    t.assertEquals(seen, { 1, 2 })
  end, function() return raw.answer("tea", "Keep-Alive: timeout=2\r\n") end)
end

function TestAge:test_zero_keeps_none()
  pooled({ keepalive_timeout = 0 }, function(client, _, seen)
    client:get("/"):read()
    client:get("/"):read()
    t.assertEquals({ seen, state(client) }, { { 1, 2 }, "0 idle, 0 in use, 0 waiting" })
  end)
end

-- Stale ----------------------------------------------------------------------------------------------

TestStale = {}

function TestStale:test_one_that_the_server_has_closed_is_not_used()
  pooled({}, function(client, _, seen)
    t.assertEquals(client:post("/", { body = "1" }):read(), "tea")
    asyncio.sleep(1)
    t.assertEquals(client:post("/", { body = "2" }):read(), "tea") -- not even POST notices
    t.assertEquals(seen, { 1, 2 })
  end, raw.once(raw.answer "tea"))
end

function TestStale:test_not_even_when_the_loop_has_not_seen_it_yet()
  local peers = require "peers"
  local socket = peers.luasocket()
  t.real(function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local url = ("http://127.0.0.1:%d/"):format(select(2, listener:getsockname()))
    local client <close> = http.Client()
    local first = asyncio.create_task(function() return client:post(url, { body = "x" }):read() end)
    asyncio.sleep(0)
    listener:settimeout(5)
    local peer = assert(asyncio.to_thread and listener:accept())
    peer:send(raw.answer "tea")
    t.assertEquals(asyncio.await(first), "tea")
    peer:close()
    os.execute "sleep 0.05" -- the loop does not turn
    local second = asyncio.create_task(function() return client:post(url, { body = "x" }):read() end)
    asyncio.sleep(0)
    peer = assert(listener:accept())
    peer:send(raw.answer "milk")
    t.assertEquals(asyncio.await(second), "milk")
    peer:close()
    listener:close()
  end)
end

--- A server whose connections each answer one request, and close without an answer when asked again.
local function dies(_, writer, _, number)
  if number == 1 then
    writer:send(raw.answer "first")
    return nil
  end
  return raw.answer "second"
end

local function dying()
  local asked = {}
  return function(request, writer, reader, number)
    asked[number] = (asked[number] or 0) + 1
    if asked[number] > 1 then return false end
    return dies(request, writer, reader, number)
  end
end

for _, method in ipairs { "GET", "HEAD", "PUT", "DELETE", "OPTIONS" } do
  TestStale["test_a_" .. method .. "_that_met_a_dying_connection_is_sent_once_more"] = function()
    pooled({}, function(client, _, seen)
      client:get("/"):read()
      local answer = client:request("/", { method = method, body = method == "PUT" and { "a", "b" } or nil })
      t.assertEquals({ answer.status, answer:read(), seen }, { 200, method == "HEAD" and "" or "second", { 1, 1, 2 } })
    end, dying())
  end
end

for _, method in ipairs { "POST", "PATCH", "BREW" } do
  TestStale["test_a_" .. method .. "_is_not"] = function()
    pooled({}, function(client, _, seen)
      client:get("/"):read()
      t.assert_raises(http.ProtocolError, client.request, client, "/", { method = method })
      t.assertEquals(seen, { 1, 1 })
    end, dying())
  end
end

function TestStale:test_a_body_that_cannot_be_repeated_is_not()
  pooled({}, function(client, _, seen)
    client:get("/"):read()
    local pieces = { "a" }
    t.assert_raises(http.ProtocolError, client.put, client, "/", { body = function() return table.remove(pieces) end })
    t.assertEquals(seen, { 1, 1 })
  end, dying())
end

function TestStale:test_on_a_new_connection_nothing_is_sent_again()
  pooled({}, function(client, _, seen)
    t.assert_raises(http.ProtocolError, client.get, client, "/")
    t.assertEquals(seen, { 1 })
  end, function() return false end)
end

function TestStale:test_and_not_once_a_byte_of_the_answer_has_come()
  local asked = 0
  pooled({}, function(client, _, seen)
    client:get("/"):read()
    t.assert_raises(http.ProtocolError, client.get, client, "/")
    t.assertEquals(seen, { 1, 1 })
  end, function(_, writer)
    asked = asked + 1
    if asked == 1 then return raw.answer "tea" end
    writer:send "HTTP"
    return false
  end)
end

function TestStale:test_the_second_attempt_is_the_last()
  local asked = 0
  pooled({}, function(client, _, seen)
    client:get("/"):read()
    t.assert_raises(http.ProtocolError, client.get, client, "/")
    t.assertEquals({ seen, state(client) }, { { 1, 1, 2 }, "0 idle, 0 in use, 0 waiting" })
  end, function()
    asked = asked + 1
    return asked == 1 and raw.answer "tea"
  end)
end

-- Limits ---------------------------------------------------------------------------------------------

TestLimits = {}

local function slowly(request)
  asyncio.sleep(1)
  return raw.answer(request.target)
end

function TestLimits:test_so_many_for_a_host_the_next_wait_in_line()
  pooled({ max_connections_per_host = 2 }, function(client, _, seen)
    local order, group <close> = {}, asyncio.TaskGroup()
    for i = 1, 6 do
      group:create_task(function()
        t.assertEquals(client:get("/" .. i):read(), "/" .. i)
        order[#order + 1] = i
      end)
    end
    asyncio.sleep(0.5)
    t.assertEquals(state(client), "0 idle, 2 in use, 4 waiting")
    asyncio.sleep(3)
    table.sort(seen)
    t.assertEquals({ order, seen }, { { 1, 2, 3, 4, 5, 6 }, { 1, 1, 1, 2, 2, 2 } })
    t.assertEquals(state(client), "2 idle, 0 in use, 0 waiting")
  end, slowly)
end

function TestLimits:test_so_many_in_all_the_longest_waiting_host_is_first()
  pooled({ max_connections = 1 }, function(client, url)
    local other, order, group <close> = url:gsub("127%.0%.0%.1", "localhost"), {}, asyncio.TaskGroup()
    for i, where in ipairs { url, url, other, url } do
      group:create_task(function()
        client:get(where .. i):read()
        order[#order + 1] = i
      end)
      asyncio.sleep(0.01)
    end
    t.assertEquals(state(client), "0 idle, 1 in use, 3 waiting")
    while #order < 4 do asyncio.sleep(0.1) end
    t.assertEquals(order, { 1, 2, 3, 4 })
    t.assertEquals(state(client), "1 idle, 0 in use, 0 waiting")
  end, slowly, "real")
end

function TestLimits:test_an_idle_one_of_another_host_makes_room()
  pooled({ max_connections = 1 }, function(client, url, seen)
    client:get("/"):read()
    client:get(url:gsub("127%.0%.0%.1", "localhost") .. ""):read()
    t.assertEquals({ seen, state(client) }, { { 1, 2 }, "1 idle, 0 in use, 0 waiting" })
  end, nil, "real")
end

function TestLimits:test_who_waits_and_is_cancelled_leaves_the_line()
  pooled({ max_connections = 1 }, function(client)
    local first = asyncio.create_task(function() return client:get("/1"):read() end)
    asyncio.sleep(0.1)
    local second = asyncio.create_task(function() return client:get("/2"):read() end)
    local third = asyncio.create_task(function() return client:get("/3"):read() end)
    asyncio.sleep(0.1)
    second:cancel()
    asyncio.wait { second }
    t.assertEquals(state(client), "0 idle, 1 in use, 1 waiting")
    t.assertEquals({ asyncio.gather(first, third) }, { "/1", "/3" })
    t.assertTrue(second:cancelled())
  end, slowly)
end

function TestLimits:test_who_was_served_and_is_cancelled_hands_it_on()
  pooled({ max_connections = 1 }, function(client)
    local answer = client:get "/1"
    local second = asyncio.create_task(function() return client:get("/2"):read() end)
    local third = asyncio.create_task(function() return client:get("/3"):read() end)
    asyncio.sleep(0.1)
    answer:read() -- the second has it, and hasn't run
    second:cancel()
    t.assertEquals(#asyncio.await(third), 70000)
    asyncio.wait { second }
    t.assertStrContains(state(client), " 0 in use, 0 waiting")
  end, function() return raw.answer(("x"):rep(70000)) end)
end

function TestLimits:test_who_is_cancelled_and_served_in_the_same_turn_gives_it_back_once()
  pooled({ max_connections = 1 }, function(client)
    local answer = client:get "/1"
    local second = asyncio.create_task(function() return client:get("/2"):read() end)
    asyncio.sleep(0.1)
    second:cancel()
    answer:read() -- the second is in the line still
    asyncio.wait { second }
    t.assertEquals(state(client), "1 idle, 0 in use, 0 waiting")
    local list = { client:get "/3" }
    local fourth = asyncio.create_task(function() list[2] = client:get "/4" end)
    asyncio.sleep(0.1)
    t.assertEquals(state(client), "0 idle, 1 in use, 1 waiting")
    list[1]:read()
    asyncio.await(fourth)
    t.assertEquals(#list[2]:read(), 70000)
  end, function() return raw.answer(("x"):rep(70000)) end)
end

function TestLimits:test_one_that_fails_to_connect_frees_its_place()
  t.real(function()
    local url = ("http://127.0.0.1:%d/"):format(require "peers".reserve_port())
    local client <close> = http.Client { max_connections = 1 }
    for _ = 1, 3 do t.assert_raises(asyncio.ConnectionRefusedError, client.get, client, url) end
    t.assertEquals(state(client), "0 idle, 0 in use, 0 waiting")
  end)
end

function TestLimits:test_a_forgotten_answer_is_found_when_somebody_waits()
  pooled({ max_connections = 1 }, function(client)
    client:get "/1"
    t.assertEquals(#client:get("/2"):read(), 100000)
    t.assertStrContains(state(client), " 0 in use, 0 waiting")
  end, function() return raw.answer(("x"):rep(100000)) end)
end

-- The end --------------------------------------------------------------------------------------------

TestClose = {}

function TestClose:test_closes_what_is_idle_and_refuses_further_requests()
  pooled({}, function(client)
    client:get("/"):read()
    client:close()
    client:close()
    t.assertEquals(state(client), "closed, 0 idle, 0 in use, 0 waiting")
    t.assert_raises(asyncio.ClosedError, client.get, client, "/")
  end)
end

function TestClose:test_what_is_under_way_may_end()
  pooled({}, function(client)
    local answer = client:get "/"
    client:close()
    t.assertEquals(#answer:read(), 100000)
    t.assertEquals(state(client), "closed, 0 idle, 0 in use, 0 waiting")
  end, function() return raw.answer(("x"):rep(100000)) end)
end

function TestClose:test_who_waits_gets_closederror()
  pooled({ max_connections = 1 }, function(client)
    local first = asyncio.create_task(function() return client:get("/1"):read() end)
    local second = asyncio.create_task(function() return client:get("/2"):read() end)
    asyncio.sleep(0.5)
    client:close()
    t.assertEquals(asyncio.await(first), "/1")
    t.assert_raises(asyncio.ClosedError, asyncio.await, second)
  end, slowly)
end

function TestClose:test_a_client_goes_on_in_the_next_loop()
  local client = http.Client()
  for _ = 1, 2 do
    raw.with(raw.answer "tea", function(url)
      t.assertEquals(client:get(url):read(), "tea")
      client:get(url):read()
      t.assertEquals(state(client), "1 idle, 0 in use, 0 waiting")
      asyncio.sleep(5)
    end)
  end
end

function TestClose:test_forgotten_it_and_its_answers_go_quietly()
  local out, errors = t.lua [[
    local asyncio = require "asyncio"
    warn "@on"
    local runner <close> = asyncio.Runner { debug = true }
    runner:run(function()
      local server <close> = asyncio.start_server(function(reader, writer)
        while asyncio.pcall(reader.readuntil, reader, "\r\n\r\n") and not reader:at_eof() do
          asyncio.pcall(writer.send, writer, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", ("x"):rep(100000))
        end
      end, "127.0.0.1", 0)
      local url = "http://" .. tostring(server:sockets()[1])
      local client = asyncio.http.Client()
      client:get(url):read()
      client:get(url)
      asyncio.http.get(url)
      asyncio.http.get(url):read(10)
      client = nil
      collectgarbage() collectgarbage()
      asyncio.sleep(0.01)
      answer = asyncio.http.get(url) -- and one that is there until the end
      server:abort_clients()
    end)
    print "done"]]
  t.assertEquals({ out, errors }, { "done\n", "" })
end

-- For all requests -----------------------------------------------------------------------------------

TestDefaults = {}

function TestDefaults:test_headers_of_the_client_are_in_each_request_unless_it_says_them_itself()
  local requests = {}
  pooled({ headers = { ["X-A"] = "1", ["X-B"] = { "2", "3" } } }, function(client)
    client:get("/"):read()
    client:get("/", { headers = { ["x-b"] = "4" } }):read()
    t.assertStrContains(requests[1].head, "X-A: 1\r\n")
    t.assertStrContains(requests[1].head, "X-B: 2\r\nX-B: 3\r\n")
    t.assertStrContains(requests[2].head, "x-b: 4\r\n")
    t.assertNotStrContains(requests[2].head, "X-B: 2")
    t.assertNil(requests[1].headers.connection)
  end, function(request)
    requests[#requests + 1] = request
    return raw.answer ""
  end)
end

function TestDefaults:test_urls_are_relative_to_base_url()
  raw.with(function(request) return raw.answer(request.target) end, function(url)
    local client <close> = http.Client { base_url = url .. "a/b?c" }
    t.assertEquals({ client:get("x"):read(), client:get("/x"):read(), client:get("?y"):read(), client:get(url):read() },
      { "/a/x", "/x", "/a/b?y", "/" })
  end)
end

function TestDefaults:test_credentials_go_to_base_urls_origin_only()
  local got = {}
  pooled({ auth = { "user", "secret" }, headers = { Cookie = "a=b", ["X-Tea"] = "green" } }, function(client, url)
    client:get("/"):read()
    client:get(url:gsub("127%.0%.0%.1", "localhost") .. ""):read()
    t.assertEquals(got, { { "Basic dXNlcjpzZWNyZXQ=", "a=b", "green" }, { nil, nil, "green" } })
  end, function(request)
    local h = request.headers
    got[#got + 1] = { h.authorization, h.cookie, h["x-tea"] }
    return raw.answer ""
  end, "real")
end

function TestDefaults:test_base_urls_own_credentials_are_the_clients()
  local got
  raw.with(function(request)
    got = request.headers.authorization
    return raw.answer ""
  end, function(url)
    local client <close> = http.Client { base_url = url:gsub("//", "//user:secret@") .. "" }
    client:get("x"):read()
    t.assertEquals(got, "Basic dXNlcjpzZWNyZXQ=")
  end)
end

t.finish()
