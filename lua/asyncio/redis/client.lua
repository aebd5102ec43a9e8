--- The client: what programs call.
-- @module asyncio.redis.client
local check = require "asyncio.check"
local commands = require "asyncio.redis.commands"
local core = require "asyncio.core"
local errors = require "asyncio.redis.errors"
local pipeline = require "asyncio.redis.pipeline"
local sharing = require "asyncio.redis.sharing"
local subscription = require "asyncio.redis.subscription"
local words = require "asyncio.redis.words"

--- A client of a Redis server; `redis.connect` makes it. It has a method for every command,
-- `client:set(k, v)`, whose arguments are strings and numbers; `call` reaches those whose names are its own
-- methods'.
-- @type RedisClient
-- @usage
-- local function visit(client, page) -- how often it was looked at
--   local times = client:incr("visits:" .. page)
--   if times == 1 then client:expire("visits:" .. page, 24 * 3600) end
--   return times
-- end
local RedisClient = {}
local meta = { __index = RedisClient, __name = "asyncio.RedisClient" }

-- What a client is stands in client[1], so that no name of a command meets it.

local function ask(conn, bytes) return conn:ask(bytes) end

--- On a connection of its own, since it holds it up. for_seconds: false for ever
local function ask_alone(shared, bytes, for_seconds)
  while true do
    local lease <close> = shared:lease()
    local conn = lease.value
    conn.limit = for_seconds and for_seconds + shared.settings.timeout
    local sent, reply = conn:ask(bytes)
    if sent then return reply end
  end
end

local function run(self, before, method, name, ...)
  local bytes = commands.encode(before, method, name, ...)
  local shared, blocking = self[1], nil
  if words.BLOCKING[name] then blocking = words.blocks(name, ...) end
  local reply
  if blocking == nil then
    reply = shared:exchange(ask, bytes)
  else
    reply = ask_alone(shared, bytes, blocking)
  end
  if type(reply) == "table" and getmetatable(reply) then error(reply, 0) end
  return reply
end

--- Sends a command and waits for its reply: a string, an integer, a number, a boolean, nil, a list (its
-- field `n` says how many, since nils count), or a table by keys, where the server speaks the third version
-- of its protocol and calls it a map. An error reply is raised as a RedisError.
--
-- A caller that is cancelled gets no reply; what was sent is done all the same. What changes the connection
-- that others share (MULTI, SELECT, SUBSCRIBE, ...) is refused.
-- @string command
-- @param ... strings and numbers
-- @return its reply
function RedisClient:call(command, ...)
  check.self(self, meta, "call")
  local reply = run(self, 1, "call", commands.name_of(command), ...)
  return reply
end

commands.give_to(RedisClient, meta, run, function(self, bytes)
  local reply = self[1]:exchange(ask, bytes)
  if type(reply) == "table" and getmetatable(reply) then error(reply, 0) end
  return reply
end)

--- Sends what a function collects as one, and returns all replies: errors stand in their places. Other tasks'
-- commands may be done between them. If the function raises, nothing is sent.
-- @tparam function fn gets a RedisPipeline, `p:set(k, v)`
-- @treturn table the replies, with their number `n`
function RedisClient:pipeline(fn)
  check.self(self, meta, "pipeline")
  check.callable(fn, 1, "pipeline")
  local replies = pipeline.run(self[1], fn)
  return replies
end

local TRANSACTION = check.options {
  "transaction", 2, { "watch", "list" }, { "attempts", "integer", 1 },
  guesses = "keys watched=watch|retries max_attempts tries=attempts",
}

local function check_watch(keys)
  if #keys == 0 then check.error(2, "transaction", "'watch': a list with a key at least expected") end
  for i = 1, #keys do
    if type(keys[i]) ~= "string" and not math.type(keys[i]) then
      check.error(2, "transaction", ("'watch': a list of keys expected, got %s in it"):format(
        core.kind_of(keys[i])))
    end
  end
end

