-- slow: No reply of Redis goes to another than who asked for it, whoever is cancelled and whatever the network does.
local t = require "helper"
local proxy = require "redis.proxy"
local server = require "redis.server"

local asyncio = t.asyncio

TestShift = {}

local LIMIT = t.slow and 2 or 0.2 -- seconds of silence

local seed = math.tointeger(os.getenv "SEED" or os.getenv "CHECK_SEED" or os.time())

--- A call whose answer only it can have, of any kind; what is wrong with the answer, if anything.
local CALLS = {
  function(client, text) return client:echo(text) == text end,
  function(client, text) return client:echo(text:rep(200)) == text:rep(200) end,
  function(client, text)
    local replies = client:pipeline(function(p)
      for i = 1, 5 do p:echo(text .. i) end
      p:get(text)
    end)
    for i = 1, 5 do
      if replies[i] ~= text .. i then return false end
    end
    return replies.n == 6 and replies[6] == nil
  end,
  function(client, text)
    local replies = client:transaction(function(p)
      p:echo(text)
      p:echo(text .. "x")
    end)
    return replies.n == 2 and replies[1] == text and replies[2] == text .. "x"
  end,
  function(client, text)
    client:set("key " .. text, text, "PX", 60000)
    local value = client:get("key " .. text)
    return value == text or value == nil -- the server may have been told nothing
  end,
  function(client, text) return client:eval("return {ARGV[1], #ARGV}", 0, text)[1] == text end,
  function(client, text)
    local ok, err = asyncio.pcall(client.call, client, "nosuch" .. text:gsub("%W", ""))
    return not ok and (not tostring(err):find "unknown command"
      or tostring(err):find("NOSUCH" .. text:gsub("%W", ""):upper(), 1, true) ~= nil)
  end,
  function(client, text)
    client:rpush("list " .. text, text)
    local popped = client:blpop("list " .. text, 0.01)
    return popped == nil or popped[2] == text
  end,
}

--- What a liar says may be wrong, but it isn't another's.
local LIED_TO = { function(client, text)
  local reply = client:echo(text)
  return reply == text or type(reply) ~= "string" or not reply:find "^task%d+%.%d+$"
end }

--- Many tasks, many calls, some of which are cancelled; counts. harm: errors of the connection may come
local function storm(client, tasks, calls, harm, kinds)
  kinds = kinds or CALLS
  local done, cancelled, failed = 0, 0, 0
  local function one(name)
    for i = 1, calls do
      local text = ("%s.%d"):format(name, i)
      local call = kinds[math.random(#kinds)]
      local ok, right = asyncio.pcall(function()
        if math.random(3) > 1 then return call(client, text) end
        local limit <close> = asyncio.timeout(math.random() * math.random() / 100)
        return call(client, text), limit
      end)
      if not ok and asyncio.isinstance(right, asyncio.TimeoutError) then
        cancelled = cancelled + 1
      elseif not ok then
        failed = failed + 1
        local lied_to = kinds == LIED_TO and asyncio.isinstance(right, asyncio.redis.RedisError)
        if not (lied_to or harm and asyncio.isinstance(right, asyncio.ConnectionError)) then error(right, 0) end
      else
        done = done + 1
        if not right then t.fail(("a reply was another's (SEED=%d)"):format(seed)) end
      end
    end
  end
  do
    local group <close> = asyncio.TaskGroup()
    for i = 1, tasks do group:create_task(one, "task" .. i) end
  end
  return done, cancelled, failed
end

function TestShift:test_does_not_happen_to_those_who_were_not_cancelled()
  math.randomseed(seed)
  server.test(function(client)
    local done, cancelled = storm(client, 40, t.count(250), false)
    t.assertTrue(done > 0)
    if not t.slow then t.assertTrue(cancelled > 100) end
  end)
end

local function through(harms, kinds)
  math.randomseed(seed)
  t.real(function()
    local db <close> = server.start()
    proxy.with(db, harms, function(path)
      local ok, client
      repeat -- its first words may be harmed, too
        ok, client = asyncio.pcall(asyncio.redis.connect, { path = path, timeout = LIMIT, connect_timeout = 5 })
      until ok
      local _ <close> = client
      local done, _, failed = storm(client, 20, t.count(60), true, kinds)
      t.assertTrue(done > 0)
      if not t.slow then t.assertTrue(failed > 0) end
    end)
  end)
end

function TestShift:test_does_not_happen_where_connections_are_cut()
  through { there = { "cut", "hold" }, back = { "cut", "hold" }, mean = 20000 }
end

function TestShift:test_does_not_happen_where_bytes_are_swallowed()
  through { there = { "swallow" }, back = { "swallow", "hold" }, mean = 40000 }
end

function TestShift:test_does_not_happen_where_the_peer_lies()
  through({ back = { "garbage" }, mean = 2000 }, LIED_TO)
end

function TestShift:test_does_not_happen_when_clients_are_killed()
  math.randomseed(seed)
  server.test(function(client, db)
    local other <close> = db:connect()
    local killer = asyncio.create_task(function()
      while true do
        asyncio.sleep(math.random() / 20)
        other:client("KILL", "TYPE", "normal", "SKIPME", "yes")
      end
    end)
    local done, failed = 0, 0
    for _ = 1, 100 do -- a quick machine may have nothing under way whenever one is killed
      local d, _, f = storm(client, 20, t.count(100), true)
      done, failed = done + d, failed + f
      if failed > 0 then break end
    end
    killer:stop()
    t.assertTrue(done > 0 and failed > 0)
  end)
end

t.finish()
