--- The classes of errors that a Redis server answers with.
-- @module asyncio.redis.errors
local core = require "asyncio.core"

local errors = {}

errors.RedisError = core.Error:subclass "RedisError"
errors.WatchError = errors.RedisError:subclass "WatchError"

--- Whether a reply is an error: nothing else that a parser gives, or a connection that was lost, has a
-- metatable.
function errors.is(value) return type(value) == "table" and getmetatable(value) ~= nil end

--- The reply, or its error.
function errors.raise(value)
  if type(value) == "table" and getmetatable(value) then error(value, 0) end
  return value
end

return errors
