-- oom.lua - for specs about memory that runs out, and finalisers at every allocation: runs tools/oom/host.c.
local t = require "helper"
local oom = {}

local root = arg[0]:match "^(.*/)spec/" or "./"

--- Runs the program with these arguments; fails when one of its runs does. `make oom finalisers` does so under
-- checkers of its own: under others a spec leaves its tests out.
function oom.run(arguments, scenario)
  local source = io.open(root .. "tools/oom/host.c")
  if not source then t.skip "tools/oom is not here" end
  source:close()
  -- Eight at a time: most runs sleep, for as long as a task does that nobody had the memory to cancel.
  local command = ([[cd '%s' && make -s build/oom/host >&2 && build/oom/host -j 8 %s tools/oom/%s.lua 2>&1]])
  local pipe <close> = assert(io.popen(command:format(root, arguments, scenario or "scenario")))
  local output = pipe:read "a"
  local passed, failed = ("\n" .. output):match "\n(%d+) passed, (%d+) failed, 0 skipped\n$"
  if failed ~= "0" or passed == "0" then t.fail(output) end
  return output
end

return oom
