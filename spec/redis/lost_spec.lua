-- Connections to Redis that are lost: what was sent, what was not, how long one waits, and that nothing is sent twice.
local t = require "helper"
local fake = require "redis.fake"
local server = require "redis.server"

local asyncio = t.asyncio
local redis = asyncio.redis

TestLost = {}
TestSilence = {}
TestAgain = {}
TestLies = {}
TestRealLoss = {}

local function failure(fn, ...)
  local ok, err = asyncio.pcall(fn, ...)
  t.assertFalse(ok)
  return err
end

local function serve(link) link:serve() end

--- Serves, and ends when it is asked to "GET cut".
local function cutting(link)
  link:serve { GET = function(command)
    if command[2] == "cut" then
      link.writer:abort()
      return false
    end
  end }
end

function TestLost:test_is_told_to_all_whose_answers_are_owed()
  fake.test({ cutting, serve }, function(client)
    local tasks = {}
    for i, key in ipairs { "a", "cut", "b", "c" } do tasks[i] = asyncio.create_task(client.get, client, key) end
    asyncio.wait(tasks)
    for i = 1, 4 do
      local err = tasks[i]:exception()
      t.assertTrue(asyncio.isinstance(err, asyncio.ConnectionError))
      t.assertStrContains(tostring(err), "redis at 127.0.0.1:6379: the connection was lost")
      t.assertStrContains(tostring(err), "before the answer came: whether it was done is not known")
      t.assertEquals(err.address, "127.0.0.1:6379")
      for k = 1, i - 1 do t.assertTrue(err ~= tasks[k]:exception()) end -- each has an error of its own
    end
    t.assertEquals(client:get "d", "d")
  end)
end

--- Whoever counts what arrives sees no command twice.
function TestLost:test_sends_nothing_twice()
  local seen = {}
  local function counting(link)
    local n = 0
    link:serve { GET = function(command)
      seen[command[2]] = (seen[command[2]] or 0) + 1
      n = n + 1
      if n == 7 then
        link.writer:abort()
        return false
      end
    end }
  end
  fake.test(counting, function(client)
    local failed, got = 0, 0
    for i = 1, 100 do
      local tasks = {}
      for k = 1, 3 do tasks[k] = asyncio.create_task(client.get, client, i .. "." .. k) end
      asyncio.wait(tasks)
      for k, task in ipairs(tasks) do
        if task:exception() then
          failed = failed + 1
        else
          got = got + 1
          t.assertEquals(task:result(), i .. "." .. k)
        end
      end
      asyncio.sleep(0.01)
    end
    t.assertEquals(failed + got, 300)
    t.assertTrue(failed > 40 and got > 200)
    for _, n in pairs(seen) do t.assertEquals(n, 1) end
  end)
end

function TestLost:test_of_a_pipeline_is_one_error()
  fake.test({ cutting, serve }, function(client)
    local err = failure(client.pipeline, client, function(p)
      p:get "a"
      p:get "cut"
      p:get "b"
    end)
    t.assertTrue(asyncio.isinstance(err, asyncio.ConnectionError))
    t.assertEquals(client:pipeline(function(p) p:get "x" end), { "x", n = 1 })
  end)
end

function TestSilence:test_ends_the_connection_while_answers_are_owed()
  fake.test({ function(link) link:serve { GET = false } end, serve }, function(client)
    local from = asyncio.time()
    local one = asyncio.create_task(client.get, client, "a")
    asyncio.sleep(10)
    local err = failure(client.get, client, "b")
    t.assertAlmostEquals(asyncio.time() - from, 30, 0.1)
    t.assertStrContains(tostring(err), "no byte for 30 s while 2 answers are owed")
    t.assertTrue(asyncio.isinstance((one:exception()), asyncio.ConnectionError))
    t.assertEquals(client:get "c", "c")
  end)
end

function TestSilence:test_is_fine_while_nothing_is_owed()
  fake.test({ serve, false }, function(client)
    for i = 1, 5 do
      asyncio.sleep(100)
      t.assertEquals(client:get(i), tostring(i))
    end
  end)
end

function TestSilence:test_is_broken_by_any_byte()
  fake.test({ function(link)
    link:serve { GET = function()
      for c in ("$2\r\nab\r\n"):gmatch "." do
        asyncio.sleep(20)
        link:say(c)
      end
      return false
    end }
  end, false }, function(client)
    t.assertEquals({ client:get "a", client:get "b" }, { "ab", "ab" })
  end)
end

function TestSilence:test_has_the_limit_that_was_given()
  fake.test({ function(link) link:serve { GET = false } end, serve }, function(client)
    local from = asyncio.time()
    failure(client.get, client, "a")
    t.assertAlmostEquals(asyncio.time() - from, 1.5, 0.1)
  end, { timeout = 1.5 })
end

