-- luv_guest.lua - a program on our loop that uses luv: a task drives luv's loop.
local asyncio = require "asyncio"
local uv = require "luv"

local wake -- makes luv's descriptor readable

--- Drives luv's loop until it is cancelled. luv's callbacks are called in here, within C: they may not await.
local function drive()
  wake = uv.new_async(function() end)
  local _ <close> = setmetatable({}, { __close = function() wake:close() end })
  while true do
    uv.run "nowait" -- what is due; and hands to the kernel what has been started
    local timeout = uv.backend_timeout() -- milliseconds; -1: without limit
    if timeout == 0 then
      asyncio.sleep(0)
    else
      asyncio.move_on_after(timeout > 0 and timeout / 1000 or nil, asyncio.wait_readable, uv.backend_fd())
    end
  end
end

--- Calls a function of luv that takes a callback(err, result...), and waits for that.
local function await(fn, ...)
  local results = table.pack(asyncio.await_callback(function(...)
    fn(...)
    wake:send() -- the driver may wait already
  end, ...))
  if results[1] then error(results[1], 0) end
  return table.unpack(results, 2, results.n)
end

asyncio.run(function()
  local group <close> = asyncio.TaskGroup() -- an error of the driver's ends all
  group:create_task(drive)
  asyncio.sleep(0)
  local stat = await(uv.fs_stat, arg[0])
  print(stat.type)
  print(pcall(await, uv.fs_stat, "/no/such/file"))
  local timer, ticks = uv.new_timer(), asyncio.Queue()
  timer:start(10, 10, function() ticks:put_nowait "luv's tick" end)
  wake:send()
  for _ = 1, 3 do print(ticks:get()) end
  timer:close()
  group:cancel()
end)
uv.run() -- lets what was closed go
