-- 21_one_after_the_other.lua - two calls in a row: their times add up.
local asyncio = require "asyncio"

local function asyncFunction1()
  print "asyncFunction1() start"
  asyncio.sleep(1) -- others could run in this second, but there are none
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

  -- The loop's clock: os.time() knows whole seconds only, os.clock() doesn't count sleep.
  local start_time = loop:time()
  local return_value1 = asyncFunction1()
  local return_value2 = asyncFunction2()
  local end_time = loop:time()

  assert(return_value1 == 1)
  assert(return_value2 == 2)

  -- 1 s + 2 s: nothing was parallel.
  print(("Duration to complete all tasks: %.3fs"):format(end_time - start_time))
end

asyncio.run(main)
