-- Debian's redis-lua, unchanged, with a redis-server: twenty at a time, with time limits, cancelled, and left alone.
local t = require "helper"
local peers = require "peers"
local program = require "program"

local asyncio = t.asyncio

local TOGETHER = 20

-- Debian keeps it for the Luas before 5.4; it runs on this one.
local PLACES = "/usr/share/lua/5.4/?.lua;/usr/share/lua/5.3/?.lua;"

--- The library; loaded by `load`, or by asyncio.compat.require.
local function library(load)
  if not package.searchpath("redis", PLACES .. package.path) then t.skip "redis-lua is not installed" end
  if not package.searchpath("socket.url", package.path) then t.skip "LuaSocket is not installed" end
  local path = package.path
  package.path = PLACES .. path
  local redis = (load or asyncio.compat.require)("redis")
  package.path = path
  return redis
end

--- The server's program, put into the folder. Debian's redis-tools has it under the name of redis-check-rdb: it goes
-- by how it is called, and comes without the service that the package redis-server would start.
local function server_program(folder)
  if peers.has "redis-server" then return "redis-server" end
  peers.need "redis-check-rdb"
  local name = folder .. "/redis-server"
  os.execute(("ln -s \"$(command -v redis-check-rdb)\" %s"):format(name))
  return name
end

--- Calls fn(redis, where) in a task while a redis-server runs. where: port, path (of its other socket), server.
local function with_redis(fn)
  local redis = library()
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir -m 700 " .. folder)
  local where = { port = peers.reserve_port(), path = folder .. "/socket" }
  do
    local server <close> = program.start("%s --port %d --bind 127.0.0.1 --unixsocket %s --dir %s --save ''",
      server_program(folder), where.port, where.path, folder)
    server:expect "ready to accept connections"
    where.server = server
    t.real(function() fn(redis, where) end)
  end
  os.execute("rm -rf " .. folder)
end

--- fn(i, ...) in so many tasks at once.
local function together(fn, ...)
  local group <close> = asyncio.TaskGroup()
  for i = 1, TOGETHER do group:create_task(fn, i, ...) end
end

--- So many tasks that run fn(i, ...).
local function tasks_of(fn, ...)
  local tasks = {}
  for i = 1, TOGETHER do tasks[i] = asyncio.create_task(fn, i, ...) end
  return tasks
end

--- How many clients wait within a command, as one more sees it.
local function blocked(client) return tonumber(client:info("clients").clients.blocked_clients) end

