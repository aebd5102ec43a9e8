-- 73_semaphore.lua - a lock with more than one key: at most two of four tasks work at a time.
local asyncio = require "asyncio"

local semaphore = asyncio.Semaphore(2)

local function worker(name)
  local _ <close> = semaphore:acquire() -- until this function ends
  print(("%s: start"):format(name))
  asyncio.sleep(1)
  print(("%s: end"):format(name))
end

local function main()
  local loop = asyncio.get_running_loop()
  local tasks = {}

  local start_time = loop:time()
  for i, name in ipairs { "ann", "bob", "carol", "dave" } do
    tasks[i] = asyncio.create_task(worker, name)
  end
  asyncio.gather(tasks) -- waits for all of them
  local end_time = loop:time()

  -- Two pairs of 1 s: with a lock it would be 4 s, without anything 1 s.
  print(("Duration to complete all tasks: %.3fs"):format(end_time - start_time))
end

asyncio.run(main)
