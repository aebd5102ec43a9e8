-- 31_run.lua - how every program begins: asyncio.run makes a loop and runs main as a task in it.
local asyncio = require "asyncio"

local function main()
  print "Wait..."
  asyncio.sleep(1)
  print "Done!"
end

asyncio.run(main) -- comes back when main has ended
