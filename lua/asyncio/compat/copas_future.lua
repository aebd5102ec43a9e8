--- `copas.future`.
-- @module asyncio.compat.copas_future
local Semaphore = require "asyncio.compat.copas_semaphore"
local core = require "asyncio.core"
local threads = require "asyncio.compat.copas_threads"

local Future = {}
Future.__index = Future

local MOST = 9999 -- that wait

local future = { SUCCESS = true, PENDING = false, ERROR = "error" }

local function settle(self, ...)
  if self.results then return end
  self.results = table.pack(...)
  self.sema:give(self.sema:get_wait())
end

-- true and the results, or false and the error; waits for them.
function Future:get()
  if not self.results then self.sema:take(1, math.huge) end
  return table.unpack(self.results, 1, self.results.n)
end

Future.__call = Future.get

function Future:try()
  local results = self.results
  if not results then return future.PENDING end
  if results[1] then return future.SUCCESS, table.unpack(results, 2, results.n) end
  return future.ERROR, results[2]
end

function Future:cancel()
  if self.results then return false end
  settle(self, false, "cancelled")
  threads.remove(self.coro)
  return true
end

function future.addnamedthread(name, fn, ...)
  local self = setmetatable({ sema = Semaphore.new(MOST, 0, math.huge) }, Future)
  self.coro = threads.add(name, nil, function(...)
    local results = table.pack(core.catch(fn, ...))
    if results[1] or not threads.is_cancelled(results[2]) then
      return settle(self, table.unpack(results, 1, results.n))
    end
    settle(self, false, "cancelled")
    error(results[2], 0)
  end, ...)
  return self
end

function future.addthread(fn, ...) return future.addnamedthread(nil, fn, ...) end

return setmetatable(future, {
  __index = function(_, name) error("unknown field 'future." .. tostring(name) .. "'", 2) end,
})
