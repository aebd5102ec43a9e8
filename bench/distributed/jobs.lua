-- jobs.lua - what workers run in ../distributed.lua
local jobs = {}

function jobs.empty() end

--- A millisecond of processor time.
function jobs.busy()
  local ends = os.clock() + 0.001
  repeat until os.clock() >= ends
end

return jobs
