--- `copas.semaphore`.
-- @module asyncio.compat.copas_semaphore
local line = require "asyncio.compat.copas_line"

local Semaphore = {}
Semaphore.__index = Semaphore

local DEFAULT_TIMEOUT = 10

function Semaphore.new(max, start, seconds)
  local timeout = tonumber(seconds or DEFAULT_TIMEOUT) or -1
  if timeout < 0 then
    error("expected timeout (2nd argument) to be a number greater than or equal to 0, got: "
      .. tostring(seconds), 2)
  end
  if type(max) ~= "number" or max < 1 then
    error("expected max resources (1st argument) to be a number greater than 0, got: " .. tostring(max), 2)
  end
  return setmetatable({ count = start or 0, max = max, timeout = timeout, line = line.new() }, Semaphore)
end

-- true; or nil and "too many": the rest is lost.
function Semaphore:give(given)
  local count = self.count + (given or 1)
  local too_many = count > self.max
  if too_many then count = self.max end
  for place in line.first, self.line do
    if count < place.requested then break end
    count = count - place.requested
    line.serve(place, true)
  end
  self.count = count
  if too_many then return nil, "too many" end
  return true
end

function Semaphore:take(requested, timeout)
  requested = requested or 1
  if not line.first(self.line) and self.count >= requested then
    self.count = self.count - requested
    return true
  end
  if requested > self.max then return nil, "too many" end
  timeout = timeout or self.timeout
  if timeout == 0 then return nil, "timeout" end
  local result = line.wait(self.line, timeout, function(served)
    self:give(served and requested or 0)
  end, { requested = requested })
  if result == true then return true end
  self:give(0) -- those behind may need less
  return nil, result
end

function Semaphore:get_count() return self.count end

-- How many more are needed to let all in that wait.
function Semaphore:get_wait()
  local wanted = 0
  for i = self.line.first, self.line.last do
    local place = self.line[i]
    if place and not place.left then wanted = wanted + place.requested end
  end
  return wanted - self.count
end

function Semaphore:destroy()
  for place in line.first, self.line do line.serve(place, "destroyed") end
  line.destroy(self)
  return true
end

return Semaphore
