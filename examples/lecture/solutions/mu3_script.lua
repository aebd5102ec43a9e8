-- mu3_script.lua [SECONDS...] - a script of its own: one countdown for each argument, all at once.
-- Its last line starts the loop. Without arguments it does what mu2 does.
local asyncio = require "asyncio"

local function count_down(name, duration)
  for seconds = duration, 1, -1 do
    print(("Countdown %s: %d s"):format(name, seconds))
    asyncio.sleep(1)
  end
  print(("Countdown %s elapsed!"):format(name))
end

local function main(...)
  local tasks = {}
  for i, duration in ipairs { ... } do
    local name = string.char(("A"):byte() + i - 1)
    tasks[i] = asyncio.create_task(count_down, name, math.tointeger(tonumber(duration)))
  end
  asyncio.gather(tasks)
end

asyncio.run(main, table.unpack(#arg > 0 and arg or { 5, 10 }))
