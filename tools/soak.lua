-- soak.lua [MINUTES] - mixed traffic in one process: echo, chat, churn, slow readers, resets, TLS, timers, jobs
-- for threads. Memory, descriptors and tasks are sampled; at the end stands a verdict, the exit status.
-- Memory must not grow in the second half (1 % an hour), descriptors and tasks must be those of the start.
-- Of runs below 5 minutes the slope says nothing: there memory has a bound only.
local asyncio = require "asyncio"

local minutes = tonumber(arg and arg[1] or 10) or 10
local seconds = minutes * 60
local SAMPLES = 40
local JUDGED_FROM = 300     -- seconds: shorter runs have no slope worth the name
local SLOPE = 0.01          -- of the memory, an hour
local BOUND = 64 * 1024     -- KB that a short run may take
local WARM_UP = 0.1         -- of the time, before the first sample that counts

local sleep = asyncio.sleep
local counts = {}

local function count(what) counts[what] = (counts[what] or 0) + 1 end

--- Errors that the traffic brings about on purpose.
local function expected(err)
  return asyncio.isinstance(err, asyncio.OSError) or asyncio.isinstance(err, asyncio.IncompleteReadError)
    or asyncio.isinstance(err, asyncio.ClosedError) or asyncio.isinstance(err, asyncio.TimeoutError)
end

local function resident_kb()
  local file <close> = assert(io.open "/proc/self/statm")
  local _, pages = file:read("n", "n")
  return pages * 4
end

