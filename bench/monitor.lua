-- monitor.lua [TASKS [SECONDS]] - for how long those who look on keep a loop: its turns while `tree` or `top`
-- ask again and again, in processor time of the process.
local asyncio = require "asyncio"

local TASKS, SECONDS = tonumber(arg[1]) or 10000, tonumber(arg[2]) or 4
local LUA = os.getenv "LUA" or "lua5.4"
local HERE = arg[0]

--- A process of its own that asks as fast as it is answered: how many answers, and the slowest, in ms.
local function client(path, question, seconds)
  asyncio.run(function()
    local reader, writer <close> = asyncio.open_unix_connection(path)
    local n, slowest, stop = 0, 0, asyncio.time() + seconds
    while asyncio.time() < stop do
      local began = asyncio.time()
      writer:send("asyncio-monitor/1 ", question, "\n")
      local line = reader:readline()
      while line:find "wait\n" do line = reader:readline() end
      reader:readexactly(tonumber(line:match "ok (%d+)"))
      n, slowest = n + 1, math.max(slowest, asyncio.time() - began)
    end
    print(("%d | %.1f"):format(n, 1000 * slowest))
  end)
end

local function turns_while(question, path)
  local command = "exec %s %s client %s '%s' %g"
  local looking = question and io.popen(command:format(LUA, HERE, path, question, SECONDS - 0.5))
  local turns, last, stop = {}, os.clock(), asyncio.time() + SECONDS
  while asyncio.time() < stop do
    asyncio.sleep(0)
    local now = os.clock()
    turns[#turns + 1] = 1e6 * (now - last)
    last = now
  end
  table.sort(turns)
  local answers = looking and looking:read "l" or "– | –"
  if looking then looking:close() end
  local function part(p) return turns[math.max(1, math.ceil(#turns * p))] end
  return ("%.0f | %.0f | %.0f | %s"):format(part(0.99), part(0.999), part(0.9999), answers)
end

if arg[1] == "client" then
  client(arg[2], arg[3], tonumber(arg[4]))
  os.exit(0, true)
end

asyncio.run(function()
  asyncio.get_running_loop().slow_callback_duration = math.huge
  local path = os.tmpname()
  os.remove(path)
  local monitor <close> = asyncio.monitor { path = path }
  for i = 1, TASKS do asyncio.create_task { asyncio.sleep, 1e6, name = "sleeper " .. i } end
  asyncio.sleep(0.1)
  collectgarbage() -- it is not what is measured
  collectgarbage "stop"
  print(("A turn of a loop with %d tasks, µs: so many of all are no longer.\n"):format(TASKS))
  print "| looked at by | 99 % | 99.9 % | 99.99 % | answers | slowest, ms |"
  print "|---|---:|---:|---:|---:|---:|"
  for _, row in ipairs { { "nobody" }, { "tree", "tree 1" }, { "top", "top 1 100" } } do
    print(("| %s | %s |"):format(row[1], turns_while(row[2], monitor:get_path())))
  end
end)
