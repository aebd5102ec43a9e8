-- trouble_jobs.lua - what workers run in trouble.lua: jobs that write down what they do, in lines of a file that
-- all share.
local asyncio = require "asyncio"

local trouble_jobs = {}

--- One line, at once: others write there, too.
local function note(path, ...)
  local file <close> = assert(io.open(path, "a"))
  file:setvbuf "full"
  file:write(table.concat({ ... }, " "), "\n")
end

local function job() return asyncio.distributed.job() end

function trouble_jobs.plain(n) return n end

--- For longer than a lease, as a rule.
function trouble_jobs.long(n, seconds)
  asyncio.sleep(seconds)
  return n
end

--- Holds up its worker's loop.
function trouble_jobs.compute(n, seconds)
  local ends = os.clock() + seconds
  while os.clock() < ends do end
  return n
end

function trouble_jobs.flaky(n)
  if math.random(3) > 1 then error("flaky", 0) end
  return n
end

function trouble_jobs.fails(n) error("fails " .. n, 0) end

--- Its first worker dies.
function trouble_jobs.deadly(n)
  if job().attempt == 1 then os.exit(9) end
  return n
end

--- All its workers die.
function trouble_jobs.poison() os.exit(9) end

--- What is done once is a line of the file.
function trouble_jobs.once(n, path, seconds)
  local mine = job()
  local kept = mine:once("deed", function(again)
    note(path, "deed", mine.id, mine.attempt, tostring(again))
    asyncio.sleep(seconds)
    return ("%d by attempt %d"):format(n, mine.attempt)
  end)
  note(path, "kept", mine.id, kept)
  asyncio.sleep(seconds)
  if math.random(5) == 1 then error("after the deed", 0) end
  return kept
end

return trouble_jobs
