-- 32_running_loop.lua - the loop that runs us.
local asyncio = require "asyncio"

local function main()
  print(asyncio.get_running_loop())
end

asyncio.run(main)