--- A connection of the pool that has waited long is no excuse for the next.
function TestSilence:test_is_measured_anew_for_each_command_that_blocks()
  fake.test({ serve, function(link)
    link:serve { BLPOP = function(command) return command[2] == "there" and "*-1\r\n" end }
  end }, function(client)
    t.assertNil(client:blpop("there", 1000))
    local from = asyncio.time()
    failure(client.blpop, client, "away", 1)
    t.assertAlmostEquals(asyncio.time() - from, 31, 0.1)
  end)
end

--- Who takes what it is sent may be silent meanwhile.
function TestSilence:test_does_not_count_while_a_large_command_is_taken()
  fake.test({ function(link)
    link:serve { SET = function()
      for _ = 1, 20 do
        link.reader:readexactly(100000)
        asyncio.sleep(10)
      end
      return "+OK\r\n"
    end, PING = false }
  end, serve }, function(client)
    local task = asyncio.create_task(client.set, client, "k", "v")
    asyncio.sleep(1)
    client[1].shared.writer:write(("x"):rep(2000000))
    t.assertEquals(asyncio.await(task), "OK")
    local from = asyncio.time()
    failure(client.ping, client)
    t.assertAlmostEquals(asyncio.time() - from, 30, 0.1)
  end)
end

--- Those have the time that they may take, and then that of an answer.
function TestSilence:test_of_commands_that_block_is_theirs()
  fake.test({ serve, function(link) link:serve { BLPOP = false } end }, function(client)
    local from = asyncio.time()
    failure(client.blpop, client, "q", 100)
    t.assertAlmostEquals(asyncio.time() - from, 130, 0.1)
    local forever = asyncio.create_task(client.blpop, client, "q", 0)
    asyncio.sleep(100000)
    t.assertFalse(forever:done())
    forever:stop()
  end)
end

function TestSilence:test_while_connecting_has_an_end()
  t.run(function()
    fake.with({ function(link) link.reader:wait_eof() end }, function()
      local from = asyncio.time()
      local err = failure(redis.connect, { connect_timeout = 3 })
      t.assertTrue(asyncio.isinstance(err, asyncio.TimeoutError))
      t.assertStrContains(tostring(err), "no connection to redis at 127.0.0.1:6379 after 3 s")
      t.assertAlmostEquals(asyncio.time() - from, 3, 0.1)
    end)
  end)
end

function TestAgain:test_waits_for_what_was_not_sent()
  fake.test({ cutting, false, false, false, serve }, function(client, _, count)
    failure(client.get, client, "cut")
    local from = asyncio.time()
    t.assertEquals(asyncio.gather(function() return client:get "a" end, function() return client:get "b" end), "a")
    t.assertTrue(asyncio.time() - from < 1)
    t.assertEquals(count(), 5)
  end)
end

function TestAgain:test_gives_up_in_time_with_the_last_reason()
  fake.test({ cutting, false }, function(client, _, count)
    failure(client.get, client, "cut")
    local from = asyncio.time()
    local err = failure(client.get, client, "a")
    t.assertAlmostEquals(asyncio.time() - from, 10, 0.1)
    t.assertTrue(asyncio.isinstance(err, asyncio.TimeoutError))
    t.assertStrContains(tostring(err), "no connection to redis at 127.0.0.1:6379 after 10 s: ")
    t.assertStrContains(tostring(err), "refused")
    t.assertTrue(asyncio.isinstance(err.cause, asyncio.ConnectionRefusedError))
    t.assertTrue(count() >= 7 and count() <= 14) -- 0.05 s, then twice as long each time, 5 s at most
  end)
end

function TestAgain:test_is_tried_by_nobody_who_is_not_waited_for()
  fake.test({ cutting, false }, function(client, _, count)
    failure(client.get, client, "cut")
    asyncio.sleep(1000)
    t.assertEquals(count(), 1)
    local task = asyncio.create_task(client.get, client, "a")
    asyncio.sleep(1)
    task:stop()
    local tried = count()
    asyncio.sleep(1000)
    t.assertTrue(count() <= tried + 1)
  end)
end

--- A server that takes us and closes at once is not asked as fast as the machine can.
function TestAgain:test_pauses_too_where_connections_do_not_last()
  fake.test({ cutting }, function(client, _, count)
    local from = asyncio.time()
    for _ = 1, 8 do failure(client.get, client, "cut") end
    t.assertTrue(asyncio.time() - from > 2)
    t.assertEquals(count(), 8)
  end, { connect_timeout = 60 })
end

function TestAgain:test_raises_that_it_is_not_let_in_any_more()
  fake.test({ cutting, function(link) link:serve { HELLO = "-WRONGPASS invalid\r\n" } end }, function(client)
    failure(client.get, client, "cut")
    local from = asyncio.time()
    t.assertEquals(failure(client.get, client, "a").code, "WRONGPASS")
    t.assertTrue(asyncio.time() - from < 1)
  end)
end

