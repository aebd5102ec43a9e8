-- submit.lua URL - what submits in ../distributed.lua: for each line `FUNCTION N` runs N jobs, and says in
-- how many seconds. FUNCTION `one`: one after the other.
local asyncio = require "asyncio"

asyncio.run(function()
  local executor <close> = asyncio.distributed.DistributedExecutor { url = arg[1] }
  local reader = asyncio.stdin()
  for line in reader:lines() do
    local name, n = line:match "^(%S+) (%d+)$"
    local from = asyncio.time()
    if name == "one" then
      for _ = 1, n do asyncio.await(executor:submit "jobs.empty") end
    else
      executor:map("jobs." .. name, { n = tonumber(n) })
    end
    print(asyncio.time() - from)
    io.stdout:flush()
  end
end)
