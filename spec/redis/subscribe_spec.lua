-- Subscriptions to Redis: messages in order, the end, and connections that are lost.
local t = require "helper"
local fake = require "redis.fake"
local server = require "redis.server"

local asyncio = t.asyncio

TestSubscription = {}
TestLostSubscription = {}

local function push(...)
  local out = { (">%d\r\n"):format(select("#", ...)) }
  for _, value in ipairs { ... } do
    out[#out + 1] = math.type(value) and (":%d\r\n"):format(value) or ("$%d\r\n%s\r\n"):format(#value, value)
  end
  return table.concat(out)
end

--- A handler that confirms, and then does what `fn(link, number)` does.
local function confirming(fn)
  return function(link, number)
    link:serve {
      SUBSCRIBE = function(command)
        for i = 2, #command do link:say(push("subscribe", command[i], i - 1)) end
        fn(link, number)
        return false
      end,
      PSUBSCRIBE = false,
      PING = function() link.pings = (link.pings or 0) + 1 return not link.deaf and "+PONG\r\n" end,
    }
  end
end

--- The connection of the client itself, and then those of subscriptions.
local function with(handlers, fn, opts)
  local shared = function(link) link:serve() end
  return fake.test({ shared, table.unpack(handlers) }, fn, opts)
end

function TestSubscription:test_gets_what_is_published_from_then_on()
  for protocol = 2, 3 do
    server.test(function(client)
      local messages <close> = client:subscribe { channels = { "a", "b" }, patterns = { "n*", "*s" } }
      t.assertEquals(client:publish("b", "1"), 1)
      client:publish("news", "2")
      t.assertEquals({ messages() }, { "message", "b", "1" })
      local one, other = { messages() }, { messages() }
      t.assertEquals({ one[1], one[2], one[3] }, { "pmessage", "news", "2" })
      t.assertTrue(one[4] == "n*" and other[4] == "*s" or one[4] == "*s" and other[4] == "n*")
    end, "", { protocol = protocol })
  end
end

function TestSubscription:test_is_ended_by_leaving_its_loop()
  server.test(function(client)
    local got = {}
    local publisher = asyncio.create_task(function()
      t.wait_until(function() return client:publish("c", "first") == 1 end)
      client:publish("c", "second")
    end)
    for kind, channel, data in client:subscribe { channels = { "c" } } do
      got[#got + 1] = ("%s %s %s"):format(kind, channel, data)
      if data == "second" then break end
    end
    asyncio.await(publisher)
    t.assertEquals(got, { "message c first", "message c second" })
    t.wait_until(function() return client:publish("c", "third") == 0 end)
  end)
end

function TestSubscription:test_says_what_it_cannot_subscribe_to()
  server.test(function(client)
    local function text(...) return select(2, asyncio.pcall(client.subscribe, client, ...)) end
    t.assertStrContains(tostring(text {}), "'channels' or 'patterns' expected, with a name at least")
    t.assertStrContains(tostring(text { channels = { 5 } }), "'channels': a list of strings expected, got number in it")
    t.assertStrContains(tostring(text()), "bad argument #1 to 'subscribe'")
    t.assertStrContains(tostring(text { channel = "c" }), "channels")
    client:acl("SETUSER", "default", "resetchannels")
    t.assertEquals(text { channels = { "c" } }.code, "NOPERM")
    client:acl("SETUSER", "default", "allchannels")
  end)
end

function TestSubscription:test_shares_its_events_among_tasks()
  with({ confirming(function(link)
    for i = 1, 30 do
      asyncio.sleep(0.1)
      link:say(push("message", "c", tostring(i)))
    end
  end) }, function(client)
    local messages <close> = client:subscribe { channels = { "c" } }
    local got, n = {}, 0
    local function take()
      for _, _, data in messages do
        got[data], n = true, n + 1
        if n == 30 then messages:close() end
      end
    end
    asyncio.gather(take, take, take)
    for i = 1, 30 do t.assertTrue(got[tostring(i)]) end
  end)
end

--- A task that waits and is cancelled has taken nothing.
function TestSubscription:test_loses_nothing_to_those_who_are_cancelled()
  with({ confirming(function(link)
    for i = 1, 200 do
      asyncio.sleep(0.01)
      local text = push("message", "c", tostring(i))
      local at = math.random(#text)
      link:say(text:sub(1, at))
      asyncio.sleep(0.001)
      link:say(text:sub(at + 1))
    end
  end) }, function(client)
    local messages <close> = client:subscribe { channels = { "c" } }
    local expected = 1
    while expected <= 200 do
      local ok, kind, _, data = asyncio.pcall(function()
        local _ <close> = asyncio.timeout(math.random() / 50)
        return messages()
      end)
      if ok then
        t.assertEquals({ kind, data }, { "message", tostring(expected) })
        expected = expected + 1
      else
        t.assertTrue(asyncio.isinstance(kind, asyncio.TimeoutError))
      end
    end
  end)
end

function TestSubscription:test_keeps_messages_that_come_before_the_last_confirmation()
  with({ function(link)
    link:serve { SUBSCRIBE = function()
      link:say(push("subscribe", "a", 1) .. push("message", "a", "early") .. push("subscribe", "b", 2))
      return false
    end }
  end }, function(client)
    local messages <close> = client:subscribe { channels = { "a", "b" } }
    t.assertEquals({ messages() }, { "message", "a", "early" })
  end)
end

function TestSubscription:test_that_is_never_confirmed_fails_in_time()
  with({ function(link) link:serve { SUBSCRIBE = false } end }, function(client)
    local from = asyncio.time()
    local _, err = asyncio.pcall(client.subscribe, client, { channels = { "a" } })
    t.assertTrue(asyncio.isinstance(err, asyncio.TimeoutError))
    t.assertAlmostEquals(asyncio.time() - from, 2, 0.01)
  end, { connect_timeout = 2 })
end

function TestLostSubscription:test_is_there_again_and_says_so()
  server.test(function(client)
    local messages <close> = client:subscribe { channels = { "c" } }
    client:publish("c", "1")
    t.assertEquals({ messages() }, { "message", "c", "1" })
    client:client("KILL", "TYPE", "pubsub")
    t.assertEquals({ messages() }, { "reconnected" })
    client:publish("c", "2")
    t.assertEquals({ messages() }, { "message", "c", "2" })
  end)
end

function TestLostSubscription:test_outlives_a_restart()
  server.test(function(client, db)
    local messages <close> = client:subscribe { channels = { "c" } }
    db:kill()
    local waiting = asyncio.create_task(messages)
    asyncio.sleep(0.1)
    db:run()
    t.assertEquals({ asyncio.await(waiting) }, { "reconnected" })
    client:publish("c", "2")
    t.assertEquals({ messages() }, { "message", "c", "2" })
  end)
end

function TestLostSubscription:test_is_noticed_when_the_server_is_silent()
  with({ confirming(function(link) link.deaf = true end), confirming(function(link)
    link:say(push("message", "c", "after"))
  end) }, function(client, links)
    local messages <close> = client:subscribe { channels = { "c" } }
    local from = asyncio.time()
    t.assertEquals({ messages() }, { "reconnected" })
    t.assertEquals(links[2].pings, 1)
    t.assertAlmostEquals(asyncio.time() - from, 60, 1)
    t.assertEquals({ messages() }, { "message", "c", "after" })
  end)
end

function TestLostSubscription:test_is_not_imagined_where_the_server_answers()
  with({ confirming(function(link)
    asyncio.create_task(function()
      asyncio.sleep(1000)
      link:say(push("message", "c", "late"))
    end)
  end) }, function(client, links)
    local messages <close> = client:subscribe { channels = { "c" } }
    t.assertEquals({ messages() }, { "message", "c", "late" })
    t.assertTrue(links[2].pings >= 32)
  end)
end

function TestLostSubscription:test_pauses_longer_and_longer()
  local function leaving()
    asyncio.sleep(1)
    error "gone"
  end
  with({ confirming(leaving), false, false, false, false, false, confirming(function() end) },
    function(client, _, count)
      local messages <close> = client:subscribe { channels = { "c" } }
      asyncio.sleep(5)
      local from = asyncio.time()
      t.assertEquals({ messages() }, { "reconnected" })
      local took = asyncio.time() - from
      t.assertTrue(took > 0.7 and took < 1.6)
      t.assertEquals(count(), 8)
    end)
end

function TestLostSubscription:test_is_garbage_too()
  with({ confirming(function(link) link:say "$5\r\nabcdefgh\r\n" end), confirming(function() end) }, function(client)
    local messages <close> = client:subscribe { channels = { "c" } }
    t.assertEquals({ messages() }, { "reconnected" })
  end)
end

function TestLostSubscription:test_can_be_closed_while_it_connects()
  with({ confirming(function() asyncio.sleep(1) error "gone" end), false }, function(client)
    local messages <close> = client:subscribe { channels = { "c" } }
    local waiting = asyncio.create_task(messages)
    asyncio.sleep(20)
    t.assertStrContains(tostring(messages), "connecting")
    messages:close()
    t.assertNil(asyncio.await(waiting))
    t.assertNil(messages())
  end)
end

t.finish()
