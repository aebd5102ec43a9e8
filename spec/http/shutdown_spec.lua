-- shutdown_spec.lua - an HTTP server's end in good order: no answer is lost.
local t = require "helper"
local site = require "http.site"

local asyncio = t.asyncio

local GET = "GET / HTTP/1.1\nHost: here\n\n"

local function working()
  asyncio.sleep(1)
  return "done"
end

TestShutdown = {}

function TestShutdown:test_ends_connections_that_wait_for_a_request_at_once()
  t.run(function()
    local server <close> = site.serve "x"
    local client <close> = site.client(server)
    client:ask(GET)
    asyncio.sleep(1)
    local start = asyncio.time()
    local shutdown = asyncio.create_task(server.shutdown, server)
    t.assertEquals(client:rest(), "")
    t.assertEquals(asyncio.time(), start)
    t.assertEquals(asyncio.await(shutdown), 0)
  end)
end

function TestShutdown:test_answers_requests_that_have_begun_and_says_that_they_were_the_last()
  t.run(function()
    local server <close> = site.serve(working)
    local client <close> = site.client(server)
    client:send(GET, GET)
    asyncio.sleep(0.5)
    local shutdown = asyncio.create_task(server.shutdown, server)
    local answer = client:answer()
    t.assertEquals({ answer.body, answer.headers.connection }, { "done", "close" })
    t.assertEquals(client:rest(), "")
    t.assertEquals(asyncio.await(shutdown), 0)
  end)
end

function TestShutdown:test_reads_a_request_that_has_begun_to_its_end()
  t.run(function()
    local server <close> = site.serve(function(request) return request:read() end)
    local head <close> = site.client(server)
    local body <close> = site.client(server)
    head:send "POST / HTTP/1.1\nHo"
    body:send "POST / HTTP/1.1\nHost: here\nContent-Length: 5\n\nhe"
    asyncio.sleep(1)
    local shutdown = asyncio.create_task(server.shutdown, server, 30)
    asyncio.sleep(1)
    for _, answer in ipairs {
      head:ask "st: here\nContent-Length: 5\n\nhello", body:ask "llo",
    } do
      t.assertEquals({ answer.body, answer.headers.connection }, { "hello", "close" })
    end
    t.assertEquals(asyncio.await(shutdown), 0)
  end)
end

function TestShutdown:test_hears_who_has_just_connected_or_got_an_answer()
  t.run(function()
    local server <close> = site.serve "x"
    local new <close> = site.client(server)
    local asking <close> = site.client(server)
    asyncio.sleep(1)
    local newer <close> = site.client(server)
    t.until_blocked()
    asking:ask(GET)
    local shutdown = asyncio.create_task(server.shutdown, server)
    asyncio.sleep(0.02)
    t.assertEquals(asking:ask(GET).headers.connection, "close")
    t.assertEquals(newer:ask(GET).body, "x")
    for _, client in ipairs { asking, newer, new } do
      t.assertEquals(client:rest(), "")
      client.writer:close()
    end
    t.assertEquals(asyncio.await(shutdown), 0)
  end)
end

function TestShutdown:test_ends_a_stream_of_pieces_after_its_grace_only()
  t.run(function()
    local cancelled = false
    local server <close> = site.serve(function(request)
      local body = request:respond()
      local ok, err = pcall(function()
        while true do
          body:send "tick"
          asyncio.sleep(0.7)
        end
      end)
      cancelled = not ok and asyncio.isinstance(err, asyncio.CancelledError)
      error(err, 0)
    end)
    local client <close> = site.client(server)
    client:send(GET)
    asyncio.sleep(1)
    local start = asyncio.time()
    t.assertEquals(server:shutdown(5), 1)
    t.assertAlmostEquals(asyncio.time() - start, 5, 0.1)
    t.assertTrue(cancelled)
  end)
end

function TestShutdown:test_tells_the_next_protocol_by_an_end()
  t.run(function()
    local server <close> = site.serve(function(request)
      local reader, writer = request:upgrade "tea"
      t.assertNil(reader:readline())
      writer:send "bye\n"
    end)
    local client <close> = site.client(server)
    client:ask "GET / HTTP/1.1\nHost: here\nConnection: upgrade\nUpgrade: tea\n\n"
    asyncio.sleep(1)
    t.assertEquals(server:shutdown(), 0)
    t.assertEquals(client:rest(), "bye\n")
  end)
end

function TestShutdown:test_of_a_server_that_is_asked_from_all_sides_loses_no_answer()
  t.real(function()
    local handled = 0
    local server <close> = site.serve(function()
      handled = handled + 1
      return tostring(handled)
    end)
    local answered, broken, closing = 0, 0, false
    local function ask(client) -- until the server says that it was the last, or ends between two
      while true do
        if not pcall(client.send, client, GET) then return end
        local ok, answer = pcall(client.answer, client)
        if not ok then broken = broken + 1 end
        if not ok or not answer then return end
        answered = answered + 1
        if answer.headers.connection then return end
      end
    end
    local tasks = {}
    for i = 1, t.count(40) do
      tasks[i] = asyncio.create_task(function()
        local client <close> = site.client(server)
        ask(client)
      end)
    end
    t.wait_until(function() return handled > t.count(2000) end)
    closing = server:shutdown(20)
    asyncio.wait(tasks)
    t.assertEquals(closing, 0)
    t.assertEquals({ answered, broken }, { handled, 0 })
  end)
end

t.finish()