--- How many are open, and what they are, but for the pipe through which that is told: our end of it, or for a moment
-- both.
local function descriptors()
  local pipe <close> = assert(io.popen "readlink /proc/self/fd/1 /proc/$PPID/fd/*")
  local own, list = pipe:read(), {}
  for line in pipe:lines() do
    if line ~= own then list[#list + 1] = line end
  end
  return #list, table.concat(list, " ")
end

local traffic = {}
local stopped = false

--- Does something again and again, so many at a time, until the end.
local function traffic_of(name, parallel, fn)
  traffic[#traffic + 1] = function(group, ports)
    for _ = 1, parallel do
      group:create_task(function()
        while not stopped do
          local ok, err = asyncio.pcall(fn, ports)
          if not ok and not expected(err) then error(err, 0) end
          count(name)
          sleep(0.001)
        end
      end)
    end
  end
end

local handlers = {}

function handlers.echo(reader, writer)
  while true do
    local bytes = reader:read(65536)
    if not bytes then return end
    writer:send(bytes)
  end
end

local room = {}

function handlers.chat(reader, writer)
  room[writer] = true
  local _ <close> = setmetatable({}, { __close = function() room[writer] = nil end })
  for line in reader:lines() do
    for other in pairs(room) do
      if not other:is_closing() then asyncio.pcall(other.write, other, line, "\n") end
    end
  end
end

--- Sends more than the peer takes.
function handlers.flood(_, writer)
  for _ = 1, 200 do writer:send(("x"):rep(16384)) end
end

traffic_of("echo", 8, function(ports)
  local reader, writer = asyncio.open_connection("127.0.0.1", ports.echo)
  local _ <close> = writer
  for i = 1, 200 do
    local message = ("m"):rep(1 + i * 37 % 3000)
    writer:write(message)
    local answer = not stopped and reader:readexactly(#message)
    if not answer or #answer ~= #message then break end
  end
end)

traffic_of("chat", 6, function(ports)
  local reader, writer = asyncio.open_connection("127.0.0.1", ports.chat)
  local _ <close> = writer
  for i = 1, 20 do
    writer:send("line ", i, "\n")
    asyncio.move_on_after(0.005, function()
      while reader:readline() do count "chat lines" end
    end)
  end
end)

traffic_of("churn", 4, function(ports)
  local _, writer = asyncio.open_connection("127.0.0.1", ports.echo)
  writer:write "not read"
  writer:close()
  writer:wait_closed()
end)

traffic_of("slow reader", 2, function(ports)
  local reader, writer = asyncio.open_connection("127.0.0.1", ports.flood)
  local _ <close> = writer
  for _ = 1, 20 do
    if not reader:read(20000) then break end
    sleep(0.002)
  end
  writer:abort()
end)

traffic_of("reset", 2, function(ports)
  local reader, writer = asyncio.open_connection("127.0.0.1", ports.flood)
  reader:read(1)
  writer:abort() -- with bytes unread: the kernel sends a reset
end)

-- Over TLS, where it is installed: the same echo; clients that go at any moment, and those who are not clients of TLS.

local has_tls = pcall(require, "asyncio.openssl")
local contexts = {}

if has_tls then
  local identity = require "identity"
  contexts.tls = asyncio.ssl.create_server_context { certfile = identity.cert, keyfile = identity.key }
  local trusting = asyncio.ssl.create_default_context { cadata = identity.cert }
  local strange = asyncio.ssl.create_default_context { cadata = identity.cert }
  handlers.tls = handlers.echo

  traffic_of("TLS echo", 3, function(ports)
    local reader, writer = asyncio.open_connection("127.0.0.1", ports.tls,
      { ssl = trusting, server_hostname = "localhost" })
    local _ <close> = writer
    for i = 1, 50 do
      local message = ("m"):rep(1 + i * 3701 % 30000)
      writer:write(message)
      local answer = not stopped and reader:readexactly(#message)
      if not answer or #answer ~= #message then break end
    end
  end)

  traffic_of("TLS cut short", 2, function(ports)
    asyncio.move_on_after(math.random() * 0.004, function()
      local reader, writer = asyncio.open_connection("127.0.0.1", ports.tls,
        { ssl = trusting, server_hostname = "localhost" })
      writer:write(("x"):rep(100000))
      reader:read(1)
      writer:abort()
    end)
  end)

  traffic_of("TLS refused", 1, function(ports)
    local ok = asyncio.pcall(asyncio.open_connection, "127.0.0.1", ports.tls,
      { ssl = strange, server_hostname = "other.example" })
    if ok then error "a certificate for another name was taken" end
    local reader, writer = asyncio.open_connection("127.0.0.1", ports.tls)
    local _ <close> = writer
    writer:write "GET / HTTP/1.0\r\n\r\n"
    reader:read()
  end)
end

traffic_of("timers", 2, function()
  local handles = {}
  for i = 1, 200 do handles[i] = asyncio.get_running_loop():call_later(60 + i, print) end
  asyncio.move_on_after(0.002, sleep, 60)
  for i = 1, 200 do handles[i]:cancel() end
end)

traffic_of("tasks", 2, function()
  local queue = asyncio.Queue(4)
  local group <close> = asyncio.TaskGroup()
  group:create_task(function()
    for i = 1, 50 do queue:put(i) end
    queue:shutdown()
  end)
  for _ = 1, 3 do
    group:create_task(function()
      for _ in queue:iter() do sleep(0) end
    end)
  end
end)

if asyncio.to_thread then
  traffic_of("jobs", 2, function()
    local sum = asyncio.to_thread(function(n)
      local s = 0
      for i = 1, n do s = s + i end
      return s
    end, 10000)
    if sum ~= 50005000 then error "a job went wrong" end
  end)
end

local function total(name) return counts[name] or 0 end

--- Growth by least squares, in parts of the mean an hour.
local function slope(samples, from)
  local n, st, sm, stt, stm = 0, 0, 0, 0, 0
  for i = from, #samples do
    local t, m = samples[i].time / 3600, samples[i].kb
    n, st, sm, stt, stm = n + 1, st + t, sm + m, stt + t * t, stm + t * m
  end
  return (n * stm - st * sm) / (n * stt - st * st) / (sm / n)
end

local function sample(samples, start)
  local now = {
    time = os.time() - start, kb = resident_kb(), descriptors = (descriptors()), tasks = #asyncio.all_tasks(),
  }
  samples[#samples + 1] = now
  print(("%6d s %9d KB %6d descriptors %6d tasks %8d echo %8d chat %8d churn %8d resets"):format(now.time, now.kb,
    now.descriptors, now.tasks, total "echo", total "chat", total "churn", total "reset"))
  io.stdout:flush()
end

--- Gives what is being closed time to go.
local function settle(handles)
  for _ = 1, 1000 do
    collectgarbage()
    if asyncio.get_running_loop():_open_handles() == handles and #asyncio.all_tasks() == 1 then break end
    sleep(0.01)
  end
end

local function run_traffic(samples)
  local servers, ports = {}, {}
  for name, handler in pairs(handlers) do
    servers[name] = asyncio.start_server(handler, "127.0.0.1", 0, { close_timeout = 2, ssl = contexts[name] })
    ports[name] = servers[name]:sockets()[1].port
  end
  do
    local group <close> = asyncio.TaskGroup()
    for _, start in ipairs(traffic) do start(group, ports) end
    local start = os.time()
    sleep(seconds * WARM_UP)
    for _ = 1, SAMPLES do
      sample(samples, start)
      sleep(seconds * (1 - WARM_UP) / SAMPLES)
    end
    sample(samples, start)
    stopped = true
  end
  for _, server in pairs(servers) do
    server:close()
    server:abort_clients()
    server:wait_closed()
  end
end

local failures, unexpected = {}, 0

local function judge(holds, text, ...)
  print((holds and "ok   " or "FAIL ") .. text:format(...))
  if not holds then failures[#failures + 1] = text end
end

asyncio.run(function()
  local loop = asyncio.get_running_loop()
  loop:set_exception_handler(function(_, context)
    local slow = context.message:find "held the loop" or context.message:find "a callback took"
    if slow or expected(context.exception) then return end
    unexpected = unexpected + 1
    loop:default_exception_handler(context)
  end)
  local samples = {}
  if asyncio.to_thread then asyncio.to_thread(function() end) end -- the executor stays
  pcall(asyncio.open_connection, "127.0.0.1", 1) -- with the first stream libuv opens a spare descriptor
  collectgarbage()
  local before, list_before = descriptors()
  local handles = loop:_open_handles()
  run_traffic(samples)
  settle(handles)
  local after, list_after = descriptors()
  local tasks = #asyncio.all_tasks()
  judge(after == before, "descriptors: %d at the start, %d at the end", before, after)
  if after ~= before then print(list_before .. "\n" .. list_after) end
  judge(tasks == 1, "tasks: %d at the end, 1 is this one", tasks)
  judge(unexpected == 0, "errors that were not expected: %d", unexpected)
  if seconds >= JUDGED_FROM then
    local growth = slope(samples, #samples // 2 + 1)
    judge(growth <= SLOPE, "memory: %+.2f %% an hour in the second half", growth * 100)
  else
    judge(samples[#samples].kb < BOUND, "memory: %d KB (too short a run for a slope)", samples[#samples].kb)
  end
  for name, n in pairs(counts) do judge(n > 0, "%s: %d", name, n) end
end)

print(("%d passed, %d failed, 0 skipped"):format(1 - math.min(1, #failures), #failures))
os.exit(#failures == 0)
