-- The client of Redis and a server: replies, refusals, commands that block, pipelines, transactions, scripts.
local t = require "helper"
local server = require "redis.server"
local peers = require "peers"
local certificates = require "certificates"

local asyncio = t.asyncio
local redis = asyncio.redis

TestReplies = {}
TestRefusals = {}
TestBlocking = {}
TestPipeline = {}
TestTransaction = {}
TestScript = {}
TestEntering = {}
TestEnd = {}

--- What a call raises.
local function failure(fn, ...)
  local ok, err = asyncio.pcall(fn, ...)
  t.assertFalse(ok)
  return err
end

function TestReplies:test_are_values()
  server.test(function(client)
    t.assertEquals(client:set("k", "v"), "OK")
    t.assertEquals(client:get "k", "v")
    t.assertNil(client:get "nothing")
    t.assertEquals(client:incrby("n", 5), 5)
    t.assertEquals(client:mget("k", "nothing", "n"), { "v", nil, "5", n = 3 })
    t.assertEquals(client:call("strlen", "k"), 1)
  end)
end

function TestReplies:test_are_maps_and_doubles_in_the_third_version()
  server.test(function(client)
    client:hset("h", "a", 1, "b", 2.5)
    client:zadd("z", 1.25, "one")
    t.assertEquals(client:hgetall "h", { a = "1", b = "2.5" })
    t.assertEquals(client:zscore("z", "one"), 1.25)
    t.assertEquals(client:smembers "nothing", { n = 0 })
  end)
end

function TestReplies:test_are_lists_and_strings_in_the_second_version()
  server.test(function(client)
    client:hset("h", "a", 1)
    client:zadd("z", 1.25, "one")
    t.assertEquals(client:hgetall "h", { "a", "1", n = 2 })
    t.assertEquals(client:zscore("z", "one"), "1.25")
  end, "", { protocol = 2 })
end

function TestReplies:test_carry_any_bytes()
  server.test(function(client)
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local text = table.concat(bytes):rep(t.count(4000))
    client:set("\0\r\n", text)
    t.assertTrue(client:get "\0\r\n" == text)
  end)
end

function TestReplies:test_that_are_errors_are_raised_with_their_code()
  server.test(function(client)
    client:set("k", "v")
    local err = failure(client.lpush, client, "k", 1)
    t.assertTrue(asyncio.isinstance(err, redis.RedisError))
    t.assertEquals({ err.code, asyncio.type(err) }, { "WRONGTYPE", "RedisError" })
    t.assertStrContains(tostring(err), "wrong kind of value")
    t.assertEquals(failure(client.nosuchcommand, client).code, "ERR")
    t.assertEquals(client:get "k", "v") -- and it goes on
  end)
end

function TestReplies:test_are_each_tasks_own()
  server.test(function(client)
    local replies = asyncio.map(function(i) return client:echo(i) end, (function()
      local list = {}
      for i = 1, t.count(500) do list[i] = i end
      return list
    end)())
    for i = 1, replies.n do t.assertEquals(replies[i], tostring(i)) end
  end)
end

--- All that tasks send in a turn leaves in one write: so it says the server, who is asked how much it has read.
function TestReplies:test_of_a_turn_were_asked_for_together()
  server.test(function(client)
    local before = tonumber((client:info "stats"):match "total_reads_processed:(%d+)")
    asyncio.map(function(i) return client:echo(i) end, { 1, 2, 3, 4, 5, 6, 7, 8 })
    local after = tonumber((client:info "stats"):match "total_reads_processed:(%d+)")
    t.assertTrue(after - before <= 3)
  end)
end

function TestRefusals:test_name_what_to_use()
  server.test(function(client)
    local function text(...) return tostring(failure(...)) end
    t.assertStrContains(text(client.call, client, "multi"), "MULTI changes the connection, which others share: use "
      .. "client:transaction(function(p) ... end)")
    t.assertStrContains(text(client.select, client, 1), "redis.connect{db=}")
    t.assertStrContains(text(client.watch, client, "k"), "{watch={...}}")
    t.assertStrContains(text(client.monitor, client), "redis-cli monitor")
    t.assertStrContains(text(client.client, client, "reply", "off"), "CLIENT REPLY changes")
    t.assertStrContains(text(client.client, client, "setname", "x"), "redis.connect{client_name=}")
    t.assertStrContains(text(client.call, client, "subscribe", "x"), "client:subscribe{channels=, patterns=}")
    t.assertEquals(client:ping(), "PONG")
  end)
