--- Commands that are collected, and sent all at once: pipelines and transactions.
-- @module asyncio.redis.pipeline
local check = require "asyncio.check"
local commands = require "asyncio.redis.commands"
local core = require "asyncio.core"
local errors = require "asyncio.redis.errors"
local grammar = require "asyncio.grammar"
local words = require "asyncio.redis.words"

local sending = {}

--- What collects commands: `RedisClient:pipeline` and `RedisClient:transaction` hand it to their function. It
-- has a method for every command, `p:get(key)`, which sends nothing and returns nothing.
-- @type RedisPipeline
-- @usage
-- local function count(client, page, visitor)
--   local replies = client:pipeline(function(p)
--     p:incr("visits:" .. page)
--     p:pfadd("visitors:" .. page, visitor)
--     p:pfcount("visitors:" .. page)
--   end)
--   return replies[1], replies[3]
-- end
local RedisPipeline = {}
local meta = { __index = RedisPipeline, __name = "asyncio.RedisPipeline" }

local MULTI, EXEC = grammar.resp_encode "MULTI", grammar.resp_encode "EXEC"

local function add(self, bytes)
  if self.sent then
    local text = "the commands were sent already: what collects them ends with its function"
    error(core.InvalidStateError(text), 0)
  end
  local n = self.n + 1
  self[n], self.n = bytes, n
end

local function collect(self, before, method, name, ...)
  if words.BLOCKING[name] and not self.atomic and words.blocks(name, ...) ~= nil then
    check.raise(name .. " may block, and with it all that share the connection: call it on the client")
  end
  add(self, commands.encode(before, method, name, ...))
end

--- Collects any command, also those whose names are RedisPipeline of its own.
-- @string command
-- @param ... strings and numbers
function RedisPipeline:call(command, ...)
  check.self(self, meta, "call")
  collect(self, 1, "call", commands.name_of(command), ...)
end

commands.give_to(RedisPipeline, meta, collect, add)

function meta:__tostring()
  return ("asyncio.RedisPipeline: %d command%s%s"):format(self.n, self.n == 1 and "" or "s",
    self.sent and ", sent" or "")
end

function meta:__len() return self.n end

--- What fn collects. If it raises an error nothing is sent.
local function collected(fn, atomic)
  local p = setmetatable({ n = 0, sent = false, atomic = atomic }, meta)
  local ok, err = core.catch(fn, p)
  p.sent = true
  if not ok then error(err, 0) end
  return p
end

local function ask_all(conn, bytes, n) return conn:ask_all(bytes, n) end

--- Sends what fn collects on the shared connection: the list of replies.
function sending.run(sharing, fn)
  local p = collected(fn, false)
  if p.n == 0 then return { n = 0 } end
  return errors.raise(sharing:exchange(ask_all, table.concat(p, "", 1, p.n), p.n))
end

--- The replies to MULTI, n commands and EXEC: the list that EXEC gave; nil: something watched has changed.
local function read_transaction(replies, n)
  local result = replies[n + 2]
  if not errors.is(result) then
    if result ~= nil and (type(result) ~= "table" or result.n ~= n) then
      error(core.ConnectionError "redis: EXEC was answered with something else", 0)
    end
    return result
  end
  local refused = {}
  for i = 1, n do
    local reply = replies[i + 1]
    if errors.is(reply) then refused[#refused + 1] = reply end
  end
  result.errors = refused
  if refused[1] then result.message = result.message .. " " .. refused[1].message end
  error(result, 0)
end

local function as_bytes(p) return MULTI .. table.concat(p, "", 1, p.n) .. EXEC end

--- A transaction that watches nothing.
function sending.transaction(sharing, fn)
  local p = collected(fn, true)
  if p.n == 0 then return { n = 0 } end
  return read_transaction(errors.raise(sharing:exchange(ask_all, as_bytes(p), p.n + 2)), p.n)
end

local function sent_or_raise(conn, sent, reply)
  if not sent then error(core.ConnectionError(("redis at %s: %s"):format(conn.settings.to, conn.lost)), 0) end
  return errors.raise(reply)
end

--- One attempt, on a connection of its own: the list; false: another has changed what is watched; nil: the
-- connection had gone before anything was sent.
local function attempt(sharing, fn, watch)
  local lease <close> = sharing:lease()
  local conn = lease.value
  conn.limit = conn.settings.timeout
  local sent, reply = conn:ask(watch)
  if not sent then return nil end
  errors.raise(reply)
  local p = collected(fn, true)
  if p.n == 0 then
    sent_or_raise(conn, conn:ask((grammar.resp_encode "UNWATCH")))
    return { n = 0 }
  end
  return read_transaction(sent_or_raise(conn, conn:ask_all(as_bytes(p), p.n + 2)), p.n) or false
end

--- One that watches keys.
function sending.watching(sharing, fn, keys, attempts)
  local watch = grammar.resp_encode("WATCH", table.unpack(keys))
  local n = 0
  while n < attempts do
    local result = attempt(sharing, fn, watch)
    if result then return result end
    if result == false then n = n + 1 end
  end
  error(errors.WatchError {
    code = "WATCH", attempts = attempts,
    message = ("what the transaction watches was changed meanwhile, %d times"):format(attempts),
  }, 0)
end

sending.methods = RedisPipeline

return sending
