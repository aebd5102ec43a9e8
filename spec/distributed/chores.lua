-- chores.lua - for the specs of asyncio.distributed: the module whose functions workers run.
local asyncio = require "asyncio"

local chores = {}

local Sour = asyncio.Error:subclass "SourMilk"
chores.SourMilk = Sour

function chores.echo(...) return ... end
function chores.nothing() end
function chores.add(a, b) return a + b end
function chores.attempt() return asyncio.distributed.job().attempt end
function chores.id() return asyncio.distributed.job().id end
function chores.fail(text) error(text, 0) end
function chores.sour(kind) error(Sour { message = "the milk is sour", kind = kind }) end
function chores.closure() return print end
function chores.large(n) return ("x"):rep(n) end

function chores.sleep(seconds)
  asyncio.sleep(seconds)
  return seconds
end

--- Appends a line to a file: what was done, and how often, is seen there.
function chores.note(path, text)
  local file <close> = assert(io.open(path, "a"))
  file:write(text, "\n")
end

function chores.note_and_sleep(path, text, seconds)
  chores.note(path, text)
  asyncio.sleep(seconds)
  chores.note(path, text .. " slept")
  return text
end

--- Fails in its first n attempts.
function chores.flaky(n)
  local attempt = asyncio.distributed.job().attempt
  if attempt <= n then error(("attempt %d fails"):format(attempt), 0) end
  return attempt
end

--- Is slow in its first n attempts.
function chores.slow(n, seconds)
  if asyncio.distributed.job().attempt <= n then asyncio.sleep(seconds) end
  return asyncio.distributed.job().attempt
end

--- Its worker dies in its first n attempts.
function chores.deadly(n)
  local attempt = asyncio.distributed.job().attempt
  if attempt <= n then os.exit(9) end
  return attempt
end

--- Computes, and holds up its worker's loop.
function chores.compute(seconds)
  local ends, n = os.clock() + seconds, 0
  while os.clock() < ends do n = n + 1 end
  return n > 0
end

--- Blocks its thread, until it is cancelled.
function chores.block(path)
  chores.note(path, "begun")
  local job = asyncio.distributed.job()
  for _ = 1, 3000 do
    if job:cancelled() then break end
    asyncio.blocking_sleep(0.01)
  end
  chores.note(path, "cancelled")
end

function chores.once(path, key)
  local job = asyncio.distributed.job()
  local first, second = job:once(key or "note", function(again)
    chores.note(path, again and "again" or "once")
    return job.attempt, nil, "end"
  end)
  return first, second, job.attempt
end

function chores.wrong_once() return asyncio.distributed.job():once(nil, print) end

--- What it does once is done, then the attempt fails.
function chores.once_and_fail(path, n)
  local first = chores.once(path)
  if asyncio.distributed.job().attempt <= n then error("after once", 0) end
  return first
end

--- Its worker dies within what is done once.
function chores.die_in_once(path)
  local job = asyncio.distributed.job()
  return job:once("deed", function(again)
    chores.note(path, again and "again" or "once")
    if not again then os.exit(9) end
    return "done"
  end)
end

return chores
