-- 33_future.lua - a value that comes later: one task waits for it, another one sets it.
local asyncio = require "asyncio"

local function setMyFuture(future)
  asyncio.sleep(2)
  future:set_result(42) -- who waits for it goes on
  asyncio.sleep(4)      -- and so do we
end

local function main()
  local loop = asyncio.get_running_loop()
  local future = loop:create_future()
  print("Type of the future is " .. getmetatable(future).__name)

  -- There is nothing in it yet.
  print("Is the future already done? " .. tostring(future:done()))

  local task = asyncio.create_task(setMyFuture, future)

  print "Wait for future..."
  local future_value = asyncio.await(future) -- until somebody calls set_result
  print("Value of future:  " .. future_value)

  print("Is the future already done? " .. tostring(future:done()))

  asyncio.await(task) -- its other four seconds
  print "Task completed."
end

asyncio.run(main)
