-- mu2_in_parallel.lua - two countdowns at the same time.
local asyncio = require "asyncio"

local function count_down(name, duration)
  for seconds = duration, 1, -1 do
    print(("Countdown %s: %d s"):format(name, seconds))
    asyncio.sleep(1)
  end
  print(("Countdown %s elapsed!"):format(name))
end

local function main()
  local loop = asyncio.get_running_loop()
  local start_time = loop:time()

  local task1 = asyncio.create_task(count_down, "A", 5)
  local task2 = asyncio.create_task(count_down, "B", 10)
  asyncio.await(task1)
  asyncio.await(task2)

  print(("Duration: %.1fs"):format(loop:time() - start_time)) -- 10 s, not 5 s + 10 s
end

asyncio.run(main)