end

function TestRefusals:test_of_arguments_name_the_call()
  server.test(function(client)
    local function text(...) return tostring(failure(...)) end
    t.assertStrContains(text(client.set, client, "k", {}),
      "bad argument #2 to 'set' (string or number expected, got table)")
    t.assertStrContains(text(client.call, client, "set", "k", true), "bad argument #3 to 'call' (string or number")
    t.assertStrContains(text(client.set, client, 0 / 0), "bad argument #1 to 'set' (string or number")
    t.assertStrContains(text(client.call, client, "CLIENT LIST"), 'call("CLIENT", "LIST")')
    t.assertStrContains(text(client.get), "bad argument #1 to 'get' (asyncio.RedisClient")
  end)
end

function TestRefusals:test_of_a_client_outside_of_its_loop()
  local db <close> = server.start()
  local client
  asyncio.run(function() client = db:connect() client:ping() client:close() end)
  t.assertErrorMsgContains("the client is closed", function() asyncio.run(function() client:ping() end) end)
end

function TestBlocking:test_holds_up_nobody_else()
  server.test(function(client)
    local task = asyncio.create_task(client.blpop, client, "q", 0)
    t.wait_until(function() return client:info "clients":find "blocked_clients:1" end)
    t.assertEquals(client:ping(), "PONG")
    client:lpush("q", "x")
    t.assertEquals(asyncio.await(task), { "q", "x", n = 2 })
    t.assertNil(client:brpop("q", 0.01))
  end)
end

function TestBlocking:test_knows_streams_that_block()
  server.test(function(client)
    client:xadd("s", "1-1", "a", "b")
    t.assertEquals(client:xread("COUNT", 1, "STREAMS", "s", 0).s[1][1], "1-1")
    local task = asyncio.create_task(client.xread, client, "block", 0, "STREAMS", "s", "$")
    t.wait_until(function() return client:info "clients":find "blocked_clients:1" end)
    client:xadd("s", "2-1", "c", "d")
    t.assertEquals(asyncio.await(task).s[1], { "2-1", { "c", "d", n = 2 }, n = 2 })
  end)
end

function TestBlocking:test_uses_its_connections_again_and_closes_those_that_were_cancelled()
  server.test(function(client)
    local function connections() return tonumber((client:info "clients"):match "connected_clients:(%d+)") end
    client:rpush("q", 1, 2, 3)
    for _ = 1, 3 do client:blpop("q", 0) end
    t.assertEquals(connections(), 2)
    local tasks = {}
    for i = 1, 5 do tasks[i] = asyncio.create_task(client.blpop, client, "q", 0) end
    t.wait_until(function() return client:info "clients":find "blocked_clients:5" end)
    for _, task in ipairs(tasks) do task:cancel() end
    asyncio.wait(tasks)
    t.wait_until(function() return connections() == 1 end)
    client:rpush("q", "for nobody who has gone")
    t.assertEquals(client:llen "q", 1)
  end)
end

function TestBlocking:test_raises_the_servers_errors_and_keeps_the_connection()
  server.test(function(client)
    client:set("k", "v")
    for _ = 1, 3 do t.assertEquals(failure(client.blpop, client, "k", 1).code, "WRONGTYPE") end
    t.assertStrContains(client:info "clients", "connected_clients:2")
  end)
end

function TestPipeline:test_has_all_replies_and_errors_in_their_places()
  server.test(function(client)
    local replies = client:pipeline(function(p)
      p:set("k", "v")
      p:lpush("k", 1)
      p:get "nothing"
      p:call("GET", "k")
    end)
    t.assertEquals({ replies.n, replies[1], replies[3], replies[4] }, { 4, "OK", nil, "v" })
    t.assertEquals({ asyncio.type(replies[2]), replies[2].code }, { "RedisError", "WRONGTYPE" })
    t.assertEquals(client:pipeline(function() end), { n = 0 })
  end)
end

