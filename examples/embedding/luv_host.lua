-- luv_host.lua - a program on luv's loop that uses asyncio: ours is a descriptor and a timeout among luv's.
local asyncio = require "asyncio"
local uv = require "luv"

--- Has luv's loop drive ours as long as anything can come there. Turns are made before luv polls.
local function drive(loop)
  local poll, timer, prepare = uv.new_poll(loop:backend_fd()), uv.new_timer(), uv.new_prepare()
  local function nothing() end
  prepare:start(function()
    local alive, timeout = loop:run_once(), loop:backend_timeout()
    if not alive then
      for _, handle in ipairs { poll, timer, prepare } do handle:close() end
    elseif timeout then
      timer:start(math.ceil(timeout * 1000), 0, nothing)
    else
      timer:stop()
    end
  end)
  poll:start("r", nothing)
end

local loop = asyncio.new_event_loop()
local ticks, ticker = 0, uv.new_timer()
local task = loop:create_task(function()
  local server <close> = asyncio.start_server(function(reader, writer)
    writer:send(reader:readline():upper())
  end, "127.0.0.1", 0)
  asyncio.sleep(0.05)
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  writer:send "hello from a task\n"
  print("task: " .. reader:readline():gsub("\n", ""))
  return asyncio.to_thread(function() return "a thread's result" end)
end)
ticker:start(20, 20, function()
  ticks = ticks + 1
  print("luv: tick " .. ticks)
  if ticks == 3 then ticker:close() end
end)
drive(loop)
uv.run()
print("task: " .. task:result())
loop:close()
