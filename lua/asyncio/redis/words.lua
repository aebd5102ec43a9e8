--- Which commands change the connection that they are sent on, and which block it.
-- @module asyncio.redis.words
local words = {}

local IN_TRANSACTION = "client:transaction(function(p) ... end)"
local SUBSCRIBE = "client:subscribe{channels=, patterns=}"
local CONNECTING = "redis.connect{username=, password=, protocol=}"

--- Command → what to use in its place: it would change what others on the connection see.
words.REFUSED = {
  MULTI = IN_TRANSACTION, EXEC = IN_TRANSACTION, DISCARD = IN_TRANSACTION,
  WATCH = "client:transaction(function(p) ... end, {watch={...}})", UNWATCH = "client:transaction",
  SELECT = "redis.connect{db=}, a client for each database",
  SUBSCRIBE = SUBSCRIBE, PSUBSCRIBE = SUBSCRIBE, SSUBSCRIBE = SUBSCRIBE, UNSUBSCRIBE = SUBSCRIBE,
  PUNSUBSCRIBE = SUBSCRIBE, SUNSUBSCRIBE = SUBSCRIBE,
  MONITOR = "another program: redis-cli monitor", SYNC = "another program", PSYNC = "another program",
  AUTH = CONNECTING, HELLO = CONNECTING, RESET = "client:close() and redis.connect", QUIT = "client:close()",
}

--- The same for those whose second word it is.
words.REFUSED_CLIENT = {
  REPLY = "client:pipeline(function(p) ... end) where answers take too long",
  SETNAME = "redis.connect{client_name=}",
  TRACKING = "client:subscribe and what you publish yourself", CACHING = "client:get, which asks the server",
}

-- Command → how many seconds it may block, of its arguments (without its name): false for ever, nil not at
-- all.

local function seconds(value, per)
  value = tonumber(value)
  if not value or value ~= value or value <= 0 then return false end
  return value / (per or 1)
end

local function last(n, ...) return seconds((select(n, ...))) end
local function first(_, ...) return seconds((...)) end
local function second_in_ms(_, ...) return seconds((select(2, ...)), 1000) end
local function third_in_ms(_, ...) return seconds((select(3, ...)), 1000) end

--- XREAD and XREADGROUP, with BLOCK before STREAMS.
local function option(n, ...)
  for i = 1, n - 1 do
    local word = select(i, ...)
    word = type(word) == "string" and word:upper()
    if word == "STREAMS" then return nil end
    if word == "BLOCK" then return seconds((select(i + 1, ...)), 1000) end
  end
  return nil
end

words.BLOCKING = {
  BLPOP = last, BRPOP = last, BRPOPLPUSH = last, BLMOVE = last, BZPOPMIN = last, BZPOPMAX = last,
  BLMPOP = first, BZMPOP = first, WAIT = second_in_ms, WAITAOF = third_in_ms,
  XREAD = option, XREADGROUP = option,
}

--- How long that call may block: seconds, false for ever, nil if it doesn't.
function words.blocks(name, ...)
  local rule, n = words.BLOCKING[name], select("#", ...)
  if rule and n > 0 then return rule(n, ...) end
  return nil
end

return words
