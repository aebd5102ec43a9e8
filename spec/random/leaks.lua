--- Looks for what programs leave: descriptors, threads, and memory that grows from program to program.
local asyncio = require "asyncio"
local core = require "asyncio.core"

local HIGHEST = 80          -- descriptor that is looked for
local PATIENCE = 400        -- looks, a few ms apart, at what ends on its own time
local FROM = 40             -- programs of a batch before memory is compared
local GROWTH = 2            -- KB for each program after them

local leaks = { samples = {} }

--- The numbers of those that are open. Looking opens one itself, which is not there yet when it looks.
local function descriptors()
  local list = {}
  for fd = 0, HIGHEST do
    local file = io.open("/proc/self/fdinfo/" .. fd)
    if file then
      file:close()
      list[#list + 1] = fd
    end
  end
  return list
end

local function threads()
  local file <close> = assert(io.open "/proc/self/status")
  return tonumber(file:read("a"):match "\nThreads:%s+(%d+)")
end

local baseline

--- What opens once for the process is there before anything is counted.
function leaks.warm_up()
  asyncio.run(function()
    pcall(asyncio.open_connection, "127.0.0.1", 1)
    local loop = asyncio.get_running_loop()
    loop:getaddrinfo("127.0.0.1", 1)
    loop:add_signal_handler("SIGWINCH", print)
    loop:remove_signal_handler "SIGWINCH"
  end)
  collectgarbage()
  collectgarbage()
  baseline = { descriptors = #descriptors(), threads = threads() }
end

--- What is more than at the start, in words.
function leaks.left()
  local fds, n
  for i = 1, PATIENCE do
    fds, n = descriptors(), threads()
    if #fds <= baseline.descriptors and n <= baseline.threads then break end
    core.set_context {} -- a finaliser may have set a variable to something that holds everything
    if i < 6 then collectgarbage() end
    asyncio.blocking_sleep(0.001 * math.min(i, 10))
  end
  local told = {}
  if #fds > baseline.descriptors then
    told[1] = ("descriptors are left, the last of them %d"):format(fds[#fds])
  end
  if n > baseline.threads then told[#told + 1] = "threads are left" end
  baseline = { descriptors = #fds, threads = n }
  return told
end

--- Memory, at some moments of a batch: after the first programs, half of the rest, and all.
function leaks.sample(done, all)
  if all < 3 * FROM or not (done == FROM or done == (FROM + all) // 2 or done == all) then return end
  core.set_context {}
  for _ = 1, 3 do collectgarbage() end
  table.insert(leaks.samples, { done = done, kb = collectgarbage "count" })
end

--- In words, when it grows in both parts by more than is reasonable.
function leaks.growth()
  local a, b, c = table.unpack(leaks.samples)
  if not c then return end
  local early, late = (b.kb - a.kb) / (b.done - a.done), (c.kb - b.kb) / (c.done - b.done)
  if early > GROWTH and late > GROWTH then
    return ("memory grows: %.1f, then %.1f KB for each program"):format(early, late)
  end
end

return leaks
