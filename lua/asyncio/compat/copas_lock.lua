--- `copas.lock`.
-- @module asyncio.compat.copas_lock
local line = require "asyncio.compat.copas_line"
local threads = require "asyncio.compat.copas_threads"
local socket = require "asyncio.socket"

local Lock = {}
Lock.__index = Lock

local DEFAULT_TIMEOUT = 10

function Lock.new(seconds, not_reentrant)
  local timeout = tonumber(seconds or DEFAULT_TIMEOUT) or -1
  if timeout < 0 then
    error("expected timeout (1st argument) to be a number greater than or equal to 0, got: "
      .. tostring(seconds), 2)
  end
  return setmetatable({ timeout = timeout, not_reentrant = not_reentrant, line = line.new() }, Lock)
end

--- To the first who waits.
local function hand_on(self)
  local place = line.first(self.line)
  self.owner = place and place.thread.co
  if not place then return end
  self.calls, self.next = 1, place
  line.serve(place, true)
end

-- 0 or how long it took; or nil, why not, and how long.
function Lock:get(timeout)
  local me = threads.running()
  if not self.owner then
    self.owner, self.calls = me, 1
    return 0
  elseif self.owner == me and not self.not_reentrant then
    self.calls = self.calls + 1
    return 0
  end
  timeout = timeout or self.timeout
  if timeout == 0 then return nil, "timeout", 0 end
  local began = socket.gettime()
  local result = line.wait(self.line, timeout, function(served)
    if served then hand_on(self) end
  end)
  self.next = nil
  if result == true then return socket.gettime() - began end
  return nil, result, socket.gettime() - began
end

function Lock:release()
  if self.owner ~= threads.running() then return nil, "cannot release a lock not owned" end
  self.calls = self.calls - 1
  if self.calls == 0 then hand_on(self) end
  return true
end

function Lock:destroy()
  if self.next then self.next.result = "destroyed" end -- it has not gone on yet
  for place in line.first, self.line do line.serve(place, "destroyed") end
  line.destroy(self)
  return true
end

return Lock
