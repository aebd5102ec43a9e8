-- 12_sleep.lua - waiting without blocking anybody else.
local asyncio = require "asyncio"

local function main()
  print "Going to sleep..."
  asyncio.sleep(2)
  print "Awake again!"
end

asyncio.run(main)
