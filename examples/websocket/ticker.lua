-- ticker.lua - a price that changes faster than some can read: who is slow gets the newest, when it can.
-- `send` waits while too much is on its way; what changes meanwhile is a price, and no message that waits.
local asyncio = require "asyncio"
local http = asyncio.http

local price, change = 100, nil -- change: an Event, set when the price is another one

local function move_price()
  while true do
    asyncio.sleep(0.001)
    price = math.max(price + math.random(-5, 5), 1)
    local old = change
    change = asyncio.Event()
    old:set()
  end
end

local function tell_price(request)
  local ws, sent = request:websocket(), 0
  while not ws.close_code do
    local changed = change
    ws:send(("%d"):format(price))
    sent = sent + 1
    changed:wait()
  end
  print(("%s was told %d prices"):format(request.peer, sent))
end

--- Reads as fast as it can, but for pauses.
local function listen(url, name, pause)
  local ws <close> = http.websocket(url)
  local n, last = 0, nil
  for text in ws:iter() do
    n, last = n + 1, text
    if n % 100 == 0 then asyncio.sleep(pause) end
    if n == 300 then break end
  end
  print(("%s has read %d prices, the last is %s"):format(name, n, last))
end

asyncio.run(function()
  change = asyncio.Event()
  local server <close> = http.serve(function(request)
    local _, err = asyncio.pcall(tell_price, request)
    if err and not asyncio.isinstance(err, asyncio.ClosedError) then error(err, 0) end
  end, "127.0.0.1", 0)
  local mover <close> = asyncio.create_task(move_price)
  local url = ("ws://127.0.0.1:%d/"):format(server:sockets()[1].port)
  asyncio.gather(
    function() listen(url, "the quick one", 0) end,
    function() listen(url, "the slow one", 0.2) end)
  mover:cancel()
  change:set()
end)
