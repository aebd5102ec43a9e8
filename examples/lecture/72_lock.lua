-- 72_lock.lua - the same with a lock: one task prints all its lines, then the other one.
local asyncio = require "asyncio"

local print_lock = asyncio.Lock()

local function slow_print(lines)
  print "Starting slow_print..."

  do -- the block that only one task at a time may be in
    local _ <close> = print_lock:acquire() -- the block's end releases it, also when an error leaves
    print "Enter critical section."
    for _, line in ipairs(lines) do
      print(line)
      asyncio.sleep(1)
    end
    print "Exit critical section."
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