function TestPipeline:test_sends_nothing_if_its_function_fails()
  server.test(function(client)
    local err = failure(client.pipeline, client, function(p)
      p:set("k", "v")
      error "no more"
    end)
    t.assertStrContains(tostring(err), "no more")
    t.assertNil(client:get "k")
  end)
end

function TestPipeline:test_may_be_larger_than_any_buffer()
  server.test(function(client)
    local n, text = t.count(20000), ("x"):rep(300)
    local replies = client:pipeline(function(p)
      for i = 1, n do p:set("k" .. i, text) end
      for i = 1, n do p:get("k" .. i) end
    end)
    t.assertEquals(replies.n, 2 * n)
    for i = 1, n do assert(replies[i] == "OK" and replies[n + i] == text) end
  end)
end

function TestPipeline:test_refuses_what_blocks_and_what_comes_too_late()
  server.test(function(client)
    local kept
    client:pipeline(function(p)
      kept = p
      t.assertStrContains(tostring(failure(p.blpop, p, "q", 0)), "BLPOP may block")
      t.assertStrContains(tostring(failure(p.multi, p)), "MULTI changes the connection")
      t.assertStrContains(tostring(failure(p.set, p, "k", {})), "bad argument #2 to 'set'")
      p:ping()
      t.assertEquals({ #p, tostring(p) }, { 1, "asyncio.RedisPipeline: 1 command" })
    end)
    t.assertTrue(asyncio.isinstance(failure(kept.ping, kept), asyncio.InvalidStateError))
  end)
end

function TestTransaction:test_is_done_as_one_with_errors_in_their_places()
  server.test(function(client)
    client:set("k", "v")
    local replies = client:transaction(function(p)
      p:incr "n"
      p:lpush("k", 1)
      p:blpop("q", 0) -- blocks nobody here
      p:get "n"
    end)
    t.assertEquals({ replies.n, replies[1], replies[2].code, replies[3], replies[4] }, { 4, 1, "WRONGTYPE", nil, "1" })
    t.assertEquals(client:transaction(function() end), { n = 0 })
  end)
end

function TestTransaction:test_is_refused_whole_if_the_server_wont_have_a_command()
  server.test(function(client)
    local err = failure(client.transaction, client, function(p)
      p:set("k", "v")
      p:nosuch()
    end)
    t.assertEquals({ err.code, #err.errors, err.errors[1].code }, { "EXECABORT", 1, "ERR" })
    t.assertStrContains(err.message, "unknown command 'NOSUCH'")
    t.assertNil(client:get "k")
  end)
end

function TestTransaction:test_runs_again_when_what_it_watches_was_changed()
  server.test(function(client)
    local runs = 0
    client:set("k", 1)
    local replies = client:transaction(function(p)
      runs = runs + 1
      local value = client:get "k"
      if runs < 3 then client:incr "k" end
      p:set("k", value * 10)
    end, { watch = { "k", "other" } })
    t.assertEquals({ runs, replies[1], client:get "k" }, { 3, "OK", "30" })
  end)
end

function TestTransaction:test_gives_up_after_so_many_times()
  server.test(function(client)
    local runs = 0
    local function fn(p)
      runs = runs + 1
      client:incr "k"
      p:set("k", 0)
    end
    local err = failure(client.transaction, client, fn, { watch = { "k" } })
    t.assertEquals({ asyncio.type(err), err.attempts, runs, client:get "k" }, { "WatchError", 10, 10, "10" })
    t.assertTrue(asyncio.isinstance(err, redis.RedisError))
    t.assertEquals(failure(client.transaction, client, fn, { watch = { "k" }, attempts = 1 }).attempts, 1)
  end)
end

function TestTransaction:test_does_nothing_if_its_function_fails_and_watches_no_more()
  server.test(function(client)
    client:set("k", 1)
    failure(client.transaction, client, function(p)
      p:set("k", 2)
      error "no"
    end, { watch = { "k" } })
    client:transaction(function() end, { watch = { "k" } })
    client:incr "k"
    t.assertEquals(client:transaction(function(p) p:get "k" end, { watch = { "n" } }), { "2", n = 1 })
  end)
end

function TestTransaction:test_of_many_tasks_loses_no_update()
  server.test(function(client)
    local n = t.count(20)
    local function add()
      for _ = 1, 5 do
        client:transaction(function(p) p:set("sum", (client:get "sum" or 0) + 1 | 0) end,
          { watch = { "sum" }, attempts = 1000 })
      end
    end
    do
      local group <close> = asyncio.TaskGroup()
      for _ = 1, n do group:create_task(add) end
    end
    t.assertEquals(client:get "sum", tostring(5 * n))
  end)
end

function TestTransaction:test_says_what_its_options_are()
  server.test(function(client)
    local function text(...) return tostring(failure(client.transaction, client, ...)) end
    local function nothing() end
    t.assertStrContains(text(), "bad argument #1 to 'transaction'")
    t.assertStrContains(text(nothing, { watch = {} }), "'watch': a list with a key at least expected")
    t.assertStrContains(text(nothing, { watch = { {} } }), "'watch': a list of keys expected, got table in it")
    t.assertStrContains(text(nothing, { attempts = 3 }), "'attempts' does not go without 'watch'")
    t.assertStrContains(text(nothing, { keys = {} }), "watch")
  end)
end

function TestScript:test_is_a_function()
  server.test(function(client)
    local f = client:script "return {KEYS[1], ARGV[1], ARGV[2], #KEYS}"
    t.assertEquals(f({ "k" }, "a", 1.5), { "k", "a", "1.5", 1, n = 4 })
    t.assertEquals(client:script "return #KEYS .. #ARGV"({}, "a", "b"), "02")
  end)
end

function TestScript:test_is_loaded_again_when_the_server_has_lost_it()
  server.test(function(client)
    local f = client:script "return redis.call('INCR', KEYS[1])"
    t.assertEquals(f { "n" }, 1)
    client:call("SCRIPT", "FLUSH")
    t.assertEquals({ f { "n" }, f { "n" } }, { 2, 3 })
  end)
end

function TestScript:test_raises_what_goes_wrong_in_it()
  server.test(function(client)
    t.assertStrContains(tostring(failure(client:script "return redis.call('NOSUCH')", {})), "Unknown Redis command")
    t.assertEquals(failure(client:script "return redis.error_reply('MINE is it')", {}).code, "MINE")
    t.assertEquals(failure(client:script "return (", {}).code, "ERR")
    local f = client:script "return 1"
    t.assertStrContains(tostring(failure(f, 1)), "bad argument #1 to 'script' (list of keys")
    t.assertStrContains(tostring(failure(f, {}, {})), "bad argument #2 to 'script' (string or number expected")
    t.assertStrContains(tostring(failure(client.script, client, 5)), "script (a string)")
  end)
end

function TestEntering:test_needs_the_password()
  t.real(function()
    local db <close> = server.start '--requirepass "s c/t%"'
    t.assertEquals(failure(db.connect, db).code, "NOAUTH")
    local told = failure(db.connect, db).message
    t.assertStrContains(told, "the server wants a password: redis://:PASSWORD@HOST, or the option 'password'")
    t.assertStrContains(told, ": redis at " .. db.path)
    t.assertEquals(failure(db.connect, db, { password = "wrong" }).code, "WRONGPASS")
    t.assertEquals(failure(db.connect, db, { protocol = 2 }).code, "NOAUTH")
    t.assertEquals(failure(db.connect, db, { protocol = 2, password = "wrong" }).code, "WRONGPASS")
    for _, url in ipairs { "unix://:s%20c%2Ft%25@" .. db.path, "unix://default:s%20c%2ft%25@" .. db.path } do
      local client <close> = redis.connect(url)
      t.assertEquals(client:ping(), "PONG")
    end
    local client <close> = db:connect { password = "s c/t%", protocol = 2 }
    t.assertEquals(client:ping(), "PONG")
  end)
end

--- An old server knows no HELLO.
function TestEntering:test_falls_back_to_the_second_version()
  t.real(function()
    local db <close> = server.start '--rename-command HELLO "" --requirepass x'
    local client <close> = db:connect { password = "x", db = 3, client_name = "me" }
    client:hset("h", "a", 1)
    t.assertEquals(client:hgetall "h", { "a", "1", n = 2 })
    local list = client:client "list"
    t.assertStrContains(list, "name=me")
    t.assertStrContains(list, "db=3")
  end)
end

function TestEntering:test_selects_the_database_and_gives_its_name()
  server.test(function(client, db)
    local list = client:client "list"
    t.assertStrContains(list, "name=me")
    t.assertStrContains(list, "db=2")
    t.assertStrContains(list, "resp=3")
    client:set("k", "in two")
    local other <close> = redis.connect(db.url .. "?db=1")
    t.assertNil(other:get "k")
    t.assertEquals(failure(redis.connect, db.url .. "?db=99").message,
      "ERR DB index is out of range: redis at " .. db.path)
  end, "", { db = 2, client_name = "me" })
end

function TestEntering:test_goes_by_tcp()
  t.real(function()
    local port = peers.reserve_port()
    local db <close> = server.start(("--port %d --bind 127.0.0.1"):format(port))
    local client <close> = redis.connect(("redis://127.0.0.1:%d/1"):format(port))
    t.assertStrContains(client:client "list", "laddr=127.0.0.1:" .. port)
    t.assertStrContains(tostring(client), "127.0.0.1:" .. port)
    local _ = db
  end)
end

function TestEntering:test_goes_by_tls()
  t.real(function()
    local files = certificates.server
    local port = peers.reserve_port()
    local probe = io.popen "redis-cli --help 2>&1"
    local has_tls = probe:read "a":find "%-%-tls"
    probe:close()
    if not has_tls then t.skip "this redis-server speaks no TLS" end
    local db <close> = server.start(("--tls-port %d --bind 127.0.0.1 --tls-auth-clients no --tls-cert-file %s "
      .. "--tls-key-file %s --tls-ca-cert-file %s"):format(port, files.certfile, files.keyfile,
      certificates.file "root.pem"))
    local context = asyncio.ssl.create_default_context { cafile = certificates.file "root.pem" }
    local client <close> = redis.connect(("rediss://localhost:%d"):format(port), { ssl = context })
    client:set("k", ("x"):rep(100000))
    t.assertEquals(#client:get "k", 100000)
    local err = failure(redis.connect, ("rediss://localhost:%d"):format(port))
    t.assertTrue(asyncio.isinstance(err, asyncio.SSLError))
    local _ = db
  end)
end

function TestEntering:test_raises_that_nobody_is_there()
  t.real(function()
    local err = failure(redis.connect, ("redis://127.0.0.1:%d"):format(peers.reserve_port()))
    t.assertTrue(asyncio.isinstance(err, asyncio.ConnectionRefusedError))
    t.assertTrue(asyncio.isinstance(failure(redis.connect, "unix:///nowhere/at/all"), asyncio.FileNotFoundError))
  end)
end

function TestEnd:test_is_for_all_who_wait()
  server.test(function(client)
    local one = asyncio.create_task(client.blpop, client, "q", 0)
    local messages <close> = client:subscribe { channels = { "c" } }
    local other = asyncio.create_task(client.call, client, "debug", "sleep", "0.2")
    asyncio.sleep(0.05)
    client:close()
    client:close()
    asyncio.wait { one, other }
    t.assertStrContains(tostring((one:exception())), "the client was closed")
    t.assertTrue(asyncio.isinstance((one:exception()), asyncio.ConnectionError))
    t.assertTrue(other:exception() ~= nil)
    t.assertNil(messages())
    t.assertTrue(asyncio.isinstance(failure(client.ping, client), asyncio.ClosedError))
    t.assertTrue(asyncio.isinstance(failure(client.blpop, client, "q", 0), asyncio.ClosedError))
    t.assertTrue(asyncio.isinstance(failure(client.subscribe, client, { channels = { "c" } }), asyncio.ClosedError))
    t.assertStrContains(tostring(client), "closed")
  end, "--enable-debug-command yes")
end

function TestEnd:test_of_a_forgotten_client_is_reported()
  t.real(function(reports)
    local db <close> = server.start()
    do
      local forgotten = db:connect()
      forgotten:ping()
    end
    t.wait_until(function()
      t.collect()
      return reports[1]
    end)
    t.assertStrContains(reports[1].message, "a client of redis was never closed")
    for i = #reports, 1, -1 do reports[i] = nil end
    asyncio.sleep(0.01)
  end)
end

t.finish()
