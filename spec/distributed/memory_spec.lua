-- The Redis in memory that schedules run on answers as a Redis does: random commands to both.
local t = require "helper"
local memory = require "distributed.memory"
local server = require "redis.server"

TestMemory = {}

local random = math.random

local function any(list) return list[random(#list)] end

local function word() return any { "a", "b", "c", "d" } end
local function score() return any { "1", "2", "2.5", "-3", "0" } end
local function id() return ("%d-%d"):format(random(5), random(0, 2)) end
local function bound() return any { "-", "+", id(), "(" .. id() } end

local function some(fn, n)
  local list = {}
  for i = 1, random(n or 3) do list[i] = fn() end
  return table.unpack(list)
end

local function pairs_of(a, b)
  local list = {}
  for _ = 1, random(3) do
    list[#list + 1] = a()
    list[#list + 1] = b()
  end
  return table.unpack(list)
end

--- Commands by what their key has. What one says of time or of an order that is nobody's is left out.
local COMMANDS = {
  function() return "SET", "s" .. word(), word() end,
  function() return "SET", "s" .. word(), word(), "NX" end,
  function() return "GET", "s" .. word() end,
  function() return "GETRANGE", "s" .. word(), "0", any { "0", "63" } end,
  function() return "MGET", some(function() return any { "s", "h" } .. word() end) end,
  function() return "DEL", some(function() return any { "s", "h", "l", "z" } .. word() end) end,
  function() return "EXISTS", some(function() return any { "s", "h", "l", "z", "x" } .. word() end) end,
  function() return "PEXPIRE", "s" .. word(), any { "0", "1000000" } end,
  function() return "HSET", "h" .. word(), pairs_of(word, word) end,
  function() return "HGET", "h" .. word(), word() end,
  function() return "HMGET", "h" .. word(), some(word) end,
  function() return "HINCRBY", "n" .. word(), word(), any { "1", "-2" } end,
  function() return "LPUSH", "l" .. word(), some(word) end,
  function() return "RPOP", "l" .. word() end,
  function() return "LLEN", "l" .. word() end,
  function() return "LRANGE", "l" .. word(), any { "0", "1", "-2" }, any { "-1", "0", "2" } end,
  function() return "LREM", "l" .. word(), "0", word() end,
  function() return "SADD", "S" .. word(), some(word) end,
  function() return "SREM", "S" .. word(), some(word) end,
  function() return "SCARD", "S" .. word() end,
  function() return "SMISMEMBER", "S" .. word(), some(word) end,
  function() return "ZADD", "z" .. word(), pairs_of(score, word) end,
  function() return "ZREM", "z" .. word(), some(word) end,
  function() return "ZCARD", "z" .. word() end,
  function() return "ZSCORE", "z" .. word(), word() end,
  function() return "ZCOUNT", "z" .. word(), any { "-inf", "1" }, any { "+inf", "2" } end,
  function() return "ZRANGE", "z" .. word(), any { "0", "1" }, any { "0", "-1" } end,
  function() return "ZRANGE", "z" .. word(), "0", "-1", "WITHSCORES" end,
  function() return "ZRANGEBYSCORE", "z" .. word(), any { "-inf", "1" }, any { "+inf", "2" } end,
  function() return "ZRANGEBYSCORE", "z" .. word(), "-inf", "2", "LIMIT", any { "0", "1" }, any { "1", "2" } end,
  function() return "ZPOPMIN", "z" .. word() end,
  function() return "GET", any { "h", "l", "z" } .. word() end,
}

local function stream() return "x" .. any { "a", "b" } end
local function group() return any { "g", "h" } end
local function consumer() return any { "me", "you" } end

local STREAMS = {
  function() return "XADD", stream(), id(), pairs_of(word, word) end,
  function() return "XADD", stream(), ("%d-%d"):format(random(6, 1000000), 0), pairs_of(word, word) end,
  function() return "XADD", "x" .. word(), "NOMKSTREAM", id(), pairs_of(word, word) end,
  function() return "XLEN", stream() end,
  function() return "XRANGE", stream(), bound(), bound() end,
  function() return "XRANGE", stream(), "-", "+", "COUNT", any { "1", "2" } end,
  function() return "XDEL", stream(), some(id) end,
  function() return "XTRIM", stream(), "MINID", ("%d"):format(random(3)) end,
  function() return "XGROUP", "CREATE", stream(), group(), any { "0", "2", "$" } end,
  function() return "XGROUP", "CREATE", stream(), group(), "0", "MKSTREAM" end,
  function() return "XGROUP", "DELCONSUMER", stream(), group(), consumer() end,
  function() return "XREADGROUP", "GROUP", group(), consumer(), "COUNT", any { "1", "3" }, "STREAMS", stream(), ">" end,
  function() return "XREAD", "COUNT", any { "1", "9" }, "STREAMS", stream(), any { "0", id(), "$" } end,
  function() return "XACK", stream(), group(), some(id) end,
  function() return "XPENDING", stream(), group() end,
  function() return "XPENDING", stream(), group(), bound(), bound(), any { "1", "10" } end,
  function() return "XPENDING", stream(), group(), "IDLE", any { "0", "1000000" }, "-", "+", "10", consumer() end,
  function() return "XCLAIM", stream(), group(), consumer(), any { "0", "1000000" }, some(id) end,
  function() return "XCLAIM", stream(), group(), consumer(), "0", id(), "JUSTID" end,
  function() return "XCLAIM", stream(), group(), consumer(), "0", id(), "IDLE", "2000000", "JUSTID" end,
}

--- A reply in words. pending: the third of four is a time, which goes by.
local function shown(reply, pending)
  if reply == nil or reply == memory.NULL then return "null" end
  if type(reply) ~= "table" then return math.type(reply) == "integer" and tostring(reply) or ("%q"):format(reply) end
  if reply.ok then return ("%q"):format(reply.ok) end
  if reply.err then return "error " .. reply.err:match "^%S+" end
  local parts = {}
  for i = 1, reply.n or #reply do parts[i] = shown(reply[i], pending) end
  if pending and #parts == 4 and math.type(reply[3]) == "integer" then parts[3] = "some" end
  return "[" .. table.concat(parts, " ") .. "]"
end

local function real_reply(client, command)
  local ok, reply = t.asyncio.pcall(client.call, client, table.unpack(command))
  if ok then return reply end
  return { err = reply.message }
end

local function compare(client, commands, n)
  local seed = tonumber(os.getenv "SPEC_SEED") or os.time() + random(1 << 20)
  math.randomseed(seed)
  local db = memory.new(function() return os.time() * 1000 end)
  client:call "FLUSHALL"
  for i = 1, n do
    local command = { any(commands)() }
    local words = table.concat(command, " ")
    local mine, its = db:reply(table.unpack(command)), real_reply(client, command)
    local pending = command[1] == "XPENDING"
    t.assertEquals(shown(mine, pending), shown(its, pending), ("SPEC_SEED=%d, command %d: %s"):format(seed, i, words))
  end
end

function TestMemory:test_keys_of_all_kinds()
  server.test(function(client) compare(client, COMMANDS, t.count(5000)) end, nil, { protocol = 2 })
end

function TestMemory:test_streams_and_their_groups()
  server.test(function(client) compare(client, STREAMS, t.count(8000)) end, nil, { protocol = 2 })
end

local SCRIPT = [[
local call = redis.call
call('SET', KEYS[1], cmsgpack.pack({ 1, 2.5, 'x', { a = true, [2] = 3 }, {} }))
local back = cmsgpack.unpack(call('GET', KEYS[1]))
local failed = redis.pcall('LPUSH', KEYS[1], 'x')
return { back[1], back[2] * 2, back[3], back[4].a, back[4][2], #back[5], type(failed.err), ARGV[1], call('GET', 'none'),
  call('ZADD', KEYS[2], 3, 'm'), call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'), 1.9, -1.9, { ok = 'FINE' }, false, 7 }
]]

function TestMemory:test_scripts()
  server.test(function(client)
    local db = memory.new(function() return 0 end)
    local mine = db:reply("EVAL", SCRIPT, "2", "k", "z", "an argument")
    t.assertEquals(shown(mine), shown(client:call("EVAL", SCRIPT, 2, "k", "z", "an argument")))
    local digest = db:run("SCRIPT", "LOAD", SCRIPT)
    t.assertEquals(shown(db:reply("EVALSHA", digest, "2", "k", "z2", "an argument")), shown(mine))
    t.assertEquals(shown(db:reply("EVALSHA", ("0"):rep(40), "0")), "error NOSCRIPT")
    for _, wrong in ipairs { "nothing()", "x = 1", "return redis.call('GET', {})", "error('x')" } do
      t.assertStrContains(shown(db:reply("EVAL", wrong, "0")), "error", wrong)
    end
  end, nil, { protocol = 2 })
end

t.finish()
