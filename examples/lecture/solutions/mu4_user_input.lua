-- mu4_user_input.lua - a function that blocks, in a thread.
local asyncio = require "asyncio"

local thread_pool = asyncio.ThreadPoolExecutor(1)

local function user_input()
  print "Enter something:"
  return io.read "l" -- blocks its thread until Enter is pressed
end

local function main()
  local loop = asyncio.get_running_loop()
  local future = loop:run_in_executor(thread_pool, user_input)

  -- While the user thinks, anything else could run here.
  local line = asyncio.await(future)
  print("User input is: " .. tostring(line)) -- nil: Ctrl-D instead of a line
end

asyncio.run(main)