--- Has all that a function collects done as one, or none of it (MULTI and EXEC). With `watch` it has a
-- connection of its own, on which these keys are watched before the function runs: it reads through the
-- client, and collects what is to be written. If another has changed one of them meanwhile, nothing is done,
-- and the function runs again; after ten times that raises WatchError. If the function raises, nothing is
-- sent. A command that the server won't have makes it refuse all (RedisError, `errors` says which); one that
-- fails leaves its error in its place.
-- @tparam function fn gets a RedisPipeline
-- @tparam[opt] table opts `watch` (a list of keys), `attempts` (10)
-- @treturn table the replies, with their number `n`
function RedisClient:transaction(fn, opts)
  check.self(self, meta, "transaction")
  check.callable(fn, 1, "transaction")
  opts = TRANSACTION(opts)
  local replies
  if opts.watch then
    check_watch(opts.watch)
    replies = pipeline.watching(self[1], fn, opts.watch, opts.attempts or 10)
  else
    if opts.attempts then check.error(2, "transaction", "'attempts' does not go without 'watch'") end
    replies = pipeline.transaction(self[1], fn)
  end
  return replies
end

--- The keys and arguments of a script's call, in one list behind two values.
local function script_words(keys, ...)
  if type(keys) ~= "table" then check.fail(1, "script", "list of keys (a table)", keys) end
  local list, n = { n = 0 }, keys.n or #keys
  list[2] = n
  table.move(keys, 1, n, 3, list)
  local more = select("#", ...)
  for i = 1, more do list[n + 2 + i] = (select(i, ...)) end
  list.n = n + 2 + more
  for i = 3, list.n do
    if type(list[i]) ~= "string" and not math.type(list[i]) then
      check.fail(i <= n + 2 and 1 or i - n - 1, "script", i <= n + 2 and "list of keys (strings)"
        or "string or number", list[i])
    end
  end
  return list
end

--- A script in the server, as a function: `f({keys}, ...)` runs it there and returns its reply. It is sent
-- by its digest; a server that has lost it gets it again.
-- @string lua its source
-- @treturn function
function RedisClient:script(lua)
  check.self(self, meta, "script")
  if type(lua) ~= "string" then check.fail(1, "script", "script (a string)", lua) end
  local digest
  return function(keys, ...)
    local list = script_words(keys, ...)
    digest = digest or run(self, 0, "script", "SCRIPT", "LOAD", lua)
    list[1] = digest
    local ok, reply = core.pcall(run, self, 0, "script", "EVALSHA", table.unpack(list, 1, list.n))
    if not ok and core.isinstance(reply, errors.RedisError) and reply.code == "NOSCRIPT" then
      list[1] = lua
      reply = run(self, 0, "script", "EVAL", table.unpack(list, 1, list.n))
    elseif not ok then
      error(reply, 0)
    end
    return reply
  end
end

local SUBSCRIBE = check.options {
  "subscribe", 1, { "channels", "list" }, { "patterns", "list" },
  guesses = "channel=channels|pattern=patterns",
}

--- Subscribes, on a connection of its own, and returns once that is confirmed:
-- `for kind, channel, data, pattern in client:subscribe{channels={"news"}} do`. Kinds are `"message"`,
-- `"pmessage"` (of a pattern, the fourth value), and `"reconnected"`: the connection was lost and is there
-- again, and what was published meanwhile was missed. Leaving the loop ends it.
-- @tparam table opts `channels`, `patterns`: lists of names
-- @treturn RedisSubscription is called for the next event; gives nil when it has been closed
-- @return nil
-- @return nil
-- @treturn RedisSubscription the same, so that a `for` closes it
function RedisClient:subscribe(opts)
  check.self(self, meta, "subscribe")
  if opts == nil then check.fail(1, "subscribe", "table", opts) end
  opts = SUBSCRIBE(opts)
  local shared = self[1]
  if shared.closed then error(core.ClosedError "the client is closed", 0) end
  local sub = subscription.open(shared.settings, opts.channels, opts.patterns)
  shared.links[sub] = subscription.lose
  return sub, nil, nil, sub
end

--- Closes all its connections, at once: whoever waits for a reply gets an error.
function RedisClient:close()
  check.self(self, meta, "close")
  self[1]:close()
end

function meta:__close() self[1]:close() end

function meta:__gc()
  local shared = rawget(self, 1)
  if not shared or shared.closed or shared.loop:is_closed() then return end
  pcall(shared.loop.call_exception_handler, shared.loop, {
    message = "a client of redis was never closed (local client <close> = redis.connect())",
  })
  shared:close()
end

function meta:__tostring()
  local shared = self[1]
  return ("asyncio.RedisClient: %s, %s"):format(shared.settings.to,
    shared.closed and "closed" or shared.shared and "connected" or "not connected")
end

local function new(settings)
  return setmetatable({ sharing.open(settings) }, meta)
end

return { new = new, methods = RedisClient }
