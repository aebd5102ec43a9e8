--- The loop for what runs outside of any: one of the state's, which is kept, and a runner that runs it.
-- @module asyncio.compat.home
local core = require "asyncio.core"
local runner = require "asyncio.runner"

local home = {}

local own

--- The kept loop, if it is there; in a forked child the one there was is the parent's.
local function kept_loop()
  local loop = own and own:get_loop()
  if loop and loop:is_closed() then
    own = nil
    return nil
  end
  return loop
end

--- The runner, made at the first call.
function home.runner()
  if not kept_loop() then
    core.check_alive() -- it would never be released
    own = runner.Runner {}
  end
  return own
end

--- The loop that runs, or nil.
function home.running() return core.in_run() and core.get_running_loop() or nil end

--- The loop that runs, else the one that is kept; and its runner, if it is that.
function home.loop()
  local loop, kept = home.running(), kept_loop()
  if loop then return loop, loop == kept and own or nil end
  return kept or home.runner():get_loop(), own
end

return home
