-- 13_double_sleep.lua - functions that wait call each other like any others.
local asyncio = require "asyncio"

local function double_sleep(sleep_time)
  print "Sleep for a moment."
  asyncio.sleep(sleep_time)
  print "Sleep for another moment."
  asyncio.sleep(sleep_time)
  print "Done!"
end

asyncio.run(double_sleep, 1) -- the arguments follow the function
