-- counter.lua [HOST [PORT]] - counts what programs tell it: a line "requests:1|c" adds 1 to "requests"; a
-- datagram may have several. Who tells gets no answer. What comes too fast is lost, and it is known how much.
-- Try `echo 'requests:1|c' | nc -u -q0 127.0.0.1 8125`. Ctrl-C ends it.
local asyncio = require "asyncio"

io.stdout:setvbuf "line"

local INTERVAL = 1
local AT_ONCE = 256 -- between two batches other tasks have their turn

local counts = {}
local bad = 0 -- lines that say nothing we know

local function count(data)
  for line in data:gmatch "[^\n]+" do
    local name, n = line:match "^([%w_.%-]+):(%-?%d+)|c$"
    n = math.tointeger(n and tonumber(n))
    if n then
      counts[name] = (counts[name] or 0) + n
    else
      bad = bad + 1
    end
  end
end

local function count_all(endpoint)
  while true do
    for _, datagram in ipairs(endpoint:receive_many(AT_ONCE)) do count(datagram[1]) end
  end
end

--- One line: all counts by name, and what was lost.
local function tell(endpoint)
  local names, words = {}, {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do words[i] = ("%s=%d"):format(name, counts[name]) end
  local stats = endpoint:stats()
  local sums = words[1] and table.concat(words, " ") or "nothing"
  print(("%s; %d datagrams, %d dropped here, %d by the kernel, %d bad lines"):format(
    sums, stats.received, stats.dropped, stats.kernel_dropped, bad))
end

local function tell_regularly(endpoint)
  local before = 0
  while true do
    asyncio.sleep(INTERVAL)
    local received = endpoint:stats().received
    if received ~= before then tell(endpoint) end
    before = received
  end
end

local function main(host, port)
  local endpoint <close> = asyncio.create_datagram_endpoint {
    local_addr = { host = host or "127.0.0.1", port = math.tointeger(tonumber(port or 8125)) },
    max_queue = 4096,         -- a burst waits here,
    receive_buffer = 1 << 20, -- or here, while we are busy
  }
  local address = endpoint:get_extra_info "sockname"
  print(("Listening on %s:%d"):format(address.host, address.port))
  local _ <close> = asyncio.defer(tell, endpoint) -- with Ctrl-C, too
  local group <close> = asyncio.TaskGroup()
  group:create_task(count_all, endpoint)
  group:create_task(tell_regularly, endpoint)
end

local ok, err = pcall(asyncio.run, main, ...)
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then
  io.stderr:write("counter.lua: ", tostring(err), "\n")
  os.exit(1, true)
end