function TestAgain:test_sends_nothing_of_those_who_gave_up()
  local seen = {}
  fake.test({ cutting, false, false, false, function(link)
    link:serve { GET = function(command) seen[#seen + 1] = command[2] end }
  end }, function(client)
    failure(client.get, client, "cut")
    local given_up = asyncio.create_task(client.get, client, "given up")
    local patient = asyncio.create_task(client.get, client, "patient")
    asyncio.sleep(0.01)
    given_up:cancel()
    t.assertEquals(asyncio.await(patient), "patient")
    t.assertEquals(seen, { "patient" })
  end)
end

function TestAgain:test_is_ended_by_the_end_of_the_client()
  fake.test({ cutting, false }, function(client)
    failure(client.get, client, "cut")
    local task = asyncio.create_task(client.get, client, "a")
    asyncio.sleep(1)
    client:close()
    asyncio.wait { task }
    t.assertTrue(asyncio.isinstance((task:exception()), asyncio.ClosedError))
  end)
end

function TestAgain:test_is_done_for_commands_that_block_too()
  fake.test({ serve, false, false, serve }, function(client, _, count)
    t.assertEquals(client:blpop("q", 1), "OK")
    t.assertEquals(count(), 4)
  end)
end

local LIES = {
  { "x", "a byte that no value begins with" }, { "*1\r\n>1\r\n+a\r\n", "a push within a reply" },
  { "$3\r\nabcdef\r\n", "a string that goes on behind its length" }, { "HTTP/1.1 400 Bad\r\n", "no value begins" },
  { "+a\r\n+b\r\n", "an answer that nobody has asked for" },
}

function TestLies:test_end_the_connection()
  for _, lie in ipairs(LIES) do
    fake.test({ function(link) link:serve { GET = lie[1] } end, serve }, function(client)
      local _, err = asyncio.pcall(client.get, client, "a")
      if lie[1]:sub(1, 1) == "+" then
        t.assertEquals(err, "a") -- it was an answer; what followed was none
        asyncio.sleep(0.1)
      else
        t.assertStrContains(tostring(err), "what it said is not its protocol: ")
        t.assertStrContains(tostring(err), lie[2])
      end
      t.assertEquals(client:get "b", "b")
    end)
  end
end

function TestLies:test_at_the_beginning_are_raised()
  for _, lie in ipairs { "HTTP/1.1 400 Bad\r\n", "*99999999999999999999\r\n" } do
    t.run(function()
      fake.with({ function(link) link:serve { HELLO = lie } end }, function()
        local err = failure(redis.connect)
        t.assertTrue(asyncio.isinstance(err, asyncio.ConnectionError))
        t.assertStrContains(tostring(err), "redis at 127.0.0.1:6379: what it said is not its protocol")
      end)
    end)
  end
end

function TestLies:test_that_are_pushes_are_passed_over()
  fake.test({ function(link)
    link:serve { GET = function(command)
      return (">2\r\n+invalidate\r\n+x\r\n$%d\r\n%s\r\n>1\r\n+y\r\n"):format(#command[2], command[2])
    end }
  end }, function(client)
    t.assertEquals({ client:get "a", client:get "b" }, { "a", "b" })
    t.assertEquals(client:pipeline(function(p) p:get "c" p:get "d" end), { "c", "d", n = 2 })
  end)
end

function TestRealLoss:test_by_client_kill_is_mended()
  server.test(function(client, db)
    local other <close> = db:connect()
    for i = 1, t.count(20) do
      t.assertEquals(client:set("k", i), "OK")
      other:client("KILL", "TYPE", "normal", "SKIPME", "yes")
      local ok, err = asyncio.pcall(client.get, client, "k")
      if ok then
        t.assertEquals(err, tostring(i))
      else
        t.assertTrue(asyncio.isinstance(err, asyncio.ConnectionError))
      end
      t.assertEquals(client:get "k", tostring(i))
    end
  end)
end

function TestRealLoss:test_by_a_restart_is_waited_for()
  server.test(function(client, db)
    client:set("k", "v")
    db:kill()
    local tasks = {}
    for i = 1, 10 do tasks[i] = asyncio.create_task(function()
      local ok, err = asyncio.pcall(client.get, client, "k")
      return ok or err, err
    end) end
    asyncio.sleep(0.1)
    db:run()
    for _, task in ipairs(tasks) do
      local ok, value = asyncio.await(task)
      if ok == true then t.assertNil(value) else t.assertTrue(asyncio.isinstance(ok, asyncio.ConnectionError)) end
    end
    t.assertNil(client:get "k")
    local waiting = asyncio.create_task(client.blpop, client, "q", 0)
    t.wait_until(function() return client:info "clients":find "blocked_clients:1" end)
    client:lpush("q", "x")
    t.assertEquals(asyncio.await(waiting)[2], "x")
  end)
end

--- Stopped, it takes what is sent and says nothing.
function TestRealLoss:test_by_a_server_that_hangs_is_told_in_time()
  local limit = t.slow and 3 or 0.3
  server.test(function(client, db)
    db:signal "STOP"
    local ok, err = asyncio.pcall(client.get, client, "k")
    db:signal "CONT"
    t.assertFalse(ok)
    t.assertStrContains(tostring(err), ("no byte for %g s while 1 answer is owed"):format(limit))
    t.wait_until(function() return client:ping() == "PONG" end)
  end, "", { timeout = limit })
end

t.finish()
