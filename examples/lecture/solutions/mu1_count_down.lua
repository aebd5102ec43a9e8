-- mu1_count_down.lua - a function that waits, and one call of it.
local asyncio = require "asyncio"

local function count_down(name, duration)
  for seconds = duration, 1, -1 do
    print(("Countdown %s: %d s"):format(name, seconds))
    asyncio.sleep(1)
  end
  print(("Countdown %s elapsed!"):format(name))
end

asyncio.run(count_down, "A", 5)