--- What one client may ask, and what it is told; keys begin with `key`.
local function conversation(client, key)
  local said = {}
  local function say(...) said[#said + 1] = table.pack(...) end
  say(client:ping())
  say(client:set(key, "tea"))
  say(client:get(key))
  say(client:get(key .. "none"))
  say(client:exists(key))
  say(client:append(key, (" and more"):rep(20000)))
  say(#client:get(key))
  say(client:set(key, "a\r\nb\0c"))
  say(client:get(key))
  say(client:incrby(key .. "n", 41))
  say(client:incr(key .. "n"))
  say(client:rpush(key .. "l", "a", "b", "c"))
  say(client:lrange(key .. "l", 0, -1))
  say(client:hmset(key .. "h", { one = 1, two = 2 }))
  say(client:hgetall(key .. "h"))
  say(client:zadd(key .. "z", 1, "x", 2, "y"))
  say(client:zrange(key .. "z", 0, -1, { withscores = true }))
  say(client:mget(key .. "n", key .. "none", key .. "h"))
  say(client:sort(key .. "l", { alpha = true, sort = "desc", limit = { 0, 2 } }))
  say(client:eval("return { KEYS[1], ARGV[1], 7 }", 1, key, "x"))
  say(client:pipeline(function(p)
    p:exists(key)
    p:hexists(key .. "h", "none")
    p:expire(key, 100)
  end))
  say(client:transaction(function(tx)
    tx:incr(key .. "n")
    tx:exists(key)
    tx:get(key .. "n")
  end))
  say(pcall(client.incr, client, key))
  say(pcall(client.pipeline, client, function(p)
    p:set(key, "1")
    p:get(key)
  end)) -- one whose answers need no parser: the library's own mistake since Lua 5.3
  return said
end

TestRedis = {}

function TestRedis:test_answers_as_over_LuaSocket()
  peers.luasocket()
  with_redis(function(redis, where)
    local plain = library(require)
    package.loaded.redis = nil
    local expected = conversation(plain.connect("127.0.0.1", where.port), "key")
    t.assertEquals(expected[3], { n = 1, "tea" })
    redis.connect("127.0.0.1", where.port):flushdb()
    t.assertEquals(conversation(redis.connect("127.0.0.1", where.port), "key"), expected)
    redis.connect("127.0.0.1", where.port):flushdb()
    t.assertEquals(conversation(redis.connect { scheme = "unix", path = where.path }, "key"), expected)
  end)
end

function TestRedis:test_twenty_talk_at_once_over_each_kind_of_socket()
  with_redis(function(redis, where)
    local urls = { "redis://127.0.0.1:" .. where.port, "unix://" .. where.path }
    together(function(i)
      local said = conversation(redis.connect(urls[i % 2 + 1]), "key" .. i)
      t.assertEquals(#said, 24)
      t.assertEquals(said[9], { n = 1, "a\r\nb\0c" })
      t.assertEquals(said[22], { n = 2, { 43, true, "43" }, 3 })
    end)
    local client = redis.connect("127.0.0.1", where.port)
    t.assertEquals(client:dbsize(), 5 * TOGETHER)
    t.assertTrue(client:quit())
  end)
end

function TestRedis:test_twenty_wait_and_one_serves_them()
  with_redis(function(redis, where)
    local got = {}
    local tasks = tasks_of(function(i)
      got[i] = redis.connect("127.0.0.1", where.port):blpop("work" .. i, 0)
    end)
    local client = redis.connect("127.0.0.1", where.port)
    t.wait_until(function() return blocked(client) == TOGETHER end)
    for i = TOGETHER, 1, -1 do client:rpush("work" .. i, "job " .. i) end
    asyncio.wait(tasks)
    for i = 1, TOGETHER do t.assertEquals(got[i], { "work" .. i, "job " .. i }) end
  end)
end

function TestRedis:test_transactions_that_watch_a_key_try_again()
  with_redis(function(redis, where)
    redis.connect("127.0.0.1", where.port):set("counter", 0)
    together(function()
      local client = redis.connect("127.0.0.1", where.port)
      local options = { watch = "counter", cas = true, retry = 1000 }
      local replies, n = client:transaction(options, function(tx)
        local before = tonumber(tx:get "counter")
        asyncio.sleep(0.001) -- so that others are quicker
        tx:multi()
        tx:set("counter", before + 1)
      end)
      t.assertEquals({ replies, n }, { { true }, 1 })
    end)
    t.assertEquals(redis.connect("127.0.0.1", where.port):get "counter", tostring(TOGETHER))
  end)
end

function TestRedis:test_subscribers_receive_in_a_coroutine_of_the_library()
  with_redis(function(redis, where)
    local heard, subscribed = {}, 0
    local tasks = tasks_of(function(i)
      local client = redis.connect("127.0.0.1", where.port)
      for message, abort in client:pubsub { subscribe = { "news", "own" .. i }, psubscribe = "p*" } do
        if message.kind:find "subscribe" then subscribed = subscribed + 1 end
        if message.kind:find "message" then heard[#heard + 1] = i .. message.channel .. message.payload end
        if message.channel == "own" .. i and message.kind == "message" then abort() end
      end
      t.assertTrue(client:ping()) -- an ordinary connection again
    end)
    t.wait_until(function() return subscribed == 3 * TOGETHER end)
    local client = redis.connect("127.0.0.1", where.port)
    t.assertEquals(client:publish("news", "tea"), TOGETHER)
    t.assertEquals(client:publish("paper", "cups"), TOGETHER)
    for i = 1, TOGETHER do client:publish("own" .. i, "end") end
    asyncio.gather(table.unpack(tasks))
    table.sort(heard)
    t.assertEquals(#heard, 3 * TOGETHER)
    t.assertEquals(heard[1], "10newstea")
  end)
end

function TestRedis:test_a_monitor_sees_what_others_do()
  with_redis(function(redis, where)
    local started = asyncio.Event()
    local seen = {}
    local monitor = asyncio.create_task(function()
      local client = redis.connect("127.0.0.1", where.port)
      local messages = client:monitor_messages()
      started:set()
      for message, abort in messages do
        seen[#seen + 1] = message.command
        if message.command == "DEL" then abort() end
      end
    end)
    started:wait()
    local client = redis.connect("127.0.0.1", where.port)
    t.wait_until(function()
      client:set("a", 1)
      return #seen > 0
    end)
    client:del "a"
    asyncio.await(monitor)
    t.assertEquals({ seen[1], seen[#seen] }, { "SET", "DEL" })
  end)
end

function TestRedis:test_a_server_that_is_silent_takes_as_long_as_the_time_limit_says()
  with_redis(function(redis, where)
    local client = redis.connect("127.0.0.1", where.port)
    together(function()
      local late = redis.connect("127.0.0.1", where.port, 0.05)
      t.assertStrContains(t.error_of(late.blpop, late, "nothing", 0), "connection error: timeout")
    end)
    t.assertTrue(client:ping())
  end)
end

function TestRedis:test_cancelled_in_the_middle()
  with_redis(function(redis, where)
    local tasks = tasks_of(function(i) return redis.connect("127.0.0.1", where.port):blpop("work" .. i, 0) end)
    local client = redis.connect { scheme = "unix", path = where.path }
    t.wait_until(function() return blocked(client) == TOGETHER end)
    for _, task in ipairs(tasks) do task:cancel() end
    asyncio.wait(tasks)
    for _, task in ipairs(tasks) do t.assertTrue(task:cancelled()) end
    t.wait_until(function() -- the connections go with what held them
      t.collect()
      return blocked(client) == 0
    end)
    client:rpush("work1", "job")
    t.assertEquals(client:lpop "work1", "job") -- nobody has taken it
  end)
end

function TestRedis:test_transactions_that_are_cancelled_change_nothing()
  with_redis(function(redis, where)
    local over = asyncio.Event()
    local begun = 0
    local tasks = tasks_of(function()
      return redis.connect("127.0.0.1", where.port):transaction(function(tx)
        tx:incr "counter"
        begun = begun + 1
        over:wait()
      end)
    end)
    t.wait_until(function() return begun == TOGETHER end)
    for _, task in ipairs(tasks) do task:cancel() end
    asyncio.wait(tasks)
    t.collect()
    t.assertFalse(redis.connect("127.0.0.1", where.port):exists "counter")
  end)
end

function TestRedis:test_a_server_that_dies_ends_what_waits_for_it()
  with_redis(function(redis, where)
    local client = redis.connect("127.0.0.1", where.port)
    local errors = {}
    local tasks = tasks_of(function(i)
      local urls = { "redis://127.0.0.1:" .. where.port, "unix://" .. where.path }
      local late = redis.connect(urls[i % 2 + 1])
      errors[i] = t.error_of(late.blpop, late, "nothing", 0)
    end)
    t.wait_until(function() return blocked(client) == TOGETHER end)
    os.execute("kill -KILL " .. where.server.pid)
    where.server:expect "%[status %d+%]"
    asyncio.wait(tasks)
    for i = 1, TOGETHER do t.assertStrContains(errors[i], "connection error: closed") end
    together(function()
      local err = t.error_of(redis.connect, "127.0.0.1", where.port)
      t.assertStrContains(err, ("could not connect to 127.0.0.1:%d [connection refused]"):format(where.port))
    end)
  end)
end

t.finish { sampled = true }
