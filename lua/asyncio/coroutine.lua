--- A drop-in for the standard `coroutine` table, in whose coroutines an await suspends the task.
-- It is `asyncio.coroutine`, too. `create`, `running` and `isyieldable` are the standard ones.
-- @module asyncio.coroutine
-- @usage
-- local function countdown(n)
--   return asyncio.coroutine.wrap(function()
--     for i = n, 1, -1 do
--       asyncio.sleep(1) -- suspends the task
--       asyncio.coroutine.yield(i) -- goes to the loop below
--     end
--   end)
-- end
-- local list = {}
-- for i in countdown(3) do list[#list + 1] = i end
-- print(table.concat(list, " ")) --> 3 2 1
local core = require "asyncio.core"

-- A module, so that its functions have a name by which they cross between threads.
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
