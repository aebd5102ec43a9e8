-- 51_queue.lua - messages from one task to another.
local asyncio = require "asyncio"

-- Lua prints a table as an address; this shows what is in a list.
local function show(msg)
  return type(msg) == "table" and "{" .. table.concat(msg, ", ") .. "}" or tostring(msg)
end

-- Takes one message after the other, and 3 s for each.
local function consumer(queue)
  while true do
    local msg = queue:get() -- waits while there is none
    print("Got a message from the queue: " .. show(msg))

    if msg == nil then -- nil is an item like any other
      print "Stopping consumer task."
      break
    end
    asyncio.sleep(3)
  end
end

local function main()
  -- At most one message lies in it. Try other sizes, and none at all!
  local queue = asyncio.Queue { maxsize = 1 }

  local consumer_task = asyncio.create_task(consumer, queue)

  queue:put "message 1" -- waits while the queue is full
  print "Message is in the queue now."

  queue:put { "message", "2", "is", "a", "list" } -- any value will do
  print "Message is in the queue now."

  queue:put(nil) -- the end, as consumer understands it
  print "Message is in the queue now."

  asyncio.await(consumer_task)
  print "Done"
end

asyncio.run(main)
