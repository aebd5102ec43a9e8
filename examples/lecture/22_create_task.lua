-- 22_create_task.lua - the same two functions as tasks: they run at the same time.
local asyncio = require "asyncio"

local function asyncFunction1()
  print "asyncFunction1() start"
  asyncio.sleep(1)
  print "asyncFunction1() end"
  return 1
end

local function asyncFunction2()
  print "asyncFunction2() start"
  asyncio.sleep(2)
  print "asyncFunction2() end"
  return 2
end

local function main()
  local loop = asyncio.get_running_loop()

  -- The function, not its result: asyncFunction1() would run it here and now.
  local task1 = asyncio.create_task(asyncFunction1)
  local task2 = asyncio.create_task(asyncFunction2)
  print(getmetatable(task1).__name) -- what kind of object it is; print(task1) tells more

  -- Both are under way as soon as we wait for anything.
  local start_time = loop:time()
  local return_value1 = asyncio.await(task1)
  local return_value2 = asyncio.await(task2)
  local end_time = loop:time()

  assert(return_value1 == 1)
  assert(return_value2 == 2)

  -- As long as the slower one takes.
  print(("Duration to complete all tasks: %.3fs"):format(end_time - start_time))
end

asyncio.run(main)
