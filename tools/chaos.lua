-- chaos.lua [MINUTES] [WORKERS] - asyncio.distributed while workers are killed, stopped past their leases and sent
-- away, Redis dies and comes back, the network swallows, cuts and delays, and clocks jump, all of which is in
-- spec/distributed/trouble.lua. At the end stands what was found, the exit status. CHAOS_LOG=file keeps what workers
-- say. CHAOS_JOBS=100000 ends with so many, of which most take no time, unless the minutes are over.
local asyncio = require "asyncio"
local trouble = require "distributed.trouble"

local minutes = tonumber(arg[1] or 10) or 10
local workers = tonumber(arg[2] or 4) or 4
local jobs = tonumber(os.getenv "CHAOS_JOBS")

local OPTIONS = { seconds = minutes * 60, workers = workers, rate = 0.001, most = 500, patience = 300 }
if jobs then
  OPTIONS.jobs, OPTIONS.quick, OPTIONS.concurrency, OPTIONS.most, OPTIONS.submitters = jobs, 0.97, 16, 2000, 100
end

local function main()
  local seed = tonumber(os.getenv "SEED") or os.time()
  math.randomseed(seed)
  print(("seed %d; %g minutes, %d workers%s"):format(seed, minutes, workers,
    trouble.faketime() and "" or "; no clock jumps, since faketime is not installed"))
  local told = trouble.run(OPTIONS)
  print(("%d jobs; %d workers ended; the network did harm %d times; %d deeds, of which %d knew that they may have been "
    .. "done before"):format(told.submitted, told.ended, told.harms, told.deeds, told.again))
  for name, n in pairs(told.happened) do print(("  %s: %d"):format(name, n)) end
  for _, text in ipairs(told.faults) do print("FAULT " .. text) end
  print(#told.faults == 0 and "each job had one end, and nothing is left over" or "this must not be")
  return #told.faults == 0 and 0 or 1
end

os.exit(asyncio.run(main), true)
