-- kitchen.lua [FILE] - three cooks, two stoves and a waiter, and a picture of who waits for whom: a trace in
-- FILE, else in a temporary one. A `.html` is a page for the browser; a `.json` is for ui.perfetto.dev.
local asyncio = require "asyncio"

local path = arg and arg[1] or os.tmpname() .. ".json"

local stoves, dishes = asyncio.Semaphore(2), asyncio.Queue(1)

--- Cooks so many: the third cook waits for a stove, and all of them when the waiter is slow.
local function cook(dish, seconds, n)
  for i = 1, n do
    do
      local _ <close> = stoves:acquire()
      asyncio.sleep(seconds)
    end
    dishes:put(("%s %d"):format(dish, i))
  end
end

--- Writes the bill as well: it computes, and nobody else runs meanwhile. In the picture those are long steps.
local function serve(n)
  for _ = 1, n do
    local dish, bill = dishes:get(), 0
    for i = 1, 200000 do bill = bill + i % 7 end
    print(("%s, %d"):format(dish, bill))
  end
end

asyncio.run(function()
  local _ <close> = asyncio.trace(path)
  asyncio.gather(
    asyncio.create_task { cook, "soup", 0.02, 2, name = "soup's cook" },
    asyncio.create_task { cook, "rice", 0.01, 2, name = "rice's cook" },
    asyncio.create_task { cook, "tea", 0.005, 2, name = "tea's cook" },
    asyncio.create_task { serve, 6, name = "waiter" })
end)
print("now look at " .. path)
