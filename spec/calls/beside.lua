-- What cases of clients share: others who call meanwhile, and get what is theirs.
local asyncio = require "asyncio"

local beside = {}

--- The reply is the one to this call.
function beside.check(value, wanted)
  if value ~= wanted then error(("%s came for %s"):format(value, wanted), 0) end
end

--- So many others, each of whom does fn(i, k) so many times; what waits for them.
function beside.others(n, times, fn)
  local tasks = {}
  for i = 1, n do
    tasks[i] = asyncio.create_task(function()
      for k = 1, times do fn(i, k) end
    end)
  end
  return function()
    for _, task in ipairs(tasks) do asyncio.await(task) end
  end
end

return beside
