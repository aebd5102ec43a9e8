-- exercise_0_countdown.lua - a countdown from 10 that numbers typed meanwhile make longer.
local asyncio = require "asyncio"

local thread_pool = asyncio.ThreadPoolExecutor(1)

local function count_down(name, duration, queue)
  while duration > 0 do
    print(("Countdown %s: %d s"):format(name, duration))
    asyncio.sleep(1)
    duration = duration - 1
    while queue:qsize() > 0 do -- take what is there, don't wait for more
      duration = duration + queue:get_nowait()
    end
  end
  print(("Countdown %s elapsed!"):format(name))
end

-- Sends the numbers that the user types through the queue.
local function user_input(queue)
  local loop = asyncio.get_running_loop()
  while true do
    local line = asyncio.await(loop:run_in_executor(thread_pool, io.read, "l"))
    if not line then return end -- Ctrl-D: no more will come
    local seconds = math.tointeger(tonumber(line))
    if seconds then
      queue:put(seconds)
    else
      print "A whole number of seconds, please."
    end
  end
end

local function main()
  local queue = asyncio.Queue()
  local input_task = asyncio.create_task(user_input, queue)

  print "Type a number and Enter to get more time."
  count_down("A", 10, queue)

  input_task:cancel() -- its thread still stands in io.read: that doesn't keep the program alive
end

asyncio.run(main)
