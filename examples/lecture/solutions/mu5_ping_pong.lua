-- mu5_ping_pong.lua - two tasks and two queues: each waits for the ball and plays it back.
local asyncio = require "asyncio"

local function player(word, from, to)
  while true do
    local ball = from:get()
    print(word)
    asyncio.sleep(1)
    to:put(ball)
  end
end

local function main()
  local left, right = asyncio.Queue(), asyncio.Queue()
  asyncio.create_task(player, "ping", left, right)
  asyncio.create_task(player, "pong", right, left)

  asyncio.sleep(2) -- both stand there and wait
  left:put "ball"

  asyncio.sleep(9.5) -- ten strokes; when main ends, run cancels the players
end

asyncio.run(main)
