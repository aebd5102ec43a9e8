--- A client for Redis: `asyncio.redis`. Tasks share one connection: what they send in a turn of the loop
-- leaves together, and each gets its own reply. When the connection is lost it is made again, with growing
-- pauses: what was not sent waits for that, `connect_timeout` at most; what was sent and not answered raises
-- ConnectionError, since nobody knows whether it was done, and is never sent twice. The errors are classes
-- below `asyncio.Error`, and fields of this module:
--
-- - `RedisError`: the server's answer is an error; `code` is its first word ("WRONGTYPE", "ERR")
--   - `WatchError`: what a transaction had watched was changed meanwhile
--
-- Commands that may block (BLPOP, XREAD with BLOCK, WAIT, ...) have a connection of their own from a pool.
-- One that is cancelled closes it, and what the server had popped for it by then is lost: BLMOVE and streams
-- lose nothing.
-- @module asyncio.redis
-- @usage
-- local function main()
--   local client <close> = asyncio.redis.connect "redis://127.0.0.1:6379"
--   client:set("tea", "green", "EX", 60)
--   print(client:get "tea")
-- end
local client = require "asyncio.redis.client"
local errors = require "asyncio.redis.errors"
local settings = require "asyncio.redis.settings"

local redis = {}

--- An error that the server has answered with: `code` is its first word, `message` all of it.
redis.RedisError = errors.RedisError

--- What a transaction watches was changed by others, again and again.
redis.WatchError = errors.WatchError

--- Connects to a server, and returns once it has let us in; raises what goes wrong (OSError, RedisError,
-- TimeoutError). URLs are `redis://user:password@host:port/db`, `rediss://` for TLS,
-- `unix://user:password@/path?db=0`; what has a special meaning there is written as %XX.
-- @tparam[opt] string|table where a URL; or the options, `host` ("127.0.0.1"), `port` (6379) or `path` among
-- them
-- @tparam[opt] table opts beside a URL: `username`, `password`, `db` (0), `client_name`, `ssl` (a client's
-- context, or true), `server_hostname`, `connect_timeout` (10 s), `timeout` (30 s: no byte for so long while
-- answers are owed, and the connection is dead), `max_connections` (100, for what blocks), `protocol` (3; 2
-- where the server has no other)
-- @treturn RedisClient
-- @function redis.connect
function redis.connect(where, opts)
  local made = client.new(settings.read(where, opts))
  return made
end

return redis
