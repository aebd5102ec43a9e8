-- 41_executor.lua - work that would block the loop, in threads of the operating system.
local asyncio = require "asyncio"

local thread_pool = asyncio.ThreadPoolExecutor()

-- An ordinary function. Each thread has a Lua state of its own, and gets a copy of it.
local function heavy_computation(name, parameter)
  print(("Starting heavy computation '%s'"):format(name))
  asyncio.blocking_sleep(3) -- stands for three seconds of work; on the loop's thread all would stand still
  return ("This is the result of '%s': %s"):format(name, parameter)
end

local function main()
  local loop = asyncio.get_running_loop()

  -- The pool, the function, its arguments. What comes back at once is a future.
  local task1 = loop:run_in_executor(thread_pool, heavy_computation,
    "task1", "We want this to be printed first.")
  local task2 = loop:run_in_executor(thread_pool, heavy_computation,
    "task2", "We want this to be printed second.")

  -- Both threads are at work already.
  local start_time = loop:time()
  local result1 = asyncio.await(task1)
  print(result1)
  local result2 = asyncio.await(task2)
  print(result2)
  local end_time = loop:time()

  -- 3 s, not 2 * 3 s.
  print(("Total duration: %.2fs"):format(end_time - start_time))
end

asyncio.run(main)
