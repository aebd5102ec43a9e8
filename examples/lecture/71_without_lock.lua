-- 71_without_lock.lua - two tasks print at the same time, and their lines mix.
local asyncio = require "asyncio"

local function slow_print(lines)
  print "Starting slow_print..."
  for _, line in ipairs(lines) do
    print(line)
    asyncio.sleep(1) -- here the other task has its turn
  end
end

local function main()
  local task1 = asyncio.create_task(slow_print, { "|", "|", "|" })
  local task2 = asyncio.create_task(slow_print, { "-", "-", "-", "-", "-" })

  asyncio.await(task1)
  print "task1 is done!"
  asyncio.await(task2)
  print "task2 is done!"
end

asyncio.run(main)
