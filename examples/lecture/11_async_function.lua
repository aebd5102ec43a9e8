-- 11_async_function.lua - a function, a coroutine made of it, and what awaiting it gives.
local asyncio = require "asyncio"

-- No `async`: any function may wait. This one doesn't even do so.
local function asyncFunction()
  print "Hello!"
  return 7
end

local function main()
  -- In Python, a call makes a coroutine object. Here a call is a call: ask for a coroutine by name.
  local task = coroutine.create(asyncFunction)
  print(type(task)) -- Lua's word for a coroutine is "thread"; nothing has run yet

  -- Runs it to its end. Who just wants the result writes `local result = asyncFunction()`.
  local result = asyncio.await(task)
  print("result = " .. result)
end

asyncio.run(main)
