-- 61_event.lua - one task waits until another one gives the sign.
local asyncio = require "asyncio"

local function wait_for_event(event)
  print "Waiting for event..."
  event:wait() -- until somebody calls event:set()
  print "... event arrived!"
end

local function main()
  local event = asyncio.Event()

  local task = asyncio.create_task(wait_for_event, event)

  asyncio.sleep(3)

  print "Trigger the event."
  event:set()

  asyncio.await(task)
end

asyncio.run(main)
