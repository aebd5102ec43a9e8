--- Threads of the copas face that wait in a line: what its locks and semaphores stand on.
-- @module asyncio.compat.copas_line
local threads = require "asyncio.compat.copas_threads"
local core = require "asyncio.core"

local line = {}

function line.new() return { first = 1, last = 0 } end

--- The first in it that still waits, or nil.
function line.first(self)
  while self.first <= self.last do
    local place = self[self.first]
    if place and not place.left and not place.thread.removed then return place end
    self[self.first] = nil
    self.first = self.first + 1
  end
end

--- Lets it go on with that: true, or an error's word.
function line.serve(place, result)
  place.left, place.result = true, result
  threads.wake(place.thread.co)
end

--- Waits for its turn, so long; math.huge: without limit. → what it was served with, or "timeout". When it
-- is cancelled, `undo` is told whether it had been served.
function line.wait(self, seconds, undo, fields)
  local place = fields or {}
  place.thread, place.left, place.result = threads.current(), false, false -- to serve it takes no memory
  if not place.thread then error("only a thread of copas can wait here", 0) end
  self.last = self.last + 1
  self[self.last] = place
  local ok, err = core.catch(threads.suspend, seconds ~= math.huge and seconds or nil)
  if ok and place.result then return place.result end
  place.left = true
  if not ok then
    undo(place.result == true)
    error(err, 0)
  end
  return "timeout"
end

local function destroyed() return nil, "destroyed" end

local DESTROYED = { __index = function() return destroyed end }

--- All its methods return nil, "destroyed" from now on.
function line.destroy(object)
  object.destroyed = true
  return setmetatable(object, DESTROYED)
end

return line
