-- calls.lua - calls of random programs for asyncio.distributed, and what is to become of them: see schedules.lua, where
-- all is simulated, and trouble.lua, where nothing is.
local asyncio = require "asyncio"

local calls = {}

function calls.any(list) return list[math.random(#list)] end

--- Redis may be away for longer than one waits.
function calls.submit_until_stored(executor, call)
  while true do
    local ok, future = asyncio.pcall(executor.submit, executor, call)
    if ok then return future end
    if not asyncio.isinstance(future, asyncio.ConnectionError) then error(future, 0) end
  end
end

--- What has become of a future: "nothing", "cancelled", false and its error, true and its first result.
function calls.outcome(future)
  if not future:done() then return "nothing" end
  if future:cancelled() then return "cancelled" end
  local err = future:exception()
  if err ~= nil then return false, err end
  return true, (future:result())
end

-- Of an outcome: whether it is what was to come

function calls.has(n) return function(ok, value) return ok == true and value == n end end

function calls.fails_with(pattern)
  return function(ok, value) return not ok and tostring(value):find(pattern) ~= nil end
end

return calls
