-- ours.lua URL POINT TASKS SECONDS - asks over and over by one client; prints requests, CPU time, seconds.
local asyncio = require "asyncio"
local http = asyncio.http

local url, point, tasks, seconds = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local BODY = ("x"):rep(10240)
local collect = collectgarbage
collect "generational" -- as the command lua has it

local function ask(client)
  local answer = point == "post" and client:post(url, { body = BODY }) or client:get(url)
  assert(answer.status == 200 and #answer:read() > 0)
end

asyncio.run(function()
  local client <close> = http.Client { max_connections_per_host = tasks }
  for _ = 1, 300 do ask(client) end
  local began, used, n = asyncio.time(), os.clock(), 0
  local ends = began + seconds
  local function work()
    while asyncio.time() < ends do
      ask(client)
      n = n + 1
    end
  end
  local list = {}
  for i = 1, tasks do list[i] = work end
  asyncio.gather(list)
  print(n, (os.clock() - used) * 1e6, asyncio.time() - began)
end)
