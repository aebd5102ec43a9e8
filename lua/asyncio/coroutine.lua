--- A drop-in for the standard `coroutine` table, in whose coroutines an await suspends the task.
--
-- A module of its own, so that its functions have a name by which they cross between threads.
-- @module asyncio.coroutine
local core = require "asyncio.core"

return {
  create = coroutine.create,
  running = coroutine.running,
  isyieldable = coroutine.isyieldable,
  resume = core.coroutine.resume,
  wrap = core.coroutine.wrap,
  yield = core.coroutine.yield,
  status = core.coroutine.status,
  close = core.coroutine.close,
}
