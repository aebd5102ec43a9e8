-- limiter.lua [URL] - a limit of requests for all programs together: ten at once, then five a second, for
-- each visitor. A bucket of tokens in Redis, filled by the time that has passed; a script, so nobody comes
-- between reading and writing; the time is the server's, so the programs' clocks don't matter.
local asyncio = require "asyncio"

local SIZE, PER_SECOND = 10, 5

local TAKE = [[
  local size, per_second = tonumber(ARGV[1]), tonumber(ARGV[2])
  local time = redis.call("TIME")
  local now = time[1] + time[2] / 1e6
  local bucket = redis.call("HMGET", KEYS[1], "tokens", "at")
  local tokens, at = tonumber(bucket[1]) or size, tonumber(bucket[2]) or now
  tokens = math.min(size, tokens + math.max(0, now - at) * per_second)
  local allowed = tokens >= 1
  if allowed then tokens = tokens - 1 end
  redis.call("HSET", KEYS[1], "tokens", tostring(tokens), "at", string.format("%.6f", now))
  redis.call("PEXPIRE", KEYS[1], math.ceil(size / per_second * 1000) + 1000)
  return { allowed and 1 or 0, tostring(allowed and 0 or (1 - tokens) / per_second) }
]]

--- A function of a visitor: whether one more request is allowed; if not, after how many seconds.
local function new_limiter(client)
  local take = client:script(TAKE)
  return function(visitor)
    local reply = take({ "limit:" .. visitor }, SIZE, PER_SECOND)
    return reply[1] == 1, tonumber(reply[2])
  end
end

asyncio.run(function()
  local client <close> = asyncio.redis.connect(arg[1] or "redis://127.0.0.1:6379")
  client:del("limit:ann", "limit:bob")
  local allows = new_limiter(client)
  local granted, refused = 0, 0
  for _ = 1, 30 do
    if allows "ann" then granted = granted + 1 else refused = refused + 1 end
  end
  print(("ann: %s at once"):format(granted >= SIZE and granted + refused == 30 and "some of 30" or "?"))
  print(("bob: %s"):format(allows "bob" and "allowed" or "refused"))
  local again, wait = allows "ann"
  while not again do
    asyncio.sleep(wait)
    again, wait = allows "ann"
  end
  print "ann: allowed again"
end)
