--- Garbage of the copas face is collected while its threads do nothing: a socket that nobody has closed may
-- be what another waits for.
-- @module asyncio.compat.copas_idle
local core = require "asyncio.core"

local idle = {}

local AFTER = 0.1 -- seconds in which no thread has run
local PAUSE = 1 -- seconds between two collections, at least ...
local SHARE = 20 -- ... and so many times as long as one takes

local function collect(world)
  local began = os.clock()
  collectgarbage "collect"
  local took = os.clock() - began
  world.next_sweep = world.loop:time() + math.max(PAUSE, SHARE * took)
end

local function arm(world, seconds)
  local seen = world.waits
  world.sweep = world.loop:call_later(seconds, function()
    world.sweep = nil
    if world.waits ~= seen then
      arm(world, AFTER)
    elseif world.reading + world.writing > 0 then -- else it would free memory, and no thread
      local early = world.next_sweep - world.loop:time()
      if early > 0 then arm(world, early) else collect(world) end
    end
  end)
end

--- A thread is going to wait.
function idle.note(world)
  world.waits = world.waits + 1
  if not world.sweep and world.loops > 0 and core.in_run() then arm(world, AFTER) end
end

--- No loop runs in this world any more.
function idle.stop(world)
  if world.sweep then world.sweep:cancel() end
  world.sweep = nil
end

return idle
